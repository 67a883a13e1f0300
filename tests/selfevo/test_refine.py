import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig, ModelOutput

from benchmarks.reflect import Inference, Reflection
from judges.automatic import copied_spans
from judges.specificity import TokenLogprobs, specificity_bits
from selfevo.config import SynthesisConfig
from selfevo.principles import load_principles
from selfevo.refine import (
    RefinementFailed,
    Reply,
    about_others,
    conditioning,
    parse_response,
    refine_by_generation,
    refine_by_selection,
    refinement_prompt,
)

from .scripted import REFLECTION, Scripted, one_after_another, reply, response

DIALOGUE = [
    ChatMessageUser(content="My dog ran away."),
    ChatMessageAssistant(content="When?"),
    ChatMessageUser(content="This morning, near the mill."),
]
DRAFT = Reply(text="I am sorry.", stop_reason="stop")
PRINCIPLES = load_principles()
texts = st.text(max_size=40) | st.sampled_from(
    ["{principles}", "{reflection}", "{draft}", "{}", "a {draft} b {reflection} c", "\\1 \\g<0> %s"]
)


# the prompt


@given(principles=texts, about=texts, draft=texts)
def test_each_placeholder_is_filled_once(principles, about, draft):
    blank = refinement_prompt("\0", "\1", "\2")
    parts = [*blank.split("\0", 1)]
    parts = [parts[0], *parts[1].split("\1", 1)]
    parts = [*parts[:2], *parts[2].split("\2", 1)]
    expected = f"{parts[0]}{principles}{parts[1]}{about}{parts[2]}{draft}{parts[3]}"
    assert refinement_prompt(principles, about, draft) == expected.strip()


def test_a_draft_cannot_pull_in_the_reflection():
    prompt = refinement_prompt("rules", "the secret", "Hello {reflection} {principles}")
    assert prompt.count("the secret") == 1
    assert prompt.count("rules") == 1
    assert "Hello {reflection} {principles}" in prompt


# reading the answer


@pytest.mark.parametrize(
    "text",
    [
        '{"response": "Oh no."}',
        'Sure! {"response": " Oh no. "} Hope it helps.',
        '```json\n{"response": "Oh no."}\n```',
    ],
)
def test_reads_the_reply(text):
    assert parse_response(text) == "Oh no."


@pytest.mark.parametrize(
    "text",
    [
        "Oh no.",
        "} {",
        '{"response": "Oh no."',
        '{"response": ""}',
        '{"response": 3}',
        '{"response": null}',
        '{"reply": "Oh no."}',
        '{"response": "Oh no.", "note": "gentler"}',
        '["Oh no."]',
        '{"response": "one"} {"response": "two"}',
    ],
)
def test_refuses_what_is_no_reply(text):
    with pytest.raises(RefinementFailed, match="the refinement is not"):
        parse_response(text)


# by generation


def refine(scripted: Scripted) -> Reply:
    return asyncio.run(
        refine_by_generation(
            scripted.model, DIALOGUE, DRAFT, "scared", PRINCIPLES, GenerateConfig(max_tokens=50)
        )
    )


def test_the_refiner_sees_draft_reflection_principles_and_dialogue():
    scripted = one_after_another(response("Oh no."))
    assert refine(scripted) == Reply(text="Oh no.", stop_reason="stop")
    [[system, user]] = scripted.asked
    assert system.text == refinement_prompt(PRINCIPLES.refining, "scared", DRAFT.text)
    assert user.text == (
        "Person: My dog ran away.\nSupporter: When?\nPerson: This morning, near the mill."
    )


def test_a_malformed_answer_is_repaired_once():
    scripted = one_after_another("Oh no.", reply(response("Oh no."), "max_tokens"))
    assert refine(scripted) == Reply(text="Oh no.", stop_reason="max_tokens")
    assert len(scripted.asked) == 2
    repair = scripted.asked[1]
    assert [m.role for m in repair] == ["system", "user", "assistant", "user"]
    assert repair[2].text == "Oh no."
    assert repair[3].text.startswith("the refinement is not a JSON object.")


def test_a_second_malformed_answer_fails():
    scripted = one_after_another("Oh no.", '{"answer": "Oh no."}', response("never asked"))
    with pytest.raises(RefinementFailed, match=r'not \{"response": "..."\}'):
        refine(scripted)
    assert len(scripted.asked) == 2


# by selection


class Scale:
    """A model whose log-probabilities are known: by prefix and text."""

    def __init__(self, weights: dict[tuple[str, str], float]) -> None:
        self._weights = weights

    async def loglikelihood(self, prefix, continuation):
        [message] = prefix
        return TokenLogprobs(
            (continuation,), (self._weights.get((message.text, continuation), -9.0),)
        )


