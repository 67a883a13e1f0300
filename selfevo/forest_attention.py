"""Attention over a forest, registered through transformers' attention interface.

A model whose implementation is `NAME` reads a packed forest when its forward is given `forest=`,
and behaves as `sdpa` otherwise. No N x N mask is made. On a CPU the layout is worked off tile by
tile, each a few plain matrix products of some queries with just the keys that they see; backward
computes the probabilities again from the log-sum-exp that forward keeps (as FlashAttention does,
arXiv 2205.14135). The queries of a group of heads are stacked over their one key head, so grouped
keys are never repeated. On CUDA one FlexAttention call skips what no tile covers.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from selfevo.forest import Branches, Forest, Stretch

NAME = "selfevo_forest"

TILE = 64
"""Queries of a tile: enough for the matrix product to be fast, few enough for the cache."""

FLEX_BLOCK = 128
"""Tokens of a block of FlexAttention's mask (its default)."""

UNSUPPORTED = ("softcap", "s_aux", "sliding_window", "position_bias")
"""What a model may ask of its attention that this one cannot do."""


class Tile(NamedTuple):
    """Some neighbouring queries, and the keys that they see."""

    queries: slice
    seen: tuple[slice, ...]
    """Stretches of keys that all of them see."""
    own: slice
    """The keys of the same tokens."""
    hidden: torch.Tensor
    """(n, n) True where a query does not see one of the own keys."""


class Layout:
    """Who sees whom, in the form that the device's attention takes."""

    def __init__(self, laid: Forest, device: torch.device) -> None:
        on_gpu = device.type == "cuda"
        self.tiles = () if on_gpu else tuple(_tiles(laid))
        self.flex = _flex_mask(laid, device) if on_gpu else None


class ForestInput(NamedTuple):
    """What a model's forward takes for a forest, beside its weights."""

    ids_1N: torch.Tensor
    positions_1N: torch.Tensor
    layout: Layout

    def kwargs(self) -> dict[str, Any]:
        """Arguments of a transformers model; the 4D mask says that no mask is to be made."""
        return {
            "input_ids": self.ids_1N,
            "position_ids": self.positions_1N,
            "attention_mask": self.ids_1N.new_ones((1, 1, 1, 1), dtype=torch.bool),
            "forest": self.layout,
        }


def forest_input(laid: Forest, device: torch.device | str) -> ForestInput:
    """The forest on a device."""
    device = torch.device(device)
    return ForestInput(
        torch.from_numpy(laid.ids).to(device).unsqueeze(0),
        torch.from_numpy(laid.positions).to(device).unsqueeze(0),
        Layout(laid, device),
    )


def forest_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    forest: Layout | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one packed forest, (1, heads, N, d) over (1, heads, M + N, d); else SDPA.

    Raises:
        NotImplementedError: the model asks for something that this attention cannot do.
    """
    if forest is None:
        if attention_mask is not None and attention_mask.shape[-1] != key.shape[2]:
            raise NotImplementedError("the model does not hand the forest on to its attention")
        found = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return found[0], None
    asked = [name for name in UNSUPPORTED if kwargs.get(name) is not None]
    if asked or dropout:
        raise NotImplementedError(f"attention over a forest has no {asked or 'dropout'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if forest.flex is not None:
        grouped = query.shape[1] > key.shape[1]
        attend = _flex()
        out = attend(query, key, value, block_mask=forest.flex, scale=scale, enable_gqa=grouped)
    else:
        out = _tiled(query, key, value, forest.tiles, scale)
    return out.transpose(1, 2).contiguous(), None


class _Tiled(torch.autograd.Function):
    """softmax(Q K^T) V tile by tile.

    Shapes: H query heads, G key heads, R = H / G, n queries of a tile, K keys that they see.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        tiles: tuple[Tile, ...],
        scale: float,
    ) -> torch.Tensor:
        out = query.new_empty((*query.shape[:-1], value.shape[-1]))  # values may be narrower
        with torch.autocast(query.device.type, enabled=False):
            for tile in tiles:
                keys_GKd, values_GKd = _gathered(key, tile), _gathered(value, tile)
                queries = _stacked(query, tile, len(keys_GKd)) * scale
                mixed = _probabilities(queries, keys_GKd, tile) @ values_GKd
                out[:, :, tile.queries] = _unstacked(mixed, out)
        ctx.save_for_backward(query, key, value)
        ctx.tiles, ctx.scale = tiles, scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        query, key, value = ctx.saved_tensors
        d_query = torch.empty_like(query, memory_format=torch.contiguous_format)
        d_key = torch.zeros_like(key, memory_format=torch.contiguous_format)
        d_value = torch.zeros_like(value, memory_format=torch.contiguous_format)
        for tile in ctx.tiles:
            keys_GKd, values_GKd = _gathered(key, tile), _gathered(value, tile)
            queries = _stacked(query, tile, len(keys_GKd)) * ctx.scale
            d_mixed = _stacked(grads[0], tile, len(keys_GKd))
            probabilities = _probabilities(queries, keys_GKd, tile)
            _scatter(d_value, probabilities.transpose(1, 2) @ d_mixed, tile)
            d_probabilities = d_mixed @ values_GKd.transpose(1, 2)
            d_scores = torch._softmax_backward_data(
                d_probabilities, probabilities, -1, probabilities.dtype
            )
            d_query[:, :, tile.queries] = _unstacked(d_scores @ keys_GKd, d_query) * ctx.scale
            _scatter(d_key, d_scores.transpose(1, 2) @ queries, tile)
        return d_query, d_key, d_value, None, None


