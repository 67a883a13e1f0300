"""Log-likelihoods of many continuations in few passes: labels of dialogues, replies after prefixes.

Every label after one prefix, every question about one dialogue, and a reply after several system
messages lie in one forest, where what they share is read once. What was scored lately is
remembered: the labels after an empty dialogue, which calibrate those of each dialogue, are asked
for with every one of them.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from selfevo.forest import Ids
from selfevo.reading import Reader, lay_out

Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_LOGITS = 2**27
"""Scores of a vocabulary kept by one forward pass: half a gigabyte in float32."""

ROWS_AT_ONCE = 256
"""Places whose scores become log-probabilities together."""

REMEMBERED = 4096
"""Scored requests."""


class ScoreRequest(NamedTuple):
    """A continuation whose tokens are to be scored after a prefix."""

    prefix: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What a model must read for it: of the last token only the probability is asked."""
        return self.prefix + self.continuation[:-1]


class Scorer:
    """Scores with one model. One thread at a time."""

    def __init__(self, reader: Reader, *, max_tokens: int, vocabulary: int) -> None:
        """`max_tokens`: read in one pass."""
        self._reader = reader
        self._max_tokens = max_tokens
        self._max_scores = max(1, MAX_LOGITS // vocabulary)

    def passes(self, requests: Iterable[ScoreRequest]) -> Iterator[list[ScoreRequest]]:
        """Different `requests` in batches of which each fits one pass; neighbours begin alike."""
        batch: list[ScoreRequest] = []
        n_tokens = n_scores = 0
        before: tuple[int, ...] = ()
        for request in sorted(requests):
            n_new = len(request.read) - _n_shared(before, request.read)
            n_tokens, n_scores = n_tokens + n_new, n_scores + len(request.continuation)
            if batch and (n_tokens > self._max_tokens or n_scores > self._max_scores):
                yield batch
                batch, n_tokens, n_scores = [], len(request.read), len(request.continuation)
            batch.append(request)
            before = request.read
        if batch:
            yield batch

    def score(self, requests: Sequence[ScoreRequest]) -> dict[ScoreRequest, list[float]]:
        """Natural log-probabilities of each continuation's tokens, in one pass."""
        layout = lay_out([request.read for request in requests])
        places = [
            keys[len(request.prefix) - 1 :]
            for keys, request in zip(layout.laid.places, requests, strict=True)
        ]
        wanted, at = np.unique(np.concatenate(places), return_inverse=True)
        tokens = np.concatenate([request.continuation for request in requests])
        logps = _logps(self._reader.read(layout, wanted).logits_PV, at, tokens)
        ends = np.cumsum([len(request.continuation) for request in requests])[:-1]
        parts = (part.tolist() for part in np.split(logps, ends))
        return dict(zip(requests, parts, strict=True))


class Recent(Generic[Key, Value]):
    """The last `size` results, by what was asked."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._results: OrderedDict[Key, Value] = OrderedDict()
        self._guard = threading.Lock()

    def of(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Results of those of `keys` that are still there."""
        with self._guard:
            found = {key: self._results[key] for key in keys if key in self._results}
            for key in found:
                self._results.move_to_end(key)
            return found

    def keep(self, results: Mapping[Key, Value]) -> None:
        """Add results; the least recently used go."""
        with self._guard:
            self._results.update(results)
            while len(self._results) > self._size:
                self._results.popitem(last=False)


def _logps(logits_PV: torch.Tensor, at: Ids, tokens: Ids) -> npt.NDArray[np.float64]:
    """(K,) log-probability of token k at row `at[k]`."""
    found = np.empty(len(at))
    exact = torch.float64 if logits_PV.dtype == torch.float64 else torch.float32
    for start in range(0, len(logits_PV), ROWS_AT_ONCE):
        logps_RV = torch.log_softmax(logits_PV[start : start + ROWS_AT_ONCE].to(exact), -1)
        mine = np.flatnonzero((at >= start) & (at < start + ROWS_AT_ONCE))
        rows = torch.from_numpy(at[mine] - start).to(logps_RV.device)
        columns = torch.from_numpy(tokens[mine]).to(logps_RV.device)
        found[mine] = logps_RV[rows, columns].double().cpu().numpy()
    return found


def _n_shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)
