"""Third-party libraries without their own progress bars, telemetry and known warnings: the step shows its own bar."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Loading and training inside say nothing but errors; settings are put back afterwards."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports usage otherwise
    import datasets
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 asks transformers 5.23 by the old name
            warnings.filterwarnings(
                "ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning
            )
            yield
    finally:
        logging.set_verbosity(verbosity)
        logging.enable_progress_bar()
        datasets.enable_progress_bars()
