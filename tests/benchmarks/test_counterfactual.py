from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatMessage

from benchmarks.appraisal import MEETS
from benchmarks.counterfactual import OPPOSED, counterfactual, worth
from benchmarks.persona import load_personas
from judges.acts import Act

from .fakes import answering, output, run

ADVICE = "You could try calling your brother tomorrow."
LISTENING = "What happened then?"


@pytest.mark.parametrize(("first", "second"), OPPOSED)
def test_no_act_meets_both_needs_of_a_pair(first, second) -> None:
    assert MEETS[first].isdisjoint(MEETS[second])


def test_worth_is_the_share_that_meets_the_need_minus_the_others() -> None:
    acts = [Act.SUGGESTION, Act.QUESTION, Act.STOCK, Act.SUGGESTION]
    assert worth(acts, "advise", "listen") == pytest.approx(0.25)
    assert worth(acts, "listen", "advise") == pytest.approx(-0.25)


def test_the_two_people_differ_only_in_what_they_hint_at() -> None:
    facts = {p.id: p.disclosure[1].text for p in load_personas(language="en")}
    for sample in counterfactual().dataset:
        first, second = ([m["content"] for m in v["messages"]] for v in sample.metadata["variants"])
        assert first[:-1] == second[:-1]
        assert first[-1] != second[-1]
        fact = facts[sample.id]
        assert first[-1].startswith(fact) and second[-1].startswith(fact)


def values(log) -> list[dict[str, float]]:
    return [sample.scores["adapts"].value for sample in log.samples]


def test_the_same_reply_to_both_is_worth_nothing(tmp_path: Path) -> None:
    log = run(counterfactual(limit_users=3), answering(lambda m: output(ADVICE, "stop")), tmp_path)
    assert [value["directed"] for value in values(log)] == [0, 0, 0]
    assert [value["sameness"] for value in values(log)] == [1, 1, 1]


def test_the_right_direction_counts_and_the_wrong_one_against(tmp_path: Path) -> None:
    people = [s for s in counterfactual().dataset if s.metadata["needs"] == "listen / advise"]
    assert people

    def reply(right: bool):
        def answer(messages: list[ChatMessage]):
            for sample in people:
                for variant in sample.metadata["variants"]:
                    if variant["messages"][-1]["content"] == messages[-1].text:
                        wants_advice = variant["need"] == "advise"
                        return output(ADVICE if wants_advice == right else LISTENING, "stop")
            return output("Mm.", "stop")

        return answer

    found = []
    for right in (True, False):
        log = run(counterfactual(), answering(reply(right)), tmp_path / str(right))
        by_id = {sample.id: sample.scores["adapts"].value for sample in log.samples}
        found.append([by_id[sample.id]["directed"] for sample in people])
    assert found[0] == [2.0] * len(people)
    assert found[1] == [-2.0] * len(people)


def test_an_empty_reply_is_unscored(tmp_path: Path) -> None:
    log = run(counterfactual(limit_users=2), answering(lambda m: output("", "stop")), tmp_path)
    assert log.status == "success"
    assert all(s.scores["adapts"].reason == "an empty reply" for s in log.samples)


def test_what_a_limit_cut_off_is_unscored(tmp_path: Path) -> None:
    [log] = inspect_eval(
        counterfactual(limit_users=1),
        model=answering(lambda messages: output("How awful.", "stop")),
        token_limit=1,
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    [sample] = log.samples or []
    assert sample.scores is not None
    assert sample.scores["adapts"].reason == "cut off by a limit of the eval"
