"""Continuous batching: rows join a running batch, and leave it, between any two tokens.

The keys and values of the rows lie in slots next to each other, the last row moving into a slot
that gets free, so that a step is one forward pass of (rows, 1) tokens over them without copies. A
row's prompt is read together with the others that join (`reading.py`). Prompts and replies go into
the prefix store, where the next turn of a conversation finds them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from selfevo.prefix_store import PrefixStore
from selfevo.reading import Reader, lay_out
from selfevo.replies import NO_ROOM, Completion, Ending, GenerateRequest
from selfevo.sampling import Draw, Processors, choose

ROOM_STEP = 64
"""Slots grow by whole multiples of so many tokens."""


class _Row:
    """A reply being written."""

    def __init__(self, key: int, request: GenerateRequest, processors: Any) -> None:
        self.key = key
        self.request = request
        self.draw = Draw(request)
        self.processors = processors
        self.new: list[int] = []
        """Its tokens so far; the last of them is not read yet."""

    @property
    def n_read(self) -> int:
        return len(self.request.prompt) + len(self.new) - 1

    @property
    def ids(self) -> tuple[int, ...]:
        return (*self.request.prompt, *self.new)


class Decoder:
    """The rows being written by one model. One thread at a time."""

    def __init__(
        self,
        reader: Reader,
        store: PrefixStore,
        ending: Ending,
        processors: Processors,
        *,
        max_tokens: int,
        device: str,
    ) -> None:
        """`max_tokens`: rows times the longest of them, for all slots."""
        self._reader = reader
        self._store = store
        self._ending = ending
        self._processors = processors
        self._max_tokens = max_tokens
        self._device = device
        self._rows: list[_Row] = []
        self._kv = reader.shape.rows(0, 0, device)

    def n_joining(self, requests: Sequence[GenerateRequest]) -> int:
        """How many of the first `requests` there is room for; at least one in an empty batch."""
        width = max((self._room(row.request) for row in self._rows), default=0)
        n = len(self._rows)
        for joined, request in enumerate(requests):
            width = max(width, self._room(request))
            if n + joined and (n + joined + 1) * width > self._max_tokens:
                return joined
        return len(requests)

    @torch.inference_mode()
    def join(self, requests: Mapping[int, GenerateRequest]) -> dict[int, Completion]:
        """Read the prompts and choose their first tokens; those that end with it, by their key."""
        able = {key: r for key, r in requests.items() if self._ending.limit(r) > 0}
        done = dict.fromkeys(requests.keys() - able.keys(), NO_ROOM)
        if not able:
            return done
        prompts = list(dict.fromkeys(request.prompt for request in able.values()))
        layout = lay_out(prompts, self._store.known(prompts))
        last = np.array([places[-1] for places in layout.laid.places])
        reading = self._reader.read(layout, last)
        rows = [self._new_row(key, request) for key, request in able.items()]
        index = [prompts.index(row.request.prompt) for row in rows]
        self._make_room(rows)
        whole = [reading.kv.index_select(-2, _tensor(p, self._device)) for p in reading.places]
        for prompt, kv in zip(prompts, whole, strict=True):
            self._store.add(prompt, kv)
        for slot, (row, which) in enumerate(zip(rows, index, strict=True), len(self._rows)):
            self._kv[:, :, slot, :, : len(row.request.prompt)] = whole[which]
        self._rows += rows
        return done | self._choose(rows, reading.logits_PV[index])

    @torch.inference_mode()
    def step(self) -> dict[int, Completion]:
        """One more token for each row; the replies that end with it, by their key."""
        if not self._rows:
            return {}
        tokens_B = torch.tensor([row.new[-1] for row in self._rows], device=self._device)
        lengths = [row.n_read for row in self._rows]
        lengths_B = torch.tensor(lengths, device=self._device)
        logits_BV = self._reader.step(tokens_B, self._kv, lengths_B, max(lengths) + 1)
        return self._choose(self._rows, logits_BV)

    @torch.inference_mode()
    def leave(self, keys: set[int]) -> None:
        """Drop rows that nobody waits for."""
        self._keep([row for row in self._rows if row.key not in keys])

    def _new_row(self, key: int, request: GenerateRequest) -> _Row:
        processors = None
        if self._processors.are_needed:
            limit = self._ending.limit(request)
            processors = self._processors.of(n_prompt=len(request.prompt), limit=limit)
        return _Row(key, request, processors)

    def _choose(self, rows: Sequence[_Row], logits_BV: torch.Tensor) -> dict[int, Completion]:
        if self._processors.are_needed:
            logits_BV = torch.cat(
                [
                    row.processors(_tensor([row.ids], self._device), logits_1V)
                    for row, logits_1V in zip(rows, logits_BV.float().unsqueeze(1), strict=True)
                ]
            )
        for row, token in zip(rows, choose(logits_BV, [row.draw for row in rows]), strict=True):
            row.new.append(token)
        ended = [row for row in rows if self._ending.is_reached(row.new, row.request)]
        if not ended:
            return {}
        for slot, row in enumerate(self._rows):
            if row in ended:
                self._store.add(row.ids[:-1], self._kv[:, :, slot, :, : row.n_read])
        self._keep([row for row in self._rows if row not in ended])
        return {row.key: self._ending.completion(row.new, row.request) for row in ended}

    def _keep(self, rows: Sequence[_Row]) -> None:
        """Only these rows stay; those behind the new end move into the slots that got free."""
        n = len(rows)
        slot_of = {row.key: slot for slot, row in enumerate(self._rows)}
        kept = {row.key for row in rows}
        free = [slot for slot, row in enumerate(self._rows[:n]) if row.key not in kept]
        for row in rows:
            if slot_of[row.key] >= n:
                slot = free.pop()
                n_read = row.n_read
                moved = self._kv[:, :, slot_of[row.key], :, :n_read]
                self._kv[:, :, slot, :, :n_read] = moved
                slot_of[row.key] = slot
        self._rows = sorted(rows, key=lambda row: slot_of[row.key])

    def _room(self, request: GenerateRequest) -> int:
        return len(request.prompt) + max(self._ending.limit(request), 0)

    def _make_room(self, joining: Sequence[_Row]) -> None:
        """Slots for the rows that join, as long as the longest row may get."""
        n_rows = len(self._rows) + len(joining)
        needed = max(self._room(row.request) for row in (*self._rows, *joining))
        room = -(-needed // ROOM_STEP) * ROOM_STEP
        if n_rows <= self._kv.shape[2] and room <= self._kv.shape[4]:
            return
        grown = self._reader.shape.rows(
            max(n_rows, self._kv.shape[2]), max(room, self._kv.shape[4]), self._device
        )
        if self._rows:
            width = max(row.n_read for row in self._rows)
            n = len(self._rows)
            grown[:, :, :n, :, :width] = self._kv[:, :, :n, :, :width]
        self._kv = grown


def _tensor(values: Any, device: str) -> torch.Tensor:
    return torch.as_tensor(values, device=device)
