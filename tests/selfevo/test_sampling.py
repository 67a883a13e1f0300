import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("transformers", reason="needs the [train] extra")

from scipy.stats import chisquare  # noqa: E402

from selfevo.replies import GenerateRequest  # noqa: E402
from selfevo.sampling import Draw, choose, nucleus  # noqa: E402

LOGITS = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -3.0])


def draw(seed=0, *, temperature=1.0, top_p=1.0):
    return Draw(GenerateRequest((1,), 1, temperature, top_p, seed))


def draws(logits, n, **sampling):
    """How often each token wins in `n` rows with seeds 0 to n - 1."""
    tokens = choose(logits.repeat(n, 1), [draw(seed, **sampling) for seed in range(n)])
    return torch.bincount(torch.tensor(tokens), minlength=len(logits)).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_softmax(temperature):
    expected = 4000 * torch.softmax(LOGITS.double() / temperature, -1).numpy()
    observed = draws(LOGITS, 4000, temperature=temperature)
    assert chisquare(observed, expected).pvalue > 0.01


def test_draws_follow_the_nucleus():
    kept = torch.softmax(LOGITS[:3].double(), -1)  # .46 .28 .17 of the whole: .9 needs three
    observed = draws(LOGITS, 4000, top_p=0.9)
    assert observed[3:] == [0, 0, 0]
    assert chisquare(observed[:3], 4000 * kept.numpy()).pvalue > 0.01


def test_successive_tokens_are_drawn_independently():
    rows = [draw(seed) for seed in range(3000)]
    first, second = (torch.tensor(choose(torch.zeros(3000, 2), rows)) for _ in range(2))
    observed = torch.bincount(2 * first + second, minlength=4).tolist()
    assert chisquare(observed).pvalue > 0.01


def test_a_draw_is_the_argmax_with_the_gumbel_noise_of_its_seed():
    """The formula in full, over the whole vocabulary: a seed means the same text for ever."""
    logits = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    for seed in range(20):
        rng = torch.Generator().manual_seed(seed)
        uniform = torch.rand(5000, generator=rng, dtype=torch.float64)
        noisy = logits / 0.8 + -torch.log(-torch.log(uniform)).float()
        whole = choose(logits[None], [draw(seed, temperature=0.8)])
        assert whole == [int(noisy.argmax())]
        kept = nucleus(logits / 0.8, 0.7)
        among = choose(logits[None], [draw(seed, temperature=0.8, top_p=0.7)])
        assert among == [int(kept[noisy[kept].argmax()])]


def test_greedy_rows_take_the_likeliest_beside_sampled_ones():
    rows = [draw(temperature=0.0), draw(3, temperature=5.0), draw(temperature=0.0)]
    logits = torch.stack([LOGITS, LOGITS, LOGITS.flip(0)])
    assert choose(logits, rows)[::2] == [0, 5]


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1.0, {0, 1, 2, 3}),
        (0.8, {0, 1, 2}),
        (0.75, {0, 1}),  # reached exactly
        (0.6, {0, 1}),
        (0.5, {0}),
        (0.1, {0}),
        (0.0, {0}),
    ],
)
def test_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    order = [1, 2, 0, 3]
    assert {order.index(i) for i in nucleus(logits, top_p).tolist()} == kept


@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.999999])
def test_nucleus_of_a_large_vocabulary_is_that_of_a_full_sort(top_p):
    logits = 3 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    p = torch.softmax(logits.double(), -1)
    ordered, order = p.sort(descending=True)
    expected = order[ordered.cumsum(-1) - ordered < top_p]
    assert sorted(nucleus(logits, top_p).tolist()) == sorted(expected.tolist())
