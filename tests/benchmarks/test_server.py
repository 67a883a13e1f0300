"""User and supporter over a real OpenAI-compatible server: `transformers serve` on loopback."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from inspect_ai import eval
from inspect_ai.model import GenerateConfig, get_model

from benchmarks.conversation import conversation_of
from benchmarks.support import support
from tests.servers import Server, free_port, wait_for

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(
    embedded_tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The embedded model behind somebody else's server."""
    pytest.importorskip("uvicorn", reason="transformers serve needs uvicorn")
    port = free_port()
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [
        Path(sys.executable).with_name("transformers"),
        "serve",
        str(embedded_tokenizer_dir),
        *("--host", "127.0.0.1", "--port", str(port), "--device", "cpu"),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_for(f"http://127.0.0.1:{port}/health", process, log)
            yield Server(f"http://127.0.0.1:{port}/v1", str(embedded_tokenizer_dir))
        finally:
            process.terminate()
            process.wait(timeout=30)


def test_user_and_supporter_through_the_stock_provider(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPBACK_BASE_URL", server.url)
    monkeypatch.setenv("LOOPBACK_API_KEY", "none")
    name = f"openai-api/loopback/{server.model}"
    [log] = eval(
        support(
            user="model", appraisal="rules", limit_users=3, turns=2, min_turns=2, max_tokens=24
        ),
        model=name,
        model_roles={"user": get_model(name, config=GenerateConfig(max_tokens=32))},
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    talks = [conversation_of(sample.store) for sample in log.samples or []]
    assert len(talks) == 3
    assert all(talk is not None and talk.ending != "model_error" for talk in talks)
    scored = [talk for talk in talks if talk is not None and talk.ending.is_scored]
    assert scored, [talk.failure for talk in talks if talk is not None]
    assert all(len(talk.turns) == 3 for talk in scored)
    usage = log.stats.role_usage["user"]
    assert usage.output_tokens > 0
