import json

import pytest

from benchmarks.contexts import Context, contexts_of
from benchmarks.heldout import write_contexts
from selfevo import pairing
from selfevo.checkpoint import content_hash
from selfevo.evaluation import HeldOut
from selfevo.harness import Evaluand
from selfevo.material import Material
from selfevo.pairing import build_pairs
from selfevo.pairs_report import FilterReason
from selfevo.principles import load_principles
from selfevo.run import Run

from .conftest import DIALOGUES
from .scripted import REFLECTION, Scripted, capable, is_refining, is_reflecting, response
from .toy import toy_config

CONTEXTS: list[Context] = [contexts_of(dialogue)[-1] for dialogue in DIALOGUES]
GENERATE = {"reflection": "generate", "refinement": "generate"}


@pytest.fixture
def build(finishing_model, tmp_path):
    """Build the pairs of a round with these models."""
    runs = []

    def build(champion, *, initial=None, number=1, task_prompt=None, filters=None, **settings):
        changes = {"synthesis": {**GENERATE, **settings}, "data": {"task_prompt": task_prompt}}
        if filters is not None:
            changes["filters"] = filters
        run = Run(tmp_path / "run", toy_config(finishing_model, **changes))
        runs.append(run)
        file = tmp_path / "contexts.jsonl"
        write_contexts(file, CONTEXTS)
        material = Material(
            finishing_model, (), (), (file,) * number, HeldOut(file, file, None, None, "hash")
        )
        mine = Evaluand(finishing_model, champion.model)
        first = Evaluand(finishing_model, (initial or champion).model)
        try:
            return build_pairs(run, number, mine, first, material)
        finally:
            run.close()

    return build


def saying(**replies: str) -> Scripted:
    """A refiner with an answer of its own for each first word of the seeker."""

    def answer(messages):
        if is_reflecting(messages):
            return json.dumps(REFLECTION)
        if not is_refining(messages):
            return "I am sorry to hear that."
        return next(reply for word, reply in replies.items() if word in messages[1].text)

    return Scripted(answer)


GOOD = {
    "dog": response("Shall we look for it at the mill?"),
    "sleep": response("Which exam is the first one?"),
    "boss": response("What did you want to answer him?"),
    "sister": response("What would you tell her tonight?"),
}


def test_both_replies_answer_the_plain_context(build):
    pairs = build(saying(**GOOD), task_prompt="You are a friend.").read()
    assert [pair.context_id for pair in pairs] == [context.id for context in CONTEXTS]
    for pair, context in zip(pairs, CONTEXTS, strict=True):
        assert pair.messages == context.messages
        assert {message.role for message in pair.messages} == {"user", "assistant"}
        assert (pair.dialogue_id, pair.turn) == (context.dialogue_id, context.turn)
        assert pair.rejected == "I am sorry to hear that."
    assert [pair.chosen for pair in pairs] == [json.loads(r)["response"] for r in GOOD.values()]


def test_a_pair_says_where_it_came_from(build, finishing_model):
    pair = build(saying(**GOOD)).read()[0]
    assert pair.provenance.model_hash == content_hash(finishing_model)
    assert pair.provenance.principles_hash == load_principles().hash
    assert pair.provenance.sample_id == CONTEXTS[0].id
    assert (pair.provenance.round, pair.provenance.strategy) == (1, "generate")
    assert (pair.provenance.chosen_source, pair.provenance.rejected_source) == (
        "refinement",
        "draft",
    )
    assert "I feel fear." in pair.reflection
    assert pair.gain_bits is None


def test_lengths_are_of_the_trained_models_tokens(build, finishing_model):
    from selfevo.training import load_tokenizer

    tokenizer = load_tokenizer(finishing_model)
    for pair in build(saying(**GOOD)).read():
        assert pair.chosen_tokens == len(tokenizer(pair.chosen)["input_ids"])
        assert pair.rejected_tokens == len(tokenizer(pair.rejected)["input_ids"])


def test_a_failed_refinement_makes_no_pair_and_is_counted(build):
    pairs = build(saying(**{**GOOD, "boss": "no JSON"}))
    assert pairs.n_unscored == 1
    assert pairs.report.n_candidates == pairs.n_kept == 3
    assert CONTEXTS[2].id not in [pair.context_id for pair in pairs.read()]


