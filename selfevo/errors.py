"""The errors that people see: one line each, with the exit code of the command line.

```
SelfevoError            1   something failed; the message says where, what, and what to do
├── UsageError         64   the command or the recipe is wrong
├── ModelFetchError     1   the embedded model could not be fetched or is not there
├── RunError            1   a run directory cannot be continued
└── CannotDecide        3   two evaluations cannot be compared, so there is no verdict
```
"""


class SelfevoError(Exception):
    """Base of every error that the command line prints as one line."""

    exit_code: int = 1


class UsageError(SelfevoError):
    """The command, the recipe or an argument is wrong."""

    exit_code = 64


class ModelFetchError(SelfevoError):
    """The embedded model could not be fetched, verified or found."""


class RunError(SelfevoError):
    """A run directory is missing, damaged, or belongs to another recipe."""


class CannotDecide(SelfevoError):
    """Two evaluations cannot be read or compared: there is no verdict, good or bad."""

    exit_code = 3
