from pathlib import Path

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ModelOutput

from benchmarks.errors import DataError
from benchmarks.heldout import write_contexts
from benchmarks.reply import MEASURES, reply

from .fakes import answering, fake, make_context, output, run

PEOPLE = [
    make_context("ann", "My dog Rex ran away.", "I looked for him all night."),
    make_context("ben", "My boss yelled at me.", "Everybody heard it."),
    make_context("cai", "I failed the exam.", "My parents do not know."),
    make_context("dot", "I cannot sleep.", "It is the third week."),
    make_context("eve", "He sold our house.", "I was not asked."),
]
CUT_OFF = "You worked hard for it and I."  # reads as if it ended
REPLIES = {
    "Rex": output("You love Rex dearly.", "stop"),
    "boss": output("", "stop"),
    "exam": output(CUT_OFF, "max_tokens"),
    "sleep": output("It is the third week. How do you cope?", "stop"),
    "house": output("I'm so sorry to hear that.", "stop"),
}


def likelihood(prefix: str, word: str) -> float:
    """A word is likely (1 bit less) where it was said, whatever its punctuation."""
    bits = -1 if word.strip(".?") in prefix.replace(".", "").split() else -3
    return bits * 0.6931471805599453


def answer(messages: list[ChatMessage]) -> ModelOutput:
    said = "\n".join(message.text for message in messages)
    [found] = [made for word, made in REPLIES.items() if word in said]
    return found


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("heldout") / "contexts.jsonl"
    write_contexts(path, PEOPLE)
    return path


@pytest.fixture(scope="module")
def log(contexts: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    task, logs = reply(contexts=str(contexts), contrast=2), tmp_path_factory.mktemp("logs")
    return run(task, answering(answer), logs, reference=fake(likelihood).model)


def values(log: EvalLog, person: str) -> dict[str, float]:
    assert log.status == "success", log.error
    [sample] = [s for s in log.samples or [] if s.metadata["dialogue_id"] == person]
    assert sample.scores is not None
    value = sample.scores["automatic"].value
    assert isinstance(value, dict)
    assert list(value) == list(MEASURES)
    return {key: float(number) for key, number in value.items() if isinstance(number, int | float)}


def test_hand_made_replies_have_the_values_worked_out_by_hand(log: EvalLog) -> None:
    ann = values(log, "ann")
    # "Rex" alone was said, and to nobody else: 2 bits; no run of four words was copied
    assert ann["specificity"] == pytest.approx(2)
    assert ann["specificity_new"] == pytest.approx(2)
    assert ann["copy_rate"] == 0
    assert ann["length"] == 4
    assert ann["unhelpful"] == ann["unfinished"] == ann["stock"] == ann["question"] == 0


def test_an_empty_reply_says_nothing_and_is_unhelpful(log: EvalLog) -> None:
    assert values(log, "ben") == {
        **dict.fromkeys(MEASURES, 0.0),
        "unhelpful": 1.0,
    }


def test_a_reply_that_was_cut_off_is_unfinished(log: EvalLog) -> None:
    cai = values(log, "cai")
    assert cai["unfinished"] == cai["unhelpful"] == 1
    assert cai["length"] == 7


def test_copied_words_win_no_new_bits(log: EvalLog) -> None:
    dot = values(log, "dot")
    # It is the third week. | How do you cope? -> 2 of 6 runs of four words are dot's own
    assert dot["copy_rate"] == pytest.approx(2 / 6, abs=1e-3)
    # compared with eve and ann: "It is the third week" were not said by either, 5 times 2 bits
    assert dot["specificity"] == pytest.approx(10)
    assert dot["specificity_new"] == 0
    assert dot["question"] == 1


def test_a_stock_phrase_is_stock_and_not_specific(log: EvalLog) -> None:
    eve = values(log, "eve")
    assert eve["stock"] == 1
    assert eve["unhelpful"] == 1
    assert eve["specificity"] == 0


def test_the_model_is_asked_once_a_person_as_its_recipe_says(
    contexts: Path, tmp_path: Path
) -> None:
    asked: list[list[ChatMessage]] = []

    def remember(messages: list[ChatMessage]) -> ModelOutput:
        asked.append(messages)
        return answer(messages)

    task = reply(contexts=str(contexts), contrast=2, task_prompt="Be a peer.", max_tokens=33)
    reference, api = fake(likelihood)
    log = run(task, answering(remember), tmp_path / "logs", reference=reference)
    assert values(log, "ann")["specificity"] == pytest.approx(2)
    assert len(asked) == len(PEOPLE)
    assert {messages[0].text for messages in asked} == {"Be a peer."}
    assert log.plan.config.max_tokens == 33
    assert log.plan.config.temperature == 0
    # the reference sees the dialogues, not the task prompt: own and two others, nothing for ""
    assert len(api.asked) == 3 * (len(PEOPLE) - 1)
    assert not any("Be a peer." in prefix for prefix, _ in api.asked)


def test_a_reference_without_likelihoods_stops_the_eval(contexts: Path, tmp_path: Path) -> None:
    model = answering(answer)
    log = run(reply(contexts=str(contexts), contrast=2), model, tmp_path / "logs", reference=model)
    assert log.status == "error"
    assert log.error is not None
    assert "cannot score the likelihood" in log.error.message


def test_too_few_people_to_compare_with_are_refused(contexts: Path) -> None:
    with pytest.raises(DataError, match=r"only 4 other people .* hold out at least 6"):
        reply(contexts=str(contexts), contrast=5)


@pytest.mark.parametrize("count", ["dialogues", "per_dialogue", "contrast"])
def test_counts_below_one_are_refused_before_anything_is_generated(count: str) -> None:
    with pytest.raises(DataError, match=f"{count}=-3: leaves nothing; choose 1 or more"):
        reply(**{count: -3})
