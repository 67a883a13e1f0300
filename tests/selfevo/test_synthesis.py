import asyncio
import json
import math

import pytest
from inspect_ai.model import get_model

from benchmarks.contexts import Context, contexts_of
from benchmarks.errors import DataError
from benchmarks.heldout import write_contexts
from benchmarks.likelihood import said, score_all
from benchmarks.reflect import Reflection
from judges.specificity import require_loglikelihood, specificity_bits
from selfevo.config import SynthesisConfig
from selfevo.harness import run_eval
from selfevo.refine import Refinement, about_others, refinement_prompt
from selfevo.synthesis import synthesis

from .conftest import DIALOGUES
from .scripted import (
    REFINED,
    REFLECTION,
    Scripted,
    capable,
    is_refining,
    is_reflecting,
    response,
)

CONTEXTS: list[Context] = [contexts_of(dialogue)[-1] for dialogue in DIALOGUES]
GENERATE = {"reflection": "generate", "refinement": "generate", "contrast": 2, "max_samples": 4}
ABOUT = Reflection.model_validate(REFLECTION)


def synthesise(tmp_path, model, *, roles=None, contexts=CONTEXTS, task_prompt=None, **settings):
    """The samples of the log, by context id."""
    file = tmp_path / "contexts.jsonl"
    write_contexts(file, contexts)
    config = SynthesisConfig.model_validate({**GENERATE, **settings})
    log = run_eval(
        synthesis(
            contexts=str(file), settings=config.model_dump(mode="json"), task_prompt=task_prompt
        ),
        model,
        tmp_path / "log",
        title="test",
        roles=roles,
        max_samples=config.max_samples,
    )
    return {str(sample.id): sample for sample in log.samples}


def refinement_of(sample) -> Refinement:
    return Refinement.model_validate(sample.store["refinement"])


def prompts(scripted: Scripted) -> list[str]:
    return [asked[0].text for asked in scripted.asked if is_refining(asked)]


def test_drafts_reflects_and_refines_each_context(tmp_path):
    scripted = capable()
    samples = synthesise(tmp_path, scripted.model)
    assert set(samples) == {context.id for context in CONTEXTS}
    for sample in samples.values():
        found = refinement_of(sample)
        assert (found.draft.text, found.refined.text) == ("I am sorry.", REFINED)
        assert found.reflection == ABOUT
        assert found.gain_bits is None
        assert sample.scores["refinement_gain"].answer == REFINED
        assert sample.scores["refinement_gain"].value["length"] == 8
        assert math.isnan(sample.scores["refinement_gain"].value["gain_bits"])
        assert sample.output.completion == REFINED


def test_the_draft_is_the_plain_answer(tmp_path):
    scripted = capable()
    synthesise(tmp_path, scripted.model, task_prompt="You are a friend.")
    [drafting] = [a for a in scripted.asked if a[0].text == "You are a friend."][:1]
    context = next(c for c in CONTEXTS if c.messages[0].content == drafting[1].text)
    assert [m.text for m in drafting[1:]] == [m.content for m in context.messages]
    for asked in scripted.asked:
        if not (is_reflecting(asked) or is_refining(asked)):
            assert [m.role for m in asked] == ["system", "user", "assistant", "user"]


def test_the_refiner_reads_the_reflection(tmp_path):
    scripted = capable()
    synthesise(tmp_path, scripted.model)
    assert len(prompts(scripted)) == len(CONTEXTS)
    assert all(ABOUT.text() in prompt for prompt in prompts(scripted))


@pytest.mark.parametrize(
    ("use", "seen", "hidden"),
    [
        (["profile"], ["a careful person", "comfort"], ["fear", "The dog ran away."]),
        (["emotion"], ["I feel fear."], ["a careful person", "The dog ran away."]),
        (["situation"], ["The dog ran away."], ["a careful person", "I feel fear."]),
        (["emotion", "situation"], ["I feel fear.", "The dog ran away."], ["a careful person"]),
    ],
)
def test_the_refiner_sees_only_the_parts_in_use(tmp_path, use, seen, hidden):
    scripted = capable()
    samples = synthesise(tmp_path, scripted.model, use=use)
    [prompt] = set(prompts(scripted))
    assert all(text in prompt for text in seen)
    assert not any(text in prompt for text in hidden)
    assert all(refinement_of(sample).reflection == ABOUT for sample in samples.values())


def test_without_reflection_the_refiner_has_only_their_words(tmp_path):
    scripted = capable()
    samples = synthesise(tmp_path, scripted.model, reflect=False)
    assert not any(is_reflecting(asked) for asked in scripted.asked)
    assert all(refinement_of(sample).reflection is None for sample in samples.values())
    words = {" ".join(context.seeker_words()) for context in CONTEXTS}
    for prompt in prompts(scripted):
        [about] = [text for text in words if text in prompt]
        words.remove(about)
        assert "I feel" not in prompt
    assert not words


