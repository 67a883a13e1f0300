import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.specificity import TokenLogprobs, bits, require_loglikelihood, specificity_bits

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, Model

HALF, QUARTER, EIGHTH = math.log(0.5), math.log(0.25), math.log(0.125)
TEXTS = ("Your", " dog", " ran")

logprobs = st.floats(-50, 0)
scored = st.lists(st.tuples(st.text(max_size=4), logprobs), max_size=8).map(
    lambda rows: TokenLogprobs(tuple(t for t, _ in rows), tuple(p for _, p in rows))
)


def test_bits_by_hand() -> None:
    assert bits(TokenLogprobs(TEXTS, (HALF, QUARTER, EIGHTH))) == pytest.approx(-6)


@pytest.mark.parametrize(
    ("excluded", "left"),
    [
        ([(5, 8)], -4),  # "dog", without its space
        ([(4, 8)], -4),  # "dog" with it
        ([(3, 5)], -3),  # touches " dog" and the end of "Your"
        ([(0, 4)], -5),  # "Your" alone; " dog" begins where the span ends
        ([(0, 12)], 0),
        ([(0, 1), (9, 10)], -2),
        ([(4, 4)], -6),  # empty between two tokens
    ],
)
def test_bits_skip_tokens_that_overlap(excluded: list[tuple[int, int]], left: float) -> None:
    tokens = TokenLogprobs(TEXTS, (HALF, QUARTER, EIGHTH))
    assert bits(tokens, excluded) == pytest.approx(left)


def test_specificity_by_hand() -> None:
    own = TokenLogprobs(TEXTS, (HALF, HALF, HALF))
    others = [
        TokenLogprobs(TEXTS, (HALF, QUARTER, HALF)),
        TokenLogprobs(TEXTS, (HALF, EIGHTH, QUARTER)),
    ]
    assert specificity_bits(own, others) == pytest.approx(-3 - (-4 - 6) / 2)
    assert specificity_bits(own, others, [(5, 8)]) == pytest.approx(-2 - (-2 - 3) / 2)


@given(scored, st.integers(1, 4))
def test_after_everyone_the_same_is_nothing_specific(own: TokenLogprobs, n: int) -> None:
    assert specificity_bits(own, [own] * n) == pytest.approx(0, abs=1e-9)


@given(scored)
def test_bits_are_never_positive_and_excluding_never_lowers_them(tokens: TokenLogprobs) -> None:
    length = len("".join(tokens.texts))
    assert bits(tokens) <= 0
    assert bits(tokens, [(0, length)]) >= bits(tokens) - 1e-9


def test_others_must_be_there() -> None:
    with pytest.raises(ValueError, match="others is empty"):
        specificity_bits(TokenLogprobs(TEXTS, (HALF, HALF, HALF)), [])


def test_others_must_score_the_same_pieces() -> None:
    own = TokenLogprobs(TEXTS, (HALF, HALF, HALF))
    with pytest.raises(ValueError, match=r"others\[1\] scores .* but own scores"):
        specificity_bits(own, [own, TokenLogprobs(("Your", " dog ran"), (HALF, HALF))])


def test_pieces_and_logprobs_must_line_up() -> None:
    with pytest.raises(ValueError, match="2 pieces of text but 1 log-probabilities"):
        TokenLogprobs(("a", "b"), (HALF,))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_failure_is_never_a_number(bad: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        TokenLogprobs(("a",), (bad,))


@pytest.mark.parametrize("bad", [(-1, 2), (3, 2), (0, 13)])
def test_ranges_must_be_inside(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not inside the continuation of 12 characters"):
        bits(TokenLogprobs(TEXTS, (HALF, HALF, HALF)), [bad])


class _Scores:
    async def loglikelihood(
        self, prefix: "Sequence[ChatMessage]", continuation: str
    ) -> TokenLogprobs:
        return TokenLogprobs((continuation,), (HALF,))


def test_require_loglikelihood() -> None:
    api = _Scores()
    assert require_loglikelihood(cast("Model", SimpleNamespace(api=api))) is api
    with pytest.raises(TypeError, match="use a model that can, such as selfevo/default"):
        require_loglikelihood(cast("Model", SimpleNamespace(api=object())))
