"""What our local provider does while something runs: seconds, and prompt tokens that it reads."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selfevo import provider
from selfevo.decoding import Decoder
from selfevo.reading import Layout, Reader


class Work:
    """Seconds inside the engine and in the making of prompts, prompt tokens read."""

    def __init__(self) -> None:
        self.compute_s = 0.0
        self.prompts_s = 0.0
        self.n_read = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count what our provider does meanwhile."""
    work = Work()
    before = Decoder.join, Decoder.step, Reader.read
    fit_prompt = provider.fit_prompt

    def timed(method: Any, kind: str = "compute_s") -> Any:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                setattr(work, kind, getattr(work, kind) + time.perf_counter() - start)

        return run

    def read(self: Reader, layout: Layout, wanted: Any) -> Any:
        work.n_read += len(layout.laid.ids)
        return before[2](self, layout, wanted)

    Decoder.join, Decoder.step, Reader.read = (  # type: ignore[method-assign]
        timed(before[0]),
        timed(before[1]),
        read,
    )
    provider.fit_prompt = timed(fit_prompt, "prompts_s")
    try:
        yield work
    finally:
        Decoder.join, Decoder.step, Reader.read = before  # type: ignore[method-assign]
        provider.fit_prompt = fit_prompt


def floor(model: Any, n_read: int, n_written: int, rate: float) -> float:
    """Seconds that the matrix products take at `rate` FLOPs a second; the head only for writing."""
    head = model.get_output_embeddings().weight.numel()
    names = [(n, p.numel()) for n, p in model.named_parameters() if "embed_tokens" not in n]
    body = sum(size for name, size in names if not name.startswith("lm_head"))
    return float(2 * (body * (n_read + n_written) + head * n_written) / rate)
