"""A real judge on a real server: vLLM on loopback, JSON by schema, token probabilities.

vLLM lives in an environment of its own (`make vllm-env`). The embedded model cannot judge. What is
shown here is that it is asked properly, and that its card says so.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from judges.card import Trust
from selfevo.calibrate import calibrate
from tests.servers import Server, free_port, vllm_python_or_skip, wait_for

pytestmark = pytest.mark.vllm
TALK = '"Seeker: My boss shouts at me.\nSupporter: What does he shout?\nSeeker: That I am slow."'


@pytest.fixture(scope="module")
def server(
    embedded_tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    python = str(vllm_python_or_skip())
    port = free_port()
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    command = [python, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(embedded_tokenizer_dir), "--served-model-name", "embedded"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--enforce-eager", "--max-model-len", "8192", "--dtype", "bfloat16"]
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **offline}
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield Server(f"http://127.0.0.1:{port}/v1", "embedded")
        finally:
            process.terminate()
            process.wait(timeout=60)


def test_a_small_model_gets_the_card_that_it_deserves(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_BASE_URL", server.url)
    monkeypatch.setenv("LOOPBACK_API_KEY", "none")
    labels = tmp_path / "labels.csv"
    rows = ["id,fluency,coherence,full_conversation"]
    rows += [f"i{n},{n % 5 + 1},{n % 3 + 1},{TALK}" for n in range(6)]
    labels.write_text("\n".join(rows))
    card = calibrate(
        f"openai-api/loopback/{server.model}", str(labels), rubric="fluency", out=tmp_path
    )
    assert {dimension.trust for dimension in card.dimensions} == {Trust.UNTRUSTED}
    [path] = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    calls = [event for s in log.samples or [] for event in s.events if event.event == "model"]
    assert len(calls) >= 6
    for call in calls:
        text = call.output.completion
        if call.output.stop_reason == "stop":  # the schema held, whatever it says
            assert text.lstrip().startswith("{")
            assert all(f'"{key}"' in text for key in ("fluency", "coherence", "evidence", "level"))
        logprobs = call.output.choices[0].logprobs
        assert logprobs is not None
        assert logprobs.content[0].top_logprobs
    scored = sum(
        s.scores is not None and isinstance(s.scores["rates"].value, dict)
        for s in log.samples or []
    )
    assert scored + sum(card.failures.values()) == 6
