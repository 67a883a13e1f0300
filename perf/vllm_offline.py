"""vLLM's own offline batch, in vLLM's environment: the peer that `perf/vllm.py` asks over pipes.

Reads one JSON line a job, the settings first: {"base", "options", "adapter"}; then
{"conversations", "max_tokens"}, each answered by one line {"seconds", "tokens", "texts"}.
"""

import contextlib
import json
import os
import sys
import time
from typing import Any


def main() -> None:
    """Answer jobs until the input ends."""
    # vLLM and its workers print to standard output; the answers get a channel of their own
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    settings = json.loads(sys.stdin.readline())
    llm = LLM(model=settings["base"], **settings["options"])
    adapter = settings["adapter"]
    lora = LoRARequest("adapter", 1, adapter) if adapter else None
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        n = job["max_tokens"]
        sampling = SamplingParams(temperature=0, max_tokens=n, min_tokens=n, ignore_eos=True)
        start = time.perf_counter()
        outputs = llm.chat(job["conversations"], sampling, use_tqdm=False, lora_request=lora)
        seconds = time.perf_counter() - start
        texts = [output.outputs[0].text for output in outputs]
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        answer = {"seconds": seconds, "tokens": tokens, "texts": texts}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
