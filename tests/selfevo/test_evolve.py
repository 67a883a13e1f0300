import json
import re
import shutil
from types import SimpleNamespace

import pytest

from selfevo import evolve as loop
from selfevo.checkpoint import content_hash
from selfevo.config import load_recipe
from selfevo.decision import Decision, Verdict
from selfevo.errors import RunError, UsageError
from selfevo.evolve import Champion, evolve
from selfevo.pairs import read_pairs

from .toy import toy_config, toy_pairs

pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("trl", reason="needs the [train] extra")


ONLY_REPLIES = {"users": None, "evaluation": {"retention": None}}
"""Fewer evals a checkpoint; the other tasks are for `test_evaluation.py` and `test_resume.py`."""


def champion_of(root) -> Champion:
    return Champion.model_validate_json((root / "champion.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def promoted(finishing_model, tmp_path_factory):
    """Two rounds: the gate promotes the first candidate and rejects the second."""
    root = tmp_path_factory.mktemp("promoted") / "run"
    verdicts = [Verdict.PROMOTE, Verdict.REJECT]
    compared, crowned = [], []

    def decide(candidate, champion, *_, **__):
        compared.append((candidate.checkpoint, champion.checkpoint))
        return Decision(verdict=verdicts[len(compared) - 1], reasons=("as the test says",))

    def crown(run, champion, *, after):
        plain_crown(run, champion, after=after)
        crowned.append(champion_of(run.root).name)

    plain_crown = loop.crown
    config = toy_config(finishing_model, rounds=2, **ONLY_REPLIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "decide", decide)
        patch.setattr(loop, "crown", crown)
        outcome = evolve(config, root)
    return outcome, config, compared, crowned


def test_a_promoted_candidate_becomes_the_champion(promoted):
    outcome, _, compared, crowned = promoted
    root = outcome.run.root
    m0, m1, m2 = (
        content_hash(root / folder / "checkpoint") for folder in ("m0", "round-1", "round-2")
    )
    assert compared == [(m1, m0), (m2, m1)]
    assert crowned == ["M0", "M1", "M1"]
    assert outcome.champion.name == "M1"
    assert champion_of(root) == Champion(name="M1", path="round-1/checkpoint", checkpoint=m1)
    assert [round_.decision.verdict for round_ in outcome.rounds] == ["PROMOTE", "REJECT"]


def test_the_champion_drafts_the_next_round_and_is_trained_on(promoted):
    from safetensors.torch import load_file

    outcome = promoted[0]
    root = outcome.run.root
    m0, m1 = (content_hash(root / folder / "checkpoint") for folder in ("m0", "round-1"))
    drafted_by = [
        {pair.provenance.model_hash for pair in read_pairs(root / folder / "pairs.jsonl")}
        for folder in ("round-1", "round-2")
    ]
    assert drafted_by == [{m0}, {m1}]
    weights = [
        load_file(root / folder / "checkpoint" / "adapter_model.safetensors")
        for folder in ("m0", "round-1", "round-2")
    ]
    steps = [
        sum(float((after[name] - before[name]).abs().sum()) for name in before)
        for before, after in (
            (weights[1], weights[2]),  # M2 goes on from M1
            (weights[0], weights[2]),
        )
    ]
    assert 0 < steps[0] < steps[1]


def test_the_candidate_is_the_champions_continuation(promoted):
    outcome = promoted[0]
    for folder in ("round-1", "round-2"):
        path = outcome.run.root / folder / "checkpoint" / "training.json"
        record = json.loads(path.read_text("utf-8"))
        assert record["first_sigmoid_loss"] == pytest.approx(0.693147, abs=1e-3)


def test_a_finished_run_is_walked_through_without_work(promoted, monkeypatch):
    outcome, config, _, _ = promoted
    files = sorted(p for p in outcome.run.root.rglob("*") if p.is_file())
    before = {path: path.read_bytes() for path in files}
    pointers = []
    plain = loop.crown

    def crown(run, champion, *, after):
        plain(run, champion, after=after)
        pointers.append(champion_of(run.root).name)

    monkeypatch.setattr(loop, "crown", crown)
    monkeypatch.setattr(loop, "decide", None)
    monkeypatch.setattr("selfevo.evaluation.run_eval", None)
    monkeypatch.setattr("selfevo.pairing.run_eval", None)
    monkeypatch.setattr("selfevo.sft.train_sft", None)
    monkeypatch.setattr("selfevo.dpo.train_dpo", None)
    again = evolve(config, outcome.run.root)
    assert again.champion.name == "M1"
    assert set(pointers) == {"M1"}  # never back to M0, not even for a moment
    assert again.rounds == outcome.rounds
    assert sorted(p for p in outcome.run.root.rglob("*") if p.is_file()) == files
    assert {path: path.read_bytes() for path in files} == before


def test_too_few_pairs_hold_the_round_and_train_nothing(finishing_model, m0, tmp_path, monkeypatch):
    monkeypatch.setattr("selfevo.sft.train_sft", lambda *given: shutil.copytree(m0, given[-1]))
    monkeypatch.setattr("selfevo.dpo.train_dpo", None)
    config = toy_config(finishing_model, rounds=2, min_pairs=6, **ONLY_REPLIES)
    outcome = evolve(config, tmp_path / "run")
    assert outcome.champion.name == "M0"
    for number, round_ in enumerate(outcome.rounds, start=1):
        assert round_.record is None
        assert round_.decision.verdict is Verdict.HOLD
        assert round_.decision.reasons == (f"too few pairs ({round_.n_pairs} < 6)",)
        folder = tmp_path / "run" / f"round-{number}"
        assert not (folder / "checkpoint").exists()
        assert not (folder / "record.json").exists()
        stored = json.loads((folder / "decision.json").read_text("utf-8"))
        assert stored["verdict"] == "HOLD"
    assert champion_of(tmp_path / "run").path == "m0/checkpoint"


def test_pairs_that_do_not_fit_are_not_counted(finishing_model, m0):
    """What is left may be one pair, and that is noise."""
    config = toy_config(finishing_model, min_pairs=6, dpo={"max_length": 45})
    run = SimpleNamespace(
        config=config, has=lambda name: False, record=lambda name, kind, make: make()
    )
    champion = SimpleNamespace(evaluand=SimpleNamespace(path=m0))
    pairs = SimpleNamespace(n_kept=6, read=toy_pairs)
    assert loop.optimize(run, 1, champion, None, pairs, None) is None
    [reason] = loop.settle(run, 1, champion, None, pairs).reasons
    found = re.fullmatch(r"too few pairs \((\d) < 6; (\d) more do not fit dpo.max_length\)", reason)
    assert found is not None, reason
    assert int(found[1]) + int(found[2]) == 6
    assert int(found[1]) > 0


def test_a_run_that_is_continued_elsewhere_keeps_its_ledger(finishing_model, tmp_path, monkeypatch):
    config = toy_config(finishing_model, gate={"ledger": "looks.jsonl"})

    def fail(*arguments):
        work = arguments[-1]
        work.mkdir(exist_ok=True)
        (work / "begun").touch()
        raise OSError("the disk is full")

    monkeypatch.setattr("selfevo.sft.train_sft", fail)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match="the disk is full"):
        evolve(config, tmp_path / "run")
    stored = load_recipe(tmp_path / "run/recipe.yaml")
    assert stored.gate.ledger == tmp_path / "looks.jsonl"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(RunError, match=r"gate.ledger: .*looks.jsonl. -> .*elsewhere/looks"):
        evolve(config, tmp_path / "run")
    with pytest.raises(OSError, match="the disk is full"):
        evolve(stored, tmp_path / "run")


def test_a_template_that_cannot_say_it_is_refused_before_the_training(
    finishing_model, tmp_path, monkeypatch
):
    base = shutil.copytree(finishing_model, tmp_path / "base")
    template = base / "chat_template.jinja"
    template.write_text("{{ raise_exception('System role not supported') }}", encoding="utf-8")
    monkeypatch.setattr("selfevo.sft.train_sft", lambda *_: pytest.fail("trained"))
    with pytest.raises(UsageError, match=r"refuses a dialogue \(System role not supported\)"):
        evolve(toy_config(base), tmp_path / "run")


def test_the_lock_is_released_though_a_step_fails(finishing_model, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("selfevo.sft.train_sft", fail)
        for _ in range(2):
            with pytest.raises(OSError, match="the disk is full"):
                evolve(toy_config(finishing_model), tmp_path / "run")
