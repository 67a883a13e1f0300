import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from judges import resampling
from judges.agreement import agreement
from judges.resampling import (
    AgreementUndefined,
    Bootstrap,
    FloatArray,
    kappas,
    means,
    slopes,
    spearmans,
)

RNG = np.random.default_rng(0)
A, B = RNG.integers(0, 5, 30).astype(float), RNG.integers(0, 5, 30).astype(float)
LENGTHS = RNG.normal(size=30)
WEIGHTS = RNG.multinomial(30, np.full(30, 1 / 30), size=40).astype(float)


def drawn(weights: FloatArray, values: FloatArray) -> FloatArray:
    """The resample written out: every item as often as it was drawn."""
    return np.repeat(values, weights.astype(int))


def test_kappa_of_a_resample_is_sklearns() -> None:
    for weights, kappa in zip(WEIGHTS, kappas(WEIGHTS, A, B), strict=True):
        a, b = drawn(weights, A).astype(int), drawn(weights, B).astype(int)
        expected = cohen_kappa_score(a, b, weights="quadratic", labels=range(5))
        assert kappa == pytest.approx(expected, abs=1e-12)


def test_spearman_of_a_resample_is_scipys() -> None:
    for weights, rho in zip(WEIGHTS, spearmans(WEIGHTS, A, LENGTHS), strict=True):
        expected = stats.spearmanr(drawn(weights, A), drawn(weights, LENGTHS)).statistic
        assert rho == pytest.approx(expected, abs=1e-12)


def test_slope_of_a_resample_is_scipys() -> None:
    for weights, slope in zip(WEIGHTS, slopes(WEIGHTS, LENGTHS, A), strict=True):
        expected = stats.linregress(drawn(weights, LENGTHS), drawn(weights, A)).slope
        assert slope == pytest.approx(expected, abs=1e-10)


def test_measures_without_a_value_are_nan() -> None:
    none, one = np.zeros((1, 3)), np.array([[0.0, 2.0, 0.0]])
    values, other = np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, 2.0])
    assert np.isnan(kappas(none, values, other)).all()
    assert np.isnan(kappas(one, values, other)).all()
    assert np.isnan(spearmans(one, values, other)).all()
    assert np.isnan(slopes(one, values, other)).all()
    assert np.isnan(means(none, values)).all()
    assert means(one, values).tolist() == [2]


def test_a_bootstrap_draws_whole_conversations() -> None:
    items = ["a", "b", "c", "d"]
    clusters = {"a": "x", "b": "x", "c": "y", "d": "z"}
    seen: list[FloatArray] = []

    def remember(weights: FloatArray) -> FloatArray:
        seen.append(weights)
        return np.zeros(len(weights))

    Bootstrap.over(items, clusters, seed=0, n_resamples=500).interval(remember)
    weights = np.concatenate(seen[1:])
    assert weights.shape == (500, 4)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert weights[:, 2].mean() == pytest.approx(1, abs=0.1)


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap = Bootstrap.over([f"{i}" for i in range(30)], None, seed=3, n_resamples=101)
    whole = bootstrap.interval(lambda w: kappas(w, A, B))
    monkeypatch.setattr(resampling, "BATCH_CELLS", 30 * 7)
    assert bootstrap.interval(lambda w: kappas(w, A, B)) == whole


def test_the_interval_of_a_mean_is_the_textbooks() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    items = [f"{i}" for i in range(400)]
    found = Bootstrap.over(items, None, seed=0, n_resamples=4000).interval(
        lambda w: means(w, values)
    )
    assert found.value == pytest.approx(values.mean())
    half = 1.96 * values.std() / 20
    assert found.upper - found.value == pytest.approx(half, rel=0.08)
    assert found.value - found.lower == pytest.approx(half, rel=0.08)


def test_one_conversation_has_no_interval() -> None:
    with pytest.raises(AgreementUndefined, match="2 rated items in 1 conversations"):
        Bootstrap.over(["a", "b"], {"a": "x", "b": "x"}, seed=0, n_resamples=10)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "lowest", "highest"), [(20, 0.89, 0.96), (50, 0.91, 0.96)])
def test_intervals_of_kappa_cover_what_they_should(n: int, lowest: float, highest: float) -> None:
    rng = np.random.default_rng(5)

    def draw(size: int) -> tuple[FloatArray, FloatArray]:
        truth = rng.normal(2.5, 1, size)
        one, other = (np.clip(np.rint(truth + rng.normal(0, 0.8, size)), 1, 5) for _ in "ab")
        return one, other

    true = float(kappas(np.ones((1, 10**6)), *draw(10**6))[0])
    covered = 0
    for seed in range(1000):
        one, other = ({f"{i}": float(rating) for i, rating in enumerate(side)} for side in draw(n))
        kappa = agreement(one, other, levels=range(1, 6), seed=seed, n_resamples=500).kappa
        assert kappa is not None
        covered += kappa.lower <= true <= kappa.upper
    assert lowest <= covered / 1000 <= highest
