"""The one error of the benchmarks' data files: where, what, and what to do.

It leaves out everything that is a judgement about content (chatter about the collection task,
contact details, duplicates): those are drops, counted in a `LoadReport`, not errors.
"""


class DataError(ValueError):
    """A data file is missing or malformed; the message is `where: field 'x': what; what to do`."""

    def __init__(self, where: str, what: str, fix: str, *, field: str | None = None) -> None:
        place = f"{where}: " if field is None else f"{where}: field '{field}': "
        super().__init__(f"{place}{what}; {fix}")
        self.where = where
        self.field = field


def require_positive(**counts: int | None) -> None:
    """Refuse counts below 1, by their names; None is no count.

    Raises:
        DataError: one is.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise DataError(f"{name}={count}", "leaves nothing", "choose 1 or more")
