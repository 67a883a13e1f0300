import re
import shutil
from pathlib import Path

import pytest

from judges.card import read_card
from results.records import dump_record, read_run
from selfevo.config import JudgeConfig, RunConfig, dump_recipe
from selfevo.decision import Verdict
from selfevo.errors import RunError
from selfevo.pairs import write_pairs
from selfevo.report import RunReport, page_of, read_report, report
from selfevo.report_pairs import Segment, Stage, marked

from .candidates import make_pair
from .told_run import DROPPED, M0, M1, M2, TRAP, write_run


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; tests that change it take a copy."""
    return write_run(tmp_path_factory.mktemp("told") / "run")


@pytest.fixture(scope="module")
def shown(told: Path) -> RunReport:
    return read_report(told)


@pytest.fixture(scope="module")
def page(shown: RunReport) -> str:
    return page_of(shown)


@pytest.fixture
def copy(told: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(told, tmp_path / "copy"))


def mean(values: dict[str, float]) -> float:
    return sum(values.values()) / len(values)


def test_each_round_is_held_against_the_champion_of_its_time(shown: RunReport) -> None:
    assert shown.champion == "M1"
    assert [(r.name, r.verdict, r.against) for r in shown.rounds] == [
        ("M1", "PROMOTE", "M0"),
        ("M2", "HOLD", "M1"),
    ]
    assert shown.m0_mean == mean(M0)
    assert [r.mean for r in shown.rounds] == [mean(M1), mean(M2)]
    assert [r.n_pairs for r in shown.rounds] == [1, 1]


def test_a_margin_lies_on_the_side_that_is_worse(shown: RunReport) -> None:
    primary, even, guard, cap = shown.rounds[0].compared
    assert (primary.rule, primary.limit, primary.value) == ("primary", 1.0, mean(M1) - mean(M0))
    assert (even.rule, even.value, even.outcome) == ("equal length", 0.5, None)
    assert (guard.metric, guard.limit) == ("retention", -0.15)
    assert (cap.value, cap.limit, cap.champion) == (0.0, 0.05, None)
    assert cap.domain[0] == 0
    for line in (primary, even, guard):
        assert line.domain[0] == -line.domain[1] < line.lower < line.upper < line.domain[1]


def test_the_funnel_ends_with_the_kept_pairs(shown: RunReport) -> None:
    assert shown.funnels[0].stages == (
        Stage("contexts", 3, 0),
        Stage("refined", 2, 1),
        Stage("near identical", 1, 1, (DROPPED,)),
    )
    assert shown.funnels[0].n_kept == shown.funnels[0].stages[-1].left == 1


def test_examples_are_kept_pairs_and_one_drop_of_each_reason(shown: RunReport) -> None:
    assert [(e.model, e.tag, e.is_kept, e.id) for e in shown.examples] == [
        ("M1", "kept", True, "ann-3"),
        ("M2", "kept", True, "ann-3"),
        ("M1", "dropped: near identical", False, DROPPED),
    ]
    dropped = shown.examples[-1]
    assert [m.content for m in dropped.before][-1] == "Nobody listens to me."
    assert dropped.reflection.startswith("unheard ")


def test_of_many_pairs_the_ends_and_the_middle_are_shown(copy: Path) -> None:
    pairs = [make_pair(context_id=f"c-{n}", gain_bits=float(n)) for n in (3, 1, 5, 2, 4)]
    write_pairs(copy / "round-1/pairs.jsonl", pairs)
    kept = [e for e in read_report(copy).examples if e.is_kept and e.model == "M1"]
    assert [(e.tag, e.gain_bits) for e in kept] == [
        ("kept: largest gain", 5.0),
        ("kept: middle", 3.0),
        ("kept: smallest gain", 1.0),
    ]


def test_people_are_compared_one_by_one(shown: RunReport) -> None:
    last, first = shown.contrasts
    assert (first.champion, first.candidate) == ("M0", "M1")
    assert [(p.unit, p.difference) for p in first.people] == [
        ("ann", 9.0),
        ("cem", 4.0),
        ("bob", 2.0),
        ("dot", 0.0),
    ]
    assert (first.n_better, first.n_worse) == (3, 0)
    assert (last.champion, last.candidate) == ("M1", "M2")
    assert [c.person.unit for c in last.harmed] == ["cem", "ann", "dot"]
    assert [c.person.unit for c in last.helped] == ["bob"]


def test_both_replies_to_a_harmed_person_are_read_from_the_logs(shown: RunReport) -> None:
    [heard] = shown.contrasts[0].harmed[0].heard
    assert [m.content for m in heard.before][-1] == "It is cem."
    assert [m.content for m in heard.champion] == [f"M1 to It is cem. {TRAP}"]
    assert [m.content for m in heard.candidate] == [f"M2 to It is cem. {TRAP}"]


def test_slices_by_hand(shown: RunReport) -> None:
    slices = {(s.attribute, s.value): s for s in shown.contrasts[1].slices}
    assert set(slices) == {("emotion", "fear"), ("emotion", "anger"), ("problem", "grief")}
    fear = slices["emotion", "fear"]  # 9 and 2: standard error 3.5, t(0.95, 1) = 6.3138
    assert (fear.n, fear.mean) == (2, 5.5)
    assert fear.lower == pytest.approx(5.5 - 6.3138 * 3.5, abs=1e-3)
    assert fear.upper == pytest.approx(5.5 + 6.3138 * 3.5, abs=1e-3)


def test_the_whole_run_is_compared_when_two_rounds_were_promoted(copy: Path) -> None:
    file = copy / "round-2/decision.json"
    file.write_text(file.read_text("utf-8").replace(Verdict.HOLD, Verdict.PROMOTE), "utf-8")
    contrasts = read_report(copy).contrasts
    assert [(c.champion, c.candidate) for c in contrasts] == [
        ("M0", "M2"),
        ("M1", "M2"),
        ("M0", "M1"),
    ]


def test_steps_know_their_tokens(shown: RunReport) -> None:
    assert [(s.name, s.seconds, s.input_tokens, s.output_tokens) for s in shown.steps] == [
        ("M0: phase 1, fine-tune", 60.0, None, None),
        ("M0: evaluate (reply)", 120.0, 4, 4),  # one of each a reply
        ("M1: draft, reflect, refine", 180.0, 0, 0),
    ]


def test_the_page_says_what_a_reader_wants(page: str) -> None:
    for text in (
        "M1 is the champion.",
        "about 40 more people would settle it",
        "look 2 at these people; each bound at an error of 2.50%",
        "Not corrected for looking at many groups",
        "Loss of phase 1",
        "Reward margin",
        "dropped: near identical",
        "selfevo evolve",
        "name: told",
    ):
        assert text in page
    assert "This run is not finished" not in page
    assert re.search("boss was <del>tired today</del>", page)
    assert re.search("boss was <ins>cruel to you today", page)


def test_hostile_text_stays_text(page: str) -> None:
    assert page.count("<script") == 1  # ours
    assert "<img" not in page
    assert "<b>job</b>" not in page
    assert "&lt;script&gt;document.title" in page


def test_an_unfinished_run_says_what_is_missing(copy: Path) -> None:
    shutil.rmtree(copy / "round-2")
    for name in ("decision.json", "record.json", "diagnostics.json"):
        (copy / "round-1" / name).unlink()
    (copy / "champion.json").unlink()
    found = read_report(copy)
    assert found.files.missing == (
        "M1: its evaluation, the decision of the gate",
        "M2: not begun",
    )
    page = page_of(found)
    assert "This run is not finished. Missing: M1: its evaluation" in page
    assert "not decided" in page
    assert found.contrasts == ()


def test_a_run_that_has_only_begun_has_a_page(copy: Path) -> None:
    for path in copy.iterdir():
        if path.name != "recipe.yaml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = page_of(read_report(copy))
    assert "Missing: M0: its training, its evaluation; M1: not begun; M2: not begun" in page


def test_a_round_with_too_few_pairs_is_finished(copy: Path) -> None:
    from selfevo.decision import hold
    from selfevo.run import to_json

    folder = copy / "round-2"
    for name in ("checkpoint", "evaluation"):
        shutil.rmtree(folder / name)
    (folder / "record.json").unlink()
    (folder / "decision.json").write_text(to_json(hold("too few pairs (1 < 12)")), "utf-8")
    found = read_report(copy)
    assert found.files.missing == ()
    assert found.rounds[1].mean is None
    assert "too few pairs (1 &lt; 12)" in page_of(found)


def test_logs_that_were_deleted_cost_only_the_quotes(copy: Path) -> None:
    for folder in copy.rglob("evaluation"):
        shutil.rmtree(folder)
    for folder in copy.rglob("synthesis"):
        shutil.rmtree(folder)
        folder.mkdir()
    found = read_report(copy)
    assert all(change.heard == () for change in found.contrasts[0].harmed)
    assert [e.is_kept for e in found.examples] == [True, True]
    assert "The log of what was said to them is not in the run." in page_of(found)


def test_the_page_lies_in_the_run_or_where_it_is_wanted(copy: Path, tmp_path: Path) -> None:
    assert report(copy) == copy / "report.html"
    out = tmp_path / "pages" / "x.html"
    assert report(copy, out) == out
    assert out.read_text("utf-8") == (copy / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("spoil", "told_"),
    [
        (lambda run: shutil.rmtree(run), "no such run; give the folder"),
        (lambda run: (run / "recipe.yaml").unlink(), r"holds no run \(no recipe.yaml\)"),
        (lambda run: (run / "champion.json").write_text("{"), "champion.json: Invalid JSON"),
        (lambda run: (run / "m0/record.json").write_text("{"), "is no JSON, or cut off"),
        (lambda run: (run / "round-1/pairs.jsonl").write_text("x\n"), "pairs.jsonl:1"),
        (lambda run: (run / "times.jsonl").write_text('{"step": 1}\n'), "times.jsonl:1: field"),
    ],
)
def test_what_cannot_be_read_is_one_line(copy: Path, spoil, told_: str) -> None:  # type: ignore[no-untyped-def]
    spoil(copy)
    with pytest.raises(RunError, match=told_) as caught:
        report(copy)
    assert "\n" not in str(caught.value)


def test_a_page_that_cannot_be_written_is_one_line(copy: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be written .*; choose another --out"):
        report(copy, tmp_path / "file" / "x.html")


def test_words_that_differ_are_marked() -> None:
    found = marked("I hear you, it is late.", "I hear you: it is not late.")
    assert found.is_close
    assert [s.text for s in found.old if s.is_changed] == ["late"]
    assert [s.text for s in found.new if s.is_changed] == ["not late"]
    assert found.old[0] == Segment("I hear you, it is", False)


def test_two_texts_with_nothing_in_common_are_not_marked() -> None:
    old, new = "What happened then?", "That must have been a shock to you."
    assert marked(old, new) == ((Segment(old, False),), (Segment(new, False),), False)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("", "a b"),
        ("a b c", "a b c"),
        ("a b, c! d e", "a b c?"),
        ("我今天很难过。", "你今天很难过吗？"),
    ],
)
def test_marked_pieces_make_the_texts_again(old: str, new: str) -> None:
    found = marked(old, new)
    assert "".join(s.text for s in found.old) == old
    assert "".join(s.text for s in found.new) == new


def test_a_judges_card_is_shown_or_why_there_is_none(copy: Path) -> None:
    made = Path(__file__).parents[2] / "results/judges/embedded.esconv.json"
    cards = {"personalization": made, "unhelpfulness": copy / "none.json"}
    config = RunConfig(name="told", judge=JudgeConfig(model="mockllm/model", cards=cards))
    (copy / "recipe.yaml").write_text(dump_recipe(config), encoding="utf-8")
    good, bad = read_report(copy).cards
    assert good.card == read_card(made)
    assert (good.metric, good.trouble) == ("judge.personalization", "")
    assert (bad.metric, bad.card) == ("judge.unhelpfulness", None)
    assert "no judge card" in bad.trouble
    page = page_of(read_report(copy))
    assert "May the judge be believed?" in page
    assert all(dimension.name in page for dimension in read_card(made).dimensions)


def test_a_card_of_another_judge_says_so(copy: Path) -> None:
    made = Path(__file__).parents[2] / "results/judges/embedded.esconv.json"
    judge = JudgeConfig(
        model="mockllm/model", rubrics=("personalization",), cards={"personalization": made}
    )
    (copy / "recipe.yaml").write_text(dump_recipe(RunConfig(name="told", judge=judge)), "utf-8")
    record = read_run(copy / "m0/record.json")
    for hash_, trouble in ((read_card(made).judge_hash, ""), ("f" * 64, "of another judge")):
        changed = record.model_copy(update={"judges": {"judge.personalization": hash_}})
        (copy / "m0/record.json").write_text(dump_record(changed), "utf-8")
        [card] = read_report(copy).cards
        assert card.card is not None
        assert trouble in card.trouble
        assert bool(trouble) == bool(card.trouble)