_tiled: Callable[..., torch.Tensor] = _Tiled.apply


def _exact(tensor: torch.Tensor) -> torch.dtype:
    """Half precision is too coarse for scores and sums."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _gathered(tensor_1GKd: torch.Tensor, tile: Tile) -> torch.Tensor:
    """(G, K, d) what the tile sees."""
    parts = [tensor_1GKd[0, :, stretch] for stretch in (*tile.seen, tile.own)]
    return (torch.cat(parts, 1) if len(parts) > 1 else parts[0]).to(_exact(tensor_1GKd))


def _stacked(tensor_1HNd: torch.Tensor, tile: Tile, n_heads: int) -> torch.Tensor:
    """(G, R n, d) the tile's queries, those of a group of heads on top of each other."""
    part_HNd = tensor_1HNd[0, :, tile.queries]
    stacked = part_HNd.reshape(n_heads, -1, tensor_1HNd.shape[-1])
    return stacked.to(_exact(tensor_1HNd))


def _unstacked(stacked: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return stacked.view(1, like.shape[1], -1, like.shape[-1]).to(like.dtype)


def _probabilities(queries: torch.Tensor, keys_GKd: torch.Tensor, tile: Tile) -> torch.Tensor:
    """(G, R n, K) how much each query takes of each key; 0 where it does not see it."""
    scores = queries @ keys_GKd.transpose(1, 2)
    n = len(tile.hidden)
    own = scores.view(len(scores), -1, n, scores.shape[-1])[..., -n:]
    own.masked_fill_(tile.hidden, float("-inf"))
    return torch.softmax(scores, -1)


def _scatter(total_1GKd: torch.Tensor, part_GKd: torch.Tensor, tile: Tile) -> None:
    start = 0
    for stretch in (*tile.seen, tile.own):
        n = stretch.stop - stretch.start
        total_1GKd[0, :, stretch] += part_GKd[:, start : start + n].to(total_1GKd.dtype)
        start += n


def _tiles(laid: Forest) -> Iterator[Tile]:
    """Short branches of one place in one tile; a long path in several."""
    for branches in laid.branches:
        together: list[Stretch] = []
        for path in branches.paths:
            if together and path.stop - together[0].start > TILE:
                yield from _tiles_of_paths(branches, together, laid.n_known)
                together = []
            together.append(path)
        yield from _tiles_of_paths(branches, together, laid.n_known)


def _tiles_of_paths(branches: Branches, paths: list[Stretch], n_known: int) -> Iterator[Tile]:
    """Several paths fit one tile together; one alone may be longer than a tile."""
    if len(paths) > 1:
        yield _tile(branches, paths, n_known)
    else:
        yield from _tiles_of_path(branches, paths[0], n_known)


def _tiles_of_path(branches: Branches, path: Stretch, n_known: int) -> Iterator[Tile]:
    for start in range(path.start, path.stop, TILE):
        piece = Stretch(start, min(start + TILE, path.stop))
        before = [Stretch(path.start, start)] if start > path.start else []
        longer = branches._replace(beginning=(*branches.beginning, *before))
        yield _tile(longer, [piece], n_known)


def _tile(branches: Branches, paths: list[Stretch], n_known: int) -> Tile:
    first, last = paths[0].start, paths[-1].stop
    hidden = torch.ones(last - first, last - first, dtype=torch.bool)
    for path in paths:
        here = slice(path.start - first, path.stop - first)
        hidden[here, here] = torch.ones(path.stop - path.start, path.stop - path.start).triu(1) > 0
    return Tile(
        queries=slice(first - n_known, last - n_known),
        seen=tuple(slice(*stretch) for stretch in branches.beginning),
        own=slice(first, last),
        hidden=hidden,
    )


def _flex_mask(laid: Forest, device: torch.device) -> Any:
    """FlexAttention's block mask of a forest: a token sees its path up to itself, and beginnings.

    What a token sees of another path is that path's beginning, so a table of how many tokens of
    path b a token of path a sees says it all.
    """
    from torch.nn.attention.flex_attention import BlockMask

    path_of_key, offset, limit = (
        torch.from_numpy(table).to(device) for table in visibility_tables(laid)
    )
    n_known = laid.n_known

    def sees(b: Any, h: Any, q: Any, k: Any) -> Any:
        mine, theirs = path_of_key[q + n_known], path_of_key[k]
        return torch.where(mine == theirs, k <= q + n_known, offset[k] < limit[mine, theirs])

    # made from the layout: `create_block_mask` would evaluate every pair of tokens to find out
    counts, indices = (torch.from_numpy(t).to(device) for t in _blocks_that_see(laid))
    return BlockMask.from_kv_blocks(
        counts[None, None],
        indices[None, None],
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=sees,
        seq_lengths=(len(laid.ids), laid.n_keys),
    )


Table = npt.NDArray[np.integer[Any]]


def visibility_tables(laid: Forest) -> tuple[Table, Table, Table]:
    """Path of each key (K,), its offset in the path (K,), tokens of b that a sees (P, P)."""
    paths = [path for branches in laid.branches for path in branches.paths]
    seen = [stretch for branches in laid.branches for stretch in branches.beginning]
    # what is known counts as a path from where somebody's view of it begins
    starts = sorted({0, *(path.start for path in paths), *(stretch.start for stretch in seen)})
    edges = np.array([*starts, laid.n_keys])
    path_of_key = np.searchsorted(edges, np.arange(laid.n_keys), side="right") - 1
    offset = np.arange(laid.n_keys) - edges[path_of_key]
    limit = np.zeros((len(starts), len(starts)), dtype=np.int64)
    for branches in laid.branches:
        mine = np.unique(path_of_key[[path.start for path in branches.paths]])
        for stretch in branches.beginning:
            theirs = np.unique(path_of_key[stretch.start : stretch.stop])
            visible = np.minimum(stretch.stop, edges[theirs + 1]) - edges[theirs]
            limit[np.ix_(mine, theirs)] = visible
    return path_of_key, offset, limit


def _blocks_that_see(laid: Forest) -> tuple[Table, Table]:
    """Of each block of queries: how many blocks of keys it sees, and which, those first."""
    n_queries, n_keys = (-(-n // FLEX_BLOCK) for n in (len(laid.ids), laid.n_keys))
    sees = np.zeros((n_queries, n_keys), dtype=bool)
    for branches in laid.branches:
        first, last = branches.paths[0].start - laid.n_known, branches.paths[-1].stop - laid.n_known
        for stretch in branches.beginning:
            sees[_blocks(first, last), _blocks(*stretch)] = True
        for path in branches.paths:
            for block in range(_blocks(*path).start, _blocks(*path).stop):  # causal: and no later
                start = max(path.start, block * FLEX_BLOCK) - laid.n_known
                sees[_blocks(start, path.stop - laid.n_known), block] = True
    return sees.sum(1).astype(np.int32), np.argsort(~sees, 1, kind="stable").astype(np.int32)


def _blocks(start: int, stop: int) -> slice:
    return slice(start // FLEX_BLOCK, -(-stop // FLEX_BLOCK))


_COMPILED: list[Any] = []


def _flex() -> Any:
    """FlexAttention, compiled once a process: uncompiled it would make the whole mask."""
    if not _COMPILED:
        from torch.nn.attention.flex_attention import flex_attention

        _COMPILED.append(torch.compile(flex_attention, dynamic=True))
    return _COMPILED[0]


AttentionInterface.register(NAME, forest_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
