import warnings

import pytest

from selfevo.quiet import quiet_libraries

datasets = pytest.importorskip("datasets", reason="needs the [train] extra")
logging = pytest.importorskip("transformers.utils.logging", reason="needs the [train] extra")


def settings():
    return (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        datasets.are_progress_bars_disabled(),
    )


@pytest.mark.parametrize("has_bars", [True, False])
def test_puts_back_what_it_found(has_bars):
    found = settings()
    try:
        logging.set_verbosity_info()
        if not has_bars:
            logging.disable_progress_bar()
            datasets.disable_progress_bars()
        before = settings()
        with quiet_libraries():
            assert settings() == (logging.ERROR, False, True)
            with quiet_libraries():
                pass
            assert settings() == (logging.ERROR, False, True)
        assert settings() == before
    finally:
        logging.set_verbosity(found[0])
        logging.enable_progress_bar()
        datasets.enable_progress_bars()


def test_silences_the_known_warning_and_no_other():
    with quiet_libraries():
        warnings.warn("`is_gradient_checkpointing` is deprecated", FutureWarning, stacklevel=1)
        with pytest.raises(FutureWarning, match="something else"):
            warnings.warn("something else", FutureWarning, stacklevel=1)