def test_a_malformed_refinement_is_repaired_or_unscored(tmp_path):
    """One person's refiner answers well at the second try, another's never does."""
    hopeless, slow = CONTEXTS[0].messages[0].content, CONTEXTS[1].messages[0].content

    def answer(messages):
        if is_reflecting(messages):
            return json.dumps(REFLECTION)
        if not is_refining(messages):
            return "I am sorry."
        is_repair = len(messages) == 4
        if hopeless in messages[1].text or (slow in messages[1].text and not is_repair):
            return "Just text."
        return response(REFINED)

    scripted = Scripted(answer)
    samples = synthesise(tmp_path, scripted.model)
    failed = samples[CONTEXTS[0].id]
    assert "refinement" not in failed.store
    score = failed.scores["refinement_gain"]
    assert math.isnan(score.value)
    assert score.answer is None
    assert failed.store["failure"] == "the refinement is not a JSON object"
    assert failed.error is None
    assert refinement_of(samples[CONTEXTS[1].id]).refined.text == REFINED
    assert len(prompts(scripted)) == len(CONTEXTS) + 2


def test_a_malformed_reflection_is_unscored_and_not_refined(tmp_path):
    scripted = capable(reflection='{"emotion": "fear"}')
    samples = synthesise(tmp_path, scripted.model)
    assert not prompts(scripted)
    for sample in samples.values():
        assert "refinement" not in sample.store
        assert sample.store["failure"].startswith("the reflection's field '")
        assert math.isnan(sample.scores["refinement_gain"].value)
    assert sum(is_reflecting(asked) for asked in scripted.asked) == 2 * len(CONTEXTS)


def test_other_models_take_over_their_roles(tmp_path):
    own = capable(draft="Own draft.")
    reflector, refiner, drafter = capable(), capable(), capable(draft="Another's draft.")
    samples = synthesise(
        tmp_path,
        own.model,
        roles={
            "reflector": reflector.model,
            "refiner": refiner.model,
            "drafter": drafter.model,
        },
    )
    assert not own.asked
    assert all(is_reflecting(asked) for asked in reflector.asked)
    assert all(is_refining(asked) for asked in refiner.asked)
    assert len(reflector.asked) == len(refiner.asked) == len(drafter.asked) == len(CONTEXTS)
    assert all("Another's draft." in prompt for prompt in prompts(refiner))
    assert {refinement_of(s).draft.text for s in samples.values()} == {"Another's draft."}


def test_the_human_reply_can_be_the_chosen_one(tmp_path):
    scripted = capable()
    samples = synthesise(tmp_path, scripted.model, chosen="human")
    assert len(scripted.asked) == len(CONTEXTS)  # drafts only
    for context in CONTEXTS:
        found = refinement_of(samples[context.id])
        assert found.refined.text == context.human_reply
        assert found.refined.stop_reason == "stop"
        assert found.reflection is None


def test_a_draft_with_placeholders_changes_nothing(tmp_path):
    scripted = capable(draft="Hi {reflection} {principles}")
    synthesise(tmp_path, scripted.model)
    [prompt] = set(prompts(scripted))
    assert prompt.count(ABOUT.text()) == 1
    assert "Hi {reflection} {principles}" in prompt


def test_a_person_without_others_to_compare_with_is_refused(tmp_path):
    with pytest.raises(DataError, match="only 1 other people to compare with"):
        synthesise(tmp_path, capable().model, contexts=CONTEXTS[:2])


# the local model, by selection


@pytest.fixture(scope="module")
def selected(tmp_path_factory, finishing_model):
    settings = {
        "reflection": "label",
        "refinement": "select",
        "candidates": 4,
        "max_tokens": 16,
        "length_ratio": (0.01, 1000),
    }
    path = tmp_path_factory.mktemp("select")
    return synthesise(path, get_model(f"selfevo/{finishing_model}"), **settings)


def test_the_refinement_is_the_best_faultless_candidate(selected):
    n_faulty = 0
    for sample in selected.values():
        found = refinement_of(sample)
        assert len(found.candidates) == 4
        faultless = [c for c in found.candidates if not c.faults]
        best = max(faultless or found.candidates, key=lambda candidate: candidate.bits)
        assert found.refined.text == best.text
        n_faulty += len(found.candidates) - len(faultless)
    assert n_faulty  # or the test has seen nothing
    assert len({refinement_of(s).refined.text for s in selected.values()}) == len(selected)


def test_the_gain_is_over_the_draft_under_the_same_reflections(selected, finishing_model):
    scale = require_loglikelihood(get_model(f"selfevo/{finishing_model}"))
    drafted = [sample for sample in selected.values() if refinement_of(sample).draft.text]
    assert drafted
    for sample in drafted:
        found = refinement_of(sample)
        others = [(other["emotion"], other["words"]) for other in sample.metadata["contrast"]]
        parts = SynthesisConfig().use
        about = [found.reflection.text(parts), *about_others(found.reflection, others, parts)]
        draft = found.draft.text
        own, *rest = asyncio.run(score_all(scale, [said(text) for text in about], draft))
        expected = found.candidates[0].bits - specificity_bits(own, rest)
        assert found.gain_bits == pytest.approx(expected, abs=0.011)
        assert sample.scores["refinement_gain"].value["gain_bits"] == found.gain_bits


def test_the_label_reflection_quotes_the_person(selected):
    for context in CONTEXTS:
        found = refinement_of(selected[context.id]).reflection
        assert found is not None
        assert found.situation.value in context.seeker_words()
        for part in (found.personality, found.emotion, found.need):
            assert part.evidence in context.seeker_words()


def test_the_prompt_of_a_refinement_never_reaches_the_conversation(tmp_path):
    samples = synthesise(tmp_path, capable().model)
    for context in CONTEXTS:
        texts = [message.text for message in samples[context.id].messages]
        assert texts == [*(m.content for m in context.messages), REFINED]
        assert not any(refinement_prompt("", "", "")[:40] in text for text in texts)