def choices(*answers: tuple[str, str]) -> Scripted:
    output = reply("")
    output.choices = [
        ModelOutput.from_content("mockllm/model", text, stop_reason=stop).choices[0]
        for text, stop in answers
    ]
    return Scripted(lambda _: output)


def select(scripted: Scripted, weights: dict[tuple[str, str], float], length_ratio=(0.01, 100)):
    return asyncio.run(
        refine_by_selection(
            scripted.model,
            Scale(weights),
            DIALOGUE,
            DRAFT,
            ["me", "you", "them"],
            PRINCIPLES,
            SynthesisConfig(candidates=4, length_ratio=length_ratio),
            language="en",
            seed=3,
        )
    )


GOOD, BETTER = "What a worrying day for you.", "Does it know its way home alone?"
LABELLED, CUT = "Supporter: come here, little dog.", "Let us call the shelter and the"


def test_the_best_scoring_faultless_candidate_is_first():
    scripted = choices((GOOD, "stop"), (LABELLED, "stop"), (BETTER, "stop"), (CUT, "max_tokens"))
    weights = {("me", GOOD): -7.0, ("me", BETTER): -6.0, ("me", LABELLED): -1.0, ("me", CUT): -2.0}
    scored_draft, ranked = select(scripted, weights)
    assert [c.text for c in ranked] == [BETTER, GOOD, LABELLED, CUT]
    assert [c.faults for c in ranked] == [(), (), ("role_confusion",), ("unfinished",)]
    assert scored_draft.text == DRAFT.text
    assert scored_draft.bits == 0


def test_a_candidate_of_another_length_comes_after_those_that_fit():
    much_longer = f"{GOOD} {BETTER} {GOOD} Tell me."
    scripted = choices((much_longer, "stop"), (LABELLED, "stop"), (BETTER, "stop"), (GOOD, "stop"))
    weights = {("me", much_longer): -1.0, ("me", GOOD): -7.0, ("me", BETTER): -6.0}
    _, ranked = select(scripted, weights, length_ratio=(0.5, 3.0))
    assert [c.text for c in ranked] == [BETTER, GOOD, much_longer, LABELLED]


def test_bits_are_of_this_persons_reflection_against_others():
    weights = {("me", GOOD): -2.0, ("you", GOOD): -4.0, ("them", GOOD): -8.0}
    _, [best] = select(choices((GOOD, "stop")), weights)
    own, *others = (TokenLogprobs((GOOD,), (logp,)) for logp in (-2.0, -4.0, -8.0))
    assert best.bits == round(specificity_bits(own, others), 2) == 5.77


def test_words_copied_from_the_dialogue_earn_nothing():
    copied = "This morning, near the mill."
    assert copied_spans(copied, [m.text for m in DIALOGUE], language="en")
    _, [best] = select(choices((copied, "stop")), {("me", copied): -1.0})
    assert best.bits == 0


def test_an_empty_candidate_is_a_fault_not_a_score():
    scripted = choices(("", "stop"), (GOOD, "stop"))
    _, ranked = select(scripted, {("me", GOOD): -20.0})
    assert [c.text for c in ranked] == [GOOD, ""]
    assert ranked[1].faults == ("empty",)


def test_candidates_are_drawn_with_the_reflection_in_view():
    scripted = choices((GOOD, "stop"))
    select(scripted, {})
    [asked] = scripted.asked
    assert asked[0] == conditioning(PRINCIPLES.brief, "me").model_copy(update={"id": asked[0].id})
    assert [m.text for m in asked[1:]] == [m.text for m in DIALOGUE]


# about other people


@pytest.mark.parametrize("part", ["profile", "emotion", "situation"])
def test_others_differ_in_every_part(part):
    own = Reflection(
        personality=Inference(value="calm", evidence="x"),
        emotion=Inference(value="fear", evidence="x"),
        need=Inference(value="comfort", evidence="x"),
        situation=Inference(value="The dog ran away.", evidence="x"),
    )
    others = [("fear", ["I lost my job."]), ("anger", ["They lied."]), (None, ["I am alone."])]
    texts = about_others(own, others, (part,))
    assert len(texts) == 3
    assert own.text((part,)) not in texts
    assert len(set(texts)) == 3


def test_a_free_text_reflection_has_others_too():
    own = Reflection.model_validate(REFLECTION)
    [text] = about_others(own, [(None, ["I lost my job."])], ("profile", "emotion", "situation"))
    assert "I lost my job." in text
    assert own.personality.value not in text
    assert own.emotion.value not in text
