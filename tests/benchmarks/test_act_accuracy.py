"""Agreement with labels: figures worked out by hand, and a floor on ESConv itself."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.act_accuracy import main, measure
from benchmarks.dialogues import Dialogue, Strategy, Turn, load_dialogues
from benchmarks.errors import DataError
from judges.acts import Act

SEEKER = "My boss yelled at me and I cannot sleep."
TURNS: tuple[tuple[str, tuple[Strategy, ...]], ...] = (
    ("How long has this been going on?", ("question",)),
    ("What did he say?", ("question",)),
    ("You could try writing it down.", ("suggestion",)),
    ("I see. You are not alone. Have you tried a walk?", ("reassurance",)),  # mainly a suggestion
    ("Have a nice day!", ("other",)),
    ("Shut up.", ("other",)),  # no label says that
    ("Anything at all", ("question", "suggestion")),  # two labels: left out
    ("Anything at all", ()),  # no label: left out
)


def dialogue(turns: tuple[tuple[str, tuple[Strategy, ...]], ...]) -> Dialogue:
    return Dialogue(
        id="made-1",
        source="made",
        language="en",
        emotion=None,
        problem=None,
        situation=None,
        published_split=None,
        turns=tuple(
            turn
            for text, strategies in turns
            for turn in (
                Turn(speaker="seeker", text=SEEKER),
                Turn(speaker="supporter", text=text, strategies=strategies),
            )
        ),
    )


def test_figures_worked_out_by_hand() -> None:
    found = measure([dialogue(TURNS)])

    seven = found.seven
    assert (seven.n_turns, seven.n_classes, seven.chance) == (4, 7, 1 / 7)
    assert (seven.accuracy, seven.majority) == (3 / 4, 2 / 4)
    # by chance: question 2*2, suggestion 1*2, reassurance 1*0, of 4*4
    assert seven.kappa == pytest.approx((3 / 4 - 6 / 16) / (1 - 6 / 16))
    assert seven.macro_f1 == pytest.approx((1 + 2 / 3) / 7)

    eight = found.eight
    assert (eight.n_turns, eight.n_classes, eight.chance) == (6, 8, 1 / 8)
    assert (eight.accuracy, eight.majority) == (4 / 6, 2 / 6)
    assert eight.macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 8)

    assert found.multi_act_hit == 1.0
    assert found.confusion["reassurance"][Act.SUGGESTION] == 1
    assert found.confusion["other"][Act.DISMISSAL] == 1
    assert sum(sum(counts.values()) for counts in found.confusion.values()) == 6


def test_kappa_is_undefined_where_chance_agrees_everywhere() -> None:
    found = measure([dialogue(TURNS[:2])])
    assert (found.seven.accuracy, found.seven.kappa) == (1.0, None)


def test_no_labelled_turn_is_an_error() -> None:
    with pytest.raises(DataError, match="no supporter turn has exactly one strategy"):
        measure([dialogue(TURNS[6:])])


def test_the_program_prints_both_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.jsonl"
    utterances: list[dict[str, str]] = []
    for text, strategies in TURNS[:3]:
        utterances.append({"text": SEEKER, "speaker": "usr"})
        utterances.append({"text": text, "speaker": "sys", "strategy": strategies[0]})
    file.write_text(json.dumps({"dialog": utterances}) + "\n", encoding="utf-8")

    assert main([str(tmp_path), "--split", "train"]) == 0
    printed = capsys.readouterr().out
    assert "100.0%" in printed and "macro-F1" in printed and "self_disclosure" in printed

    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "--split", "gate"])
    assert stopped.value.code == 2
    assert "no supporter turn has exactly one strategy" in capsys.readouterr().err


@pytest.fixture
def train_file() -> Path:
    folder = os.environ.get("SELFEVO_DATA")
    if folder is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds esconv/ to test on ESConv itself")
    return Path(folder) / "esconv" / "train.jsonl"


def test_agreement_on_real_dialogues(train_file: Path) -> None:
    found = measure(load_dialogues("esconv", path=train_file).dialogues)
    assert found.seven.n_turns == 7003
    assert found.seven.accuracy > 0.50, "was 52% when the cues were written"
    assert found.seven.kappa is not None and found.seven.kappa > 0.40
    hostile = sum(counts[Act.DISMISSAL] for counts in found.confusion.values())
    assert hostile <= 5, "people who support are hardly ever hostile"