def test_filters_drop_and_count(build):
    replies = {**GOOD, "sister": response("I am sorry to  hear that.")}
    pairs = build(saying(**replies))
    assert (pairs.n_kept, pairs.n_unscored) == (3, 0)
    dropped = {count.reason: count for count in pairs.report.dropped if count.n_dropped}
    assert dropped.keys() == {FilterReason.IDENTICAL}
    assert dropped[FilterReason.IDENTICAL].examples == (CONTEXTS[3].id,)


@pytest.mark.parametrize(
    "leaked",
    [
        "Answer this person's last words first. A reply that would fit anyone helps no one.",
        "You improve a supporter's reply so that it fits one particular person.",
        "You are a friend who listens to people without judging them at all.",
    ],
    ids=["principles", "refinement prompt", "task prompt"],
)
def test_what_the_refiner_was_told_must_not_be_in_the_reply(build, leaked):
    replies = {**GOOD, "dog": response(leaked)}
    pairs = build(
        saying(**replies),
        task_prompt="You are a friend who listens to people without judging them at all.",
        filters={"leak_run": 8},
    )
    dropped = {count.reason: count for count in pairs.report.dropped if count.n_dropped}
    assert dropped[FilterReason.LEAKAGE].examples == (CONTEXTS[0].id,)


def test_human_replies_can_be_chosen(build):
    champion = saying(**GOOD)
    pairs = build(champion, chosen="human").read()
    assert [pair.chosen for pair in pairs] == [context.human_reply for context in CONTEXTS]
    assert {pair.provenance.chosen_source for pair in pairs} == {"human"}
    assert {pair.reflection for pair in pairs} == {""}


def test_the_first_models_drafts_can_be_rejected(build):
    champion, initial = saying(**GOOD), capable(draft="How does that make you feel?")
    pairs = build(champion, initial=initial, number=2, rejected="initial_draft").read()
    assert {pair.rejected for pair in pairs} == {"How does that make you feel?"}
    assert {pair.provenance.rejected_source for pair in pairs} == {"m0_draft"}
    assert {pair.provenance.round for pair in pairs} == {2}
    assert len(initial.asked) == len(CONTEXTS)
    assert all(is_reflecting(a) or is_refining(a) for a in champion.asked)


def test_the_first_models_drafts_are_not_used_unless_asked(build):
    initial = capable()
    build(saying(**GOOD), initial=initial, number=2)
    assert not initial.asked


def test_other_models_reflect_and_refine(build, monkeypatch):
    models = {"a/reflector": capable(), "a/refiner": saying(**GOOD)}
    monkeypatch.setattr(pairing, "get_model", lambda name: models[name].model)
    champion = Scripted(lambda _: "I am sorry to hear that.")
    pairs = build(champion, reflector="a/reflector", refiner="a/refiner")
    assert pairs.n_kept == len(CONTEXTS)
    assert len(champion.asked) == len(CONTEXTS)
    assert all(is_reflecting(asked) for asked in models["a/reflector"].asked)
    assert all(is_refining(asked) for asked in models["a/refiner"].asked)


def test_a_round_is_synthesised_once(build):
    first = build(saying(**GOOD))
    stored = first.path.read_bytes()
    again = build(Scripted(lambda _: "Never asked."))
    assert again.path.read_bytes() == stored
    assert again.report == first.report


def test_lost_pairs_are_made_again_from_the_log(build):
    first = build(saying(**GOOD))
    stored = first.path.read_bytes()
    first.path.unlink()
    silent = Scripted(lambda _: "Never asked.")
    assert build(silent).path.read_bytes() == stored
    assert not silent.asked


def test_each_round_draws_its_own_seed(build, monkeypatch):
    seeds = []
    plain = pairing.synthesis

    def watched(**arguments):
        seeds.append(arguments["seed"])
        return plain(**arguments)

    monkeypatch.setattr(pairing, "synthesis", watched)
    build(saying(**GOOD), number=1)
    build(saying(**GOOD), number=2)
    assert len(set(seeds)) == 2
    assert all(0 <= seed < 2**31 for seed in seeds)
