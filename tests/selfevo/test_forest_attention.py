"""The attention over a forest is SDPA under the dense mask that it never makes."""

from unittest import mock

import numpy as np
import pytest

from selfevo.forest import forest, visible

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("transformers", reason="needs the [train] extra")

from selfevo import forest_attention as attention  # noqa: E402

MODULE = torch.nn.Module()
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}


def random_forest(seed, *, n_rows=6, longest=24, knows=False, last=False):
    """Rows over three tokens, some after what others share with them."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, 3, rng.integers(1, longest)).tolist() for _ in range(n_rows)]
    trunk = rng.integers(0, 3, longest).tolist()
    rows += [trunk[: rng.integers(1, longest)] + row for row in rows]
    known = [trunk[: longest // 2], trunk[: longest // 3], rows[0]] if knows else []
    return forest(rows, known, last=last)


def random_heads(laid, seed, *, heads=(6, 2), dtype=torch.float32):
    """Queries (1, heads, N, d) and keys and values (1, groups, M + N, d), wide enough to choose."""
    numbers = torch.Generator().manual_seed(seed)
    n_heads, n_groups = heads
    shapes = [(n_heads, len(laid.ids)), (n_groups, laid.n_keys), (n_groups, laid.n_keys)]
    return [
        (torch.randn((1, *shape, 8), generator=numbers, dtype=torch.float64) * 2)
        .to(dtype)
        .requires_grad_()
        for shape in shapes
    ]


def dense(laid, query, key, value, scale=None):
    """SDPA under the whole mask, grouped keys repeated; (1, N, heads, d)."""
    n = query.shape[1] // key.shape[1]
    out = torch.nn.functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(n, 1),
        value.repeat_interleave(n, 1),
        attn_mask=torch.from_numpy(visible(laid)),
        scale=scale,
    )
    return out.transpose(1, 2)


def tiled(laid, query, key, value, scale=None):
    layout = attention.Layout(laid, torch.device("cpu"))
    out, weights = attention.forest_attention(
        MODULE, query, key, value, None, scaling=scale, forest=layout
    )
    assert weights is None
    return out


def with_gradients(attend, laid, tensors, **options):
    """The output, and the gradient of each tensor under one random direction."""
    out = attend(laid, *tensors, **options)
    direction = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, tensors, direction)]


def assert_equal(found, truth, tolerance):
    for one, other in zip(found, truth, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        error = (one.double() - other.double()).norm() / other.double().norm()
        assert error < tolerance


@pytest.mark.parametrize("tile", [1, 7, 64])
@pytest.mark.parametrize("heads", [(6, 2), (4, 4), (6, 1)])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_outputs_and_gradients_are_those_of_the_dense_mask(dtype, heads, tile):
    laid = random_forest(tile)
    tensors = random_heads(laid, 1, heads=heads, dtype=dtype)
    with mock.patch.object(attention, "TILE", tile):
        found = with_gradients(tiled, laid, tensors)
    assert_equal(found, with_gradients(dense, laid, tensors), TOLERANCE[dtype])


@pytest.mark.parametrize("seed", range(8))
def test_known_keys_are_seen_and_get_gradients(seed):
    laid = random_forest(seed, knows=True, last=seed % 2 == 0)
    assert laid.n_known
    tensors = random_heads(laid, seed, dtype=torch.float64)
    truth = with_gradients(dense, laid, tensors)
    assert_equal(with_gradients(tiled, laid, tensors), truth, 1e-12)
    _, _, d_key, _ = truth
    assert d_key[:, :, : laid.n_known].abs().max() > 0


def test_long_paths_are_cut_and_short_ones_joined():
    trunk = list(range(150))
    rows = [trunk, *([*trunk[:40], 1000 + i, *range(n)] for i, n in enumerate((90, 3, 4, 70)))]
    laid = forest(rows)
    sizes = [len(tile.hidden) for tile in attention._tiles(laid)]
    assert max(sizes) == attention.TILE
    assert len(sizes) < len(laid.ids) / 20
    tensors = random_heads(laid, 5, dtype=torch.float64)
    truth = with_gradients(dense, laid, tensors)
    assert_equal(with_gradients(tiled, laid, tensors), truth, 1e-12)


def test_a_models_own_scaling_is_used():
    laid = random_forest(3)
    tensors = random_heads(laid, 3, dtype=torch.float64)
    found = with_gradients(tiled, laid, tensors, scale=0.1)
    assert_equal(found, with_gradients(dense, laid, tensors, scale=0.1), 1e-12)
    assert not torch.allclose(found[0], tiled(laid, *tensors))


def test_values_that_are_not_contiguous():
    laid = random_forest(4)
    query, key, value = (
        tensor.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
        for tensor in random_heads(laid, 4, dtype=torch.float64)
    )
    assert not query.is_contiguous()
    truth = with_gradients(dense, laid, [query, key, value])
    assert_equal(with_gradients(tiled, laid, [query, key, value]), truth, 1e-12)


def test_gradients_by_finite_differences():
    laid = random_forest(5, n_rows=2, longest=4, knows=True)
    tensors = random_heads(laid, 5, heads=(2, 1), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *t: tiled(laid, *t), tensors)


def test_values_may_be_narrower_than_keys():
    laid = random_forest(8)
    query, key, value = random_heads(laid, 8, dtype=torch.float64)
    tensors = [query, key, value.detach()[..., :5].clone().requires_grad_()]
    assert_equal(with_gradients(tiled, laid, tensors), with_gradients(dense, laid, tensors), 1e-12)


def test_autocast_leaves_scores_exact():
    laid = random_forest(6)
    tensors = random_heads(laid, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = tiled(laid, *tensors)
    assert torch.equal(cast, tiled(laid, *tensors))


# on a GPU


def flex_mask(laid):
    return attention._flex_mask(laid, torch.device("cpu"))


@pytest.mark.parametrize(("seed", "longest"), [(0, 24), (1, 24), (2, 90)])
@pytest.mark.parametrize("knows", [False, True])
def test_the_mask_of_flex_attention_is_the_dense_one(seed, longest, knows):
    from torch.nn.attention.flex_attention import create_mask

    laid = random_forest(seed, longest=longest, knows=knows, last=knows)
    block_mask = flex_mask(laid)
    n, n_keys = len(laid.ids), laid.n_keys
    assert block_mask.shape[-2:] == (n, n_keys)
    found = create_mask(block_mask.mask_mod, 1, 1, n, n_keys, device="cpu")[0, 0]
    truth = visible(laid)
    assert np.array_equal(found.numpy(), truth)
    # and no block that somebody sees is skipped
    blocks = block_mask.to_dense()[0, 0].numpy().astype(bool)
    size = block_mask.BLOCK_SIZE[0]
    rows, keys = np.nonzero(truth)
    assert blocks[rows // size, keys // size].all()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile:UserWarning")
@pytest.mark.parametrize("knows", [False, True])
def test_flex_attention_finds_the_same(knows):
    from torch.nn.attention.flex_attention import flex_attention

    laid = random_forest(7, longest=60, knows=knows)
    query, key, value = (t.detach() for t in random_heads(laid, 7, dtype=torch.float64))
    with mock.patch.object(attention, "_flex", lambda: flex_attention):
        layout = attention.Layout(laid, torch.device("cpu"))
        layout.tiles, layout.flex = (), flex_mask(laid)
        with torch.no_grad():
            found, _ = attention.forest_attention(MODULE, query, key, value, None, forest=layout)
    assert torch.allclose(found, dense(laid, query, key, value), atol=1e-10)


# what it is not


@pytest.mark.parametrize("asked", attention.UNSUPPORTED)
def test_what_it_cannot_do_is_refused(asked):
    laid = random_forest(0)
    layout = attention.Layout(laid, torch.device("cpu"))
    with pytest.raises(NotImplementedError, match=asked):
        attention.forest_attention(
            MODULE, *random_heads(laid, 0), None, forest=layout, **{asked: 1.0}
        )


def test_dropout_is_refused():
    laid = random_forest(0)
    layout = attention.Layout(laid, torch.device("cpu"))
    with pytest.raises(NotImplementedError, match="dropout"):
        attention.forest_attention(MODULE, *random_heads(laid, 0), None, dropout=0.1, forest=layout)


def test_a_forest_that_did_not_arrive_is_refused():
    laid = random_forest(0)
    sign = attention.forest_input(laid, "cpu").kwargs()["attention_mask"]
    with pytest.raises(NotImplementedError, match="does not hand the forest on"):
        attention.forest_attention(MODULE, *random_heads(laid, 0), sign)


@pytest.mark.parametrize("masked", [False, True])
def test_without_a_forest_it_is_sdpa(masked):
    numbers = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn((2, 4, 9, 8), generator=numbers) for _ in range(3))
    mask = torch.ones(2, 1, 9, 9, dtype=torch.bool).tril() if masked else None
    mask_arguments = {"attn_mask": mask} if masked else {"is_causal": True}
    found, weights = attention.forest_attention(MODULE, query, key, value, mask)
    truth = torch.nn.functional.scaled_dot_product_attention(query, key, value, **mask_arguments)
    assert weights is None
    assert torch.equal(found, truth.transpose(1, 2))
