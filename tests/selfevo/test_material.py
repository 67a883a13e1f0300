import json

import pytest

from benchmarks.contexts import Context
from benchmarks.dialogues import load_dialogues
from benchmarks.heldout import read_contexts
from benchmarks.instructions import load_instructions
from benchmarks.splits import normalise_situation, split_dialogues
from selfevo.errors import RunError, UsageError
from selfevo.material import Material, gather
from selfevo.run import Run

from .toy import toy_config


@pytest.fixture
def base(tmp_path):
    """What looks like a checkpoint: gathering only hashes it."""
    path = tmp_path / "base"
    path.mkdir()
    (path / "config.json").write_text("{}", encoding="utf-8")
    (path / "model.safetensors").write_bytes(b"weights")
    return path


@pytest.fixture
def collect(base, tmp_path):
    """Gather the material of a run folder, opened and closed again."""

    def collect(name="run", **changes) -> Material:
        run = Run(tmp_path / name, toy_config(base, **changes))
        try:
            return gather(run)
        finally:
            run.close()

    return collect


def situations_of(dialogue_ids):
    found = {d.id: normalise_situation(d.situation) for d in load_dialogues("starter").dialogues}
    return {found[dialogue_id] for dialogue_id in dialogue_ids}


def all_contexts(material: Material) -> list[Context]:
    return [context for file in material.contexts for context in read_contexts(file)]


def starter_file(path, dialogues, *, reverse=False):
    rows = [
        {
            "language": "en",
            "emotion": "fear",
            "problem": "health",
            "situation": f"situation {number}",
            "turns": [
                {"speaker": speaker, "text": f"Number {number} says {turn} things."}
                | ({"strategy": "Question"} if speaker == "supporter" else {})
                for turn, speaker in enumerate(["seeker", "supporter"] * 3)
            ],
        }
        for number in range(dialogues)
    ]
    lines = [json.dumps(row) for row in (reversed(rows) if reverse else rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def compute(run):
    """The start of a training."""
    (run / "m0").mkdir(parents=True)
    (run / "m0/begun").touch()


def test_a_base_model_may_be_corrected_until_something_is_computed(collect, base, tmp_path):
    collect()
    (base / "chat_template.jinja").write_text("corrected", encoding="utf-8")
    collect()
    compute(tmp_path / "run")
    collect()


# who is where


def test_held_out_people_are_never_trained_on(collect):
    material = collect(rounds=2, data={"train": 20}, evaluation={"dialogues": 20})
    trained = {d.id for d in material.dialogues} | {c.dialogue_id for c in all_contexts(material)}
    held_out = {c.dialogue_id for c in read_contexts(material.heldout.contexts)}
    assert (len(material.dialogues), len(held_out)) == (20, 20)
    assert trained.isdisjoint(held_out)
    assert situations_of(trained).isdisjoint(situations_of(held_out))


def test_the_final_split_is_not_touched(collect):
    material = collect(rounds=2, data={"train": 20}, evaluation={"dialogues": 20})
    final = split_dialogues(load_dialogues("starter", language="en").dialogues, seed=7).final
    used = {d.id for d in material.dialogues} | {c.dialogue_id for c in all_contexts(material)}
    used |= {c.dialogue_id for c in read_contexts(material.heldout.contexts)}
    assert final
    assert used.isdisjoint(d.id for d in final)


def test_held_out_instructions_are_not_replayed(collect):
    material = collect(evaluation={"retention": 30}, sft={"replay": {"share": 0.5}})
    assert material.heldout.instructions is not None
    rows = [json.loads(x) for x in material.heldout.instructions.read_text("utf-8").splitlines()]
    kept = {(row["instruction"], row["input"]) for row in rows}
    assert (len(kept), len(material.replay)) == (30, 4)
    assert kept.isdisjoint((item.instruction, item.input) for item in material.replay)


@pytest.mark.parametrize(("share", "n"), [(0.0, 0), (0.2, 5), (0.5, 20), (0.75, 60)])
def test_replay_is_a_share_of_all_examples(collect, share, n):
    material = collect(data={"train": 20}, sft={"replay": {"share": share}})
    assert len(material.replay) == n
    assert len(material.replay) / (20 + n) == pytest.approx(share, abs=0.01)


def test_rounds_draw_disjoint_contexts(collect):
    material = collect(rounds=4, synthesis={"contexts": 30, "per_dialogue": 1})
    contexts = all_contexts(material)
    assert [len(read_contexts(file)) for file in material.contexts] == [30] * 4
    assert len({context.id for context in contexts}) == 120
    first = [context.dialogue_id for context in read_contexts(material.contexts[0])]
    assert len(set(first)) == 30


def test_contexts_keep_the_last_messages(collect):
    material = collect(data={"max_messages": 3})
    for context in [*all_contexts(material), *read_contexts(material.heldout.contexts)]:
        assert len(context.messages) <= 3
        assert context.messages[0].role == context.messages[-1].role == "user"


def test_one_context_shows_each_held_out_person(collect):
    material = collect(evaluation={"dialogues": 8, "per_dialogue": 3})
    contexts = read_contexts(material.heldout.contexts)
    shown = read_contexts(material.heldout.people)
    assert len(shown) == len({context.dialogue_id for context in shown}) == 8
    for person in shown:
        own = [c.turn for c in contexts if c.dialogue_id == person.dialogue_id]
        assert len(own) == 3
        assert person.turn == max(own)


def test_retention_can_be_left_out(collect):
    material = collect(evaluation={"retention": None})
    assert material.heldout.instructions is None


def test_chinese_people_have_chinese_material(collect):
    material = collect(data={"language": "zh"})
    assert {d.language for d in material.dialogues} == {"zh"}
    assert {item.language for item in material.replay} == {"zh"}
    assert {c.language for c in read_contexts(material.heldout.contexts)} == {"zh"}


# the same every time


def test_two_runs_draw_the_same(collect):
    one, other = collect("one", rounds=2), collect("other", rounds=2)
    assert one.dialogues == other.dialogues
    assert one.replay == other.replay
    assert one.heldout.hash == other.heldout.hash
    for mine, theirs in zip(one.contexts, other.contexts, strict=True):
        assert mine.read_bytes() == theirs.read_bytes()


def test_another_seed_draws_others(collect):
    one, other = collect("one"), collect("other", seed=8)
    assert one.heldout.hash != other.heldout.hash
    assert all_contexts(one) != all_contexts(other)


def test_the_order_of_the_source_does_not_matter(collect, tmp_path):
    drawn = []
    for name, reverse in (("one", False), ("other", True)):
        path = starter_file(tmp_path / f"{name}.jsonl", 40, reverse=reverse)
        drawn.append(collect(name, data={"path": str(path)}))
    one, other = drawn
    assert one.heldout.hash == other.heldout.hash
    assert all_contexts(one) == all_contexts(other)
    assert one.dialogues == other.dialogues


def test_a_resumed_run_keeps_its_people_though_the_source_is_gone(collect, tmp_path):
    path = starter_file(tmp_path / "source.jsonl", 40)
    first = collect(data={"path": str(path)}, rounds=2)
    path.unlink()
    again = collect(data={"path": str(path)}, rounds=2)
    assert again == first
    assert again.heldout.hash == first.heldout.hash


def test_stored_rows_survive_any_text(collect, tmp_path):
    odd = "Say\u2028two\x85lines\nin one."
    row = {"instruction": odd, "output": odd, "language": "en"}
    others = [{"instruction": f"{n}?", "output": "Yes.", "language": "en"} for n in range(5)]
    source = tmp_path / "instructions.jsonl"
    lines = [json.dumps(r) for r in (row, *others)]
    source.write_text("\n".join(lines), encoding="utf-8")
    replay = {"source": "jsonl", "path": str(source), "share": 0.5}
    for _ in range(2):
        material = collect(sft={"replay": replay}, evaluation={"retention": 2})
        assert len(material.replay) == 4
    held_out = load_instructions("jsonl", path=str(material.heldout.instructions))
    assert odd in {item.instruction for item in (*material.replay, *held_out)}


# what cannot be


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"train": 50}}, "data.train: 50 dialogues asked for, the split has 49"),
        (
            {"evaluation": {"dialogues": 32}},
            "evaluation.dialogues: 32 dialogues asked for, the split has 31",
        ),
        (
            {"synthesis": {"contexts": 50}},
            "synthesis.contexts: round 1 asks for 50 contexts, the training split has 49 unused",
        ),
        (
            {"evaluation": {"contrast": 3}},
            "evaluation.contrast: 3 other people asked for each, but there are 3 people in all",
        ),
        (
            {"synthesis": {"contrast": 5}},
            "synthesis.contrast: 5 other people asked for each, but there are 5 people in all",
        ),
        (
            {"evaluation": {"retention": 161}},
            "evaluation.retention: 161 instructions asked for, the source of sft.replay has 160",
        ),
        (
            {"data": {"train": 40}, "sft": {"replay": {"share": 0.8}}},
            "sft.replay.share: 0.8 of the training examples is 160 instructions",
        ),
        ({"sft": {"replay": {"share": 1}}}, "sft.replay.share: 1 leaves no room"),
    ],
)
def test_asking_for_too_much_names_the_key(collect, changes, message):
    with pytest.raises(UsageError) as caught:
        collect(**changes)
    assert str(caught.value).startswith(message)


