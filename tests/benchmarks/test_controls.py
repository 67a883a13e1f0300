import itertools
from pathlib import Path

import pytest

from benchmarks.controls import RANKED, ControlAPI, _acts
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.persona import load_personas
from benchmarks.support import support
from judges.probes import null_reply
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
    for name in RANKED:
        log = run(support(limit_users=16), get_model(f"control/{name}"), tmp_path / name)
        found.append(read_outcomes(Path(log.location.removeprefix("file://"))))
    for better, worse in itertools.pairwise(found):
        assert compare(better, worse).lower > 0, (better.name, worse.name)
    assert [outcomes.n_unscored for outcomes in found] == [0] * len(RANKED)


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ["I lost my job.", "Please stop saying that."]), ("zh", ["我失业了。", "别再说了。"])],
)
def test_the_null_reply_is_the_same_whatever_is_said(language: Language, said: list[str]) -> None:
    null = ControlAPI("control/null")
    assert {null._reply(said[:n], n - 1) for n in (1, 2)} == {null_reply(language)}


def test_the_null_reply_helps_less_than_listening(tmp_path: Path) -> None:
    from inspect_ai.model import get_model

    listener, null = (
        read_outcomes(Path(log.location.removeprefix("file://")))
        for log in (
            run(support(limit_users=24), get_model(f"control/{name}"), tmp_path / name)
            for name in ("listener", "null")
        )
    )
    assert compare(listener, null).lower > 0
