import itertools
from pathlib import Path

import pytest

from benchmarks.controls import CONTROLS, ControlAPI, _acts
from benchmarks.errors import DataError
from benchmarks.persona import load_personas
from benchmarks.support import support
from selfevo.users_rank import compare, read_outcomes

from .fakes import run


def test_an_unknown_control_is_refused() -> None:
    with pytest.raises(
        DataError, match="control/kind: no such control; use one of oracle, listener, stock"
    ):
        ControlAPI("control/kind")


def test_the_oracle_never_does_what_this_person_cannot_stand() -> None:
    for persona in load_personas():
        hurts = {preference.act for preference in persona.hurts}
        assert not {act for n in range(8) for act in _acts(persona, n)} & hurts


def test_the_users_tell_the_controls_apart_in_their_order(tmp_path: Path) -> None:
    from inspect_ai.model import get_model

    found = []
    for name in CONTROLS:
        log = run(support(limit_users=16), get_model(f"control/{name}"), tmp_path / name)
        found.append(read_outcomes(Path(log.location.removeprefix("file://"))))
    for better, worse in itertools.pairwise(found):
        assert compare(better, worse).lower > 0, (better.name, worse.name)
    assert [outcomes.n_unscored for outcomes in found] == [0] * len(CONTROLS)
