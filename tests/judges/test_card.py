import pytest

from judges.agreement import Agreement
from judges.card import (
    Bars,
    CardError,
    DimensionCard,
    JudgeCard,
    Trust,
    dump_card,
    load_bars,
    read_card,
    trust_of,
)
from judges.resampling import Interval

BARS = Bars(kappa=0.4, offset=1.0, failure_rate=0.02, items=30)
FIVE = (1, 2, 3, 4, 5)


def interval(value: float, half: float = 0.1) -> Interval:
    return Interval(value=value, lower=value - half, upper=value + half)


def found(kappa: Interval | None, offset: Interval | None = None, n: int = 50) -> Agreement:
    return Agreement(
        n=n,
        n_total=n,
        kappa=kappa,
        spearman=None,
        offset=offset or interval(0.0),
        exact=interval(0.5),
        undefined={} if kappa else {"kappa": "constant"},
    )


@pytest.mark.parametrize(
    ("kappa", "offset", "trust"),
    [
        (interval(0.6), interval(0.2), Trust.TRUSTED),
        (interval(0.5, 0.1), interval(0.0), Trust.TRUSTED),
        (interval(0.45), interval(0.0), Trust.INCONCLUSIVE),
        (interval(0.2), interval(0.0), Trust.UNTRUSTED),
        (interval(0.6), interval(1.5), Trust.UNTRUSTED),
        (interval(0.6), interval(-1.5), Trust.UNTRUSTED),
        (interval(0.6), interval(0.95), Trust.INCONCLUSIVE),
        (interval(0.6), interval(-0.95), Trust.INCONCLUSIVE),
        (interval(0.45), interval(1.5), Trust.UNTRUSTED),
    ],
)
def test_the_intervals_decide_not_the_values(kappa, offset, trust):
    assert trust_of(found(kappa, offset), failure_rate=0.0, levels=FIVE, bars=BARS).trust is trust


def test_a_judge_that_fails_often_is_not_trusted_whatever_it_says():
    verdict = trust_of(found(interval(0.9)), failure_rate=0.1, levels=FIVE, bars=BARS)
    assert verdict.trust is Trust.UNTRUSTED
    assert verdict.reason == "10% of the items have no verdict (at most 2%)"
    assert (
        trust_of(found(interval(0.9)), failure_rate=0.02, levels=FIVE, bars=BARS).trust
        is Trust.TRUSTED
    )


def test_what_cannot_be_compared_is_not_trusted():
    assert trust_of(None, failure_rate=0.0, levels=FIVE).trust is Trust.UNTRUSTED
    constant = trust_of(found(None), failure_rate=0.0, levels=FIVE)
    assert (constant.trust, constant.reason) == (Trust.UNTRUSTED, "constant")


def test_labels_that_would_decide():
    # the lower half width 0.2 must shrink to 0.1: four times the items, and one more
    verdict = trust_of(found(interval(0.5, 0.2)), failure_rate=0.0, levels=FIVE, bars=BARS)
    assert verdict.trust is Trust.INCONCLUSIVE
    assert verdict.labels_needed in (200, 201)
    # likewise for an offset: from 0.15 to the 0.1 that is left to the bar
    wide = trust_of(
        found(interval(0.8), interval(0.9, 0.15)), failure_rate=0.0, levels=FIVE, bars=BARS
    )
    assert wide.labels_needed in (113, 114)


def dimension(name: str, trust: Trust, labels: int | None = None) -> DimensionCard:
    return DimensionCard(
        name=name,
        trust=trust,
        reason=f"because of {name}",
        labels_needed=labels,
        agreement=None,
        ceiling=None,
        judge_minus_human=None,
        length=None,
    )


def card(*dimensions: DimensionCard, **changes) -> JudgeCard:
    values = {
        "judge": "mockllm/judge",
        "judge_hash": "abc",
        "rubric": "personalization",
        "data": "labels",
        "data_hash": "def",
        "measured": "2026-11-24",
        "command": "selfevo calibrate",
        "versions": {},
        "n_items": 10,
        "n_conversations": 10,
        "failures": {},
        "dimensions": dimensions,
    }
    return JudgeCard.model_validate({**values, **changes})


def test_few_items_never_make_a_judge_trusted():
    few = trust_of(found(interval(1.0, 0.0), n=8), failure_rate=0.0, levels=FIVE, bars=BARS)
    assert few == (Trust.INCONCLUSIVE, "8 items, the bar is 30", 30)
    assert trust_of(found(interval(1.0, 0.0), n=30), failure_rate=0.0, levels=FIVE, bars=BARS) == (
        Trust.TRUSTED,
        "kappa 1.00 (1.00 to 1.00), the bar is 0.40",
        None,
    )
    bad = trust_of(found(interval(0.1), n=8), failure_rate=0.0, levels=FIVE, bars=BARS)
    assert bad.trust is Trust.UNTRUSTED


def test_of_two_open_bars_the_hungrier_one_says_how_many():
    both = trust_of(
        found(interval(0.5, 0.12), interval(0.95, 0.15)),
        failure_rate=0.0,
        levels=FIVE,
        bars=BARS,
    )
    alone = trust_of(
        found(interval(0.8), interval(0.95, 0.15)), failure_rate=0.0, levels=FIVE, bars=BARS
    )
    assert both.labels_needed == alone.labels_needed
    assert both.labels_needed in (450, 451)
    assert "kappa" in both.reason
    assert "levels off people" in both.reason


def test_on_a_shorter_scale_the_offset_bar_is_as_much_lower():
    off = found(interval(0.6), interval(0.4))
    assert trust_of(off, failure_rate=0.0, levels=(0, 1), bars=BARS).trust is Trust.UNTRUSTED
    assert trust_of(off, failure_rate=0.0, levels=FIVE, bars=BARS).trust is Trust.TRUSTED


def test_a_dimension_is_trusted_as_its_card_says():
    made = card(dimension("a", Trust.TRUSTED), dimension("b", Trust.INCONCLUSIVE, 70))
    assert made.trust_in("a").trust is Trust.TRUSTED
    assert made.trust_in("b") == (Trust.INCONCLUSIVE, "b: because of b", 70)
    unknown = made.trust_in("d")
    assert (unknown.trust, unknown.reason) == (Trust.UNTRUSTED, "d: never held against people")


def test_failures_are_a_share_of_the_items():
    assert card(failures={"not_json": 2, "empty": 1}).failure_rate == pytest.approx(0.3)
    assert card(n_items=0).failure_rate == 1.0


def test_a_card_is_read_as_it_was_written(tmp_path):
    made = card(dimension("a", Trust.TRUSTED), limits=("It reads 中文 poorly.",))
    path = tmp_path / "card.json"
    path.write_text(dump_card(made), encoding="utf-8")
    assert read_card(path) == made


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"judge": "x"}'])
def test_what_is_no_card_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "card.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CardError, match=r"card.json: is no judge card \(.*\); make it again$"):
        read_card(path)
    with pytest.raises(CardError, match="make one with selfevo calibrate"):
        read_card(tmp_path / "absent.json")


def test_the_shipped_bars():
    assert load_bars() == BARS
