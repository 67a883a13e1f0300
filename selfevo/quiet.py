"""Third-party libraries without progress bars, telemetry and known warnings of their own."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Loading and training inside say nothing but errors; settings are put back afterwards."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports usage otherwise
    from transformers.utils import logging

    datasets: Any = sys.modules.get("datasets")  # slow to import, and only training uses it
    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    datasets_has_bars = datasets is not None and not datasets.are_progress_bars_disabled()
    if datasets_has_bars:
        datasets.disable_progress_bars()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # PEFT 0.21 and TRL 1.16 call transformers 5.23 by the old names
            warnings.filterwarnings(
                "ignore", r".\w*gradient_checkpointing\w*. is deprecated", FutureWarning
            )
            yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
        if datasets_has_bars:
            datasets.enable_progress_bars()