def test_a_later_round_that_cannot_be_is_refused_before_anything_is_trained(collect, tmp_path):
    with pytest.raises(UsageError, match="round 4 asks for 49 contexts, the training split has 31"):
        collect(rounds=9, synthesis={"contexts": 49})
    assert not (tmp_path / "run" / "m0").exists()


def test_another_base_model_is_refused(collect, base, tmp_path):
    collect()
    compute(tmp_path / "run")
    (base / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(RunError, match="the base model changed since the run began"):
        collect()


def test_changed_principles_are_refused(collect, tmp_path):
    text = "## In short\nBe kind.\n## When reflecting\nLook.\n## When refining\nFit.\n"
    path = tmp_path / "principles.md"
    path.write_text(text, encoding="utf-8")
    collect(synthesis={"principles": str(path)})
    compute(tmp_path / "run")
    path.write_text(text.replace("kind", "brief"), encoding="utf-8")
    with pytest.raises(RunError, match="the principles changed since the run began"):
        collect(synthesis={"principles": str(path)})


def test_a_corrected_recipe_leaves_nothing_of_the_old_one(collect, tmp_path):
    """Every file that is drawn is drawn anew, so it is known by name where it is taken away."""

    def files(name):
        found = {p.relative_to(tmp_path / name): p for p in (tmp_path / name).rglob("*.json*")}
        return {str(path): file.read_bytes() for path, file in found.items() if path.stem != "run"}

    other = {"seed": 9, "rounds": 2, "data": {"train": 6}}
    collect("corrected")
    before = files("corrected")
    collect("corrected", **other)
    collect("fresh", **other)
    assert files("corrected") == files("fresh") != before


def test_an_adapter_is_no_base_model(collect, base):
    (base / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="is an adapter, and phase 1 trains one of its own"):
        collect()
