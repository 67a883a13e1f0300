"""The provider on a fake server: what reaches it, what comes back, what a failure does."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    CachePolicy,
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
from inspect_ai.util import json_schema
from pydantic import BaseModel

from judges.specificity import require_loglikelihood
from selfevo.checkpoint import content_hash
from selfevo.config import ModelConfig
from selfevo.endpoints import GivenServers
from selfevo.errors import RunError, UsageError
from selfevo.harness import evaluand, run_eval
from selfevo.tokens import continuation_pieces, prompt_ids
from selfevo.vllm_server import VllmServer

from .fake_vllm import MAX_MODEL_LEN, calls, fake_server, write_fake_python
from .test_vllm_server import settings

MESSAGES: list[ChatMessage] = [
    ChatMessageSystem(content="Be kind."),
    ChatMessageUser(content="My dog ran away."),
]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a fake server that runs already."""
    monkeypatch.setenv("VLLM_API_KEY", "k")
    with fake_server(tmp_path / "fake", "k") as server:
        monkeypatch.setenv("FAKE_URL", f"http://127.0.0.1:{server.server_port}")
        yield tmp_path / "fake"


@pytest.fixture
def model(fake: Path, tiny_adapter: Path) -> Model:
    return evaluand(tiny_adapter, ModelConfig(), GivenServers((os.environ["FAKE_URL"],))).model


def generated(model: Model, **config: Any) -> ModelOutput:
    async def asked() -> ModelOutput:
        return await model.generate(MESSAGES, config=GenerateConfig(**config))

    return anyio.run(asked)


def tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


def test_what_is_sampled_how_reaches_the_server(
    model: Model, fake: Path, tiny_model: Path, tiny_adapter: Path
) -> None:
    output = generated(
        model, temperature=0.7, top_p=0.9, top_k=5, seed=3, max_tokens=20, stop_seqs=["\n"]
    )
    [call] = calls(fake, "/v1/completions")
    expected = prompt_ids(
        tokenizer(tiny_model), [{"role": m.role, "content": m.text} for m in MESSAGES]
    )
    assert call["prompt"] == expected  # the tokens of training and of the local provider
    assert call["model"] == f"selfevo-{content_hash(tiny_adapter)[:16]}"
    assert call["max_tokens"] == 20
    assert (call["temperature"], call["top_p"], call["top_k"]) == (0.7, 0.9, 5)
    assert call["stop"] == ["\n"]
    assert call["stop_token_ids"] == [2]
    assert output.completion.startswith(call["model"])
    assert output.stop_reason == "stop"
    assert output.usage is not None
    assert (output.usage.input_tokens, output.usage.output_tokens) == (len(expected), 5)
    assert output.metadata == {"checkpoint": content_hash(tiny_adapter)}


def test_without_a_temperature_it_is_greedy_and_seeds_follow_the_call(
    model: Model, fake: Path
) -> None:
    for config in ({}, {"seed": 3, "temperature": 1.0}, {"seed": 3}, {"seed": 4}):
        generated(model, max_tokens=10, **config)
    greedy, *seeded = calls(fake, "/v1/completions")
    assert greedy["temperature"] == 0
    assert seeded[0]["seed"] == seeded[1]["seed"] != seeded[2]["seed"]


def test_choices_are_drawn_in_one_request_and_greedy_ones_once(model: Model, fake: Path) -> None:
    drawn = generated(model, num_choices=3, temperature=1.0, max_tokens=10)
    greedy = generated(model, num_choices=3, max_tokens=10)
    assert len(drawn.choices) == len(greedy.choices) == 3
    assert [call["n"] for call in calls(fake, "/v1/completions")] == [3, 1]


def test_a_schema_reaches_the_server(model: Model, fake: Path) -> None:
    class Found(BaseModel):
        emotion: str

    generated(model, response_schema=ResponseSchema(name="found", json_schema=json_schema(Found)))
    [call] = calls(fake, "/v1/completions")
    schema = call["structured_outputs"]["json"]
    assert schema["required"] == ["emotion"]
    assert schema["properties"]["emotion"] == {"type": "string"}


def test_what_ends_a_reply(model: Model, fake: Path) -> None:
    assert generated(model, max_tokens=5).stop_reason == "max_tokens"
    many = generated(model, max_tokens=9000)  # more than the server reads
    assert many.stop_reason == "stop"
    call = calls(fake, "/v1/completions")[-1]
    assert len(call["prompt"]) + call["max_tokens"] == MAX_MODEL_LEN


def test_log_likelihoods_are_of_the_same_tokens(model: Model, fake: Path, tiny_model: Path) -> None:
    scored = anyio.run(require_loglikelihood(model).loglikelihood, MESSAGES, "Oh no, your dog.")
    reads = tokenizer(tiny_model)
    pieces = continuation_pieces(reads, "Oh no, your dog.")
    prefix = prompt_ids(reads, [{"role": m.role, "content": m.text} for m in MESSAGES])
    [call] = calls(fake, "/v1/completions")
    assert call["prompt"] == prefix + pieces.ids
    assert (call["prompt_logprobs"], call["max_tokens"]) == (0, 1)
    assert scored.texts == pieces.texts
    assert scored.logprobs == tuple(-i / 1000 for i in pieces.ids)


def test_a_continuation_that_cannot_be_scored_is_told(model: Model) -> None:
    score = require_loglikelihood(model).loglikelihood
    with pytest.raises(ValueError, match="has no tokens"):
        anyio.run(score, MESSAGES, "")
    with pytest.raises(ValueError, match=rf"continuation tokens; .* reads {MAX_MODEL_LEN - 1}"):
        anyio.run(score, MESSAGES, "dog " * MAX_MODEL_LEN)


def test_a_refusal_is_one_line(model: Model, fake: Path) -> None:
    (fake / "refuse").touch()
    with pytest.raises(RunError, match="the grammar is not valid"):
        generated(model)


def test_tools_are_refused_and_ignored_options_told_once(
    model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    from inspect_ai.tool import ToolInfo

    with pytest.raises(UsageError, match="cannot call tools"):
        anyio.run(
            model.api.generate, MESSAGES, [ToolInfo(name="t", description="")], "auto",
            GenerateConfig(),
        )  # fmt: skip
    with caplog.at_level(logging.WARNING, logger="selfevo.served"):
        generated(model, logprobs=True)
        generated(model, logprobs=True)
    assert [r.getMessage() for r in caplog.records if r.name == "selfevo.served"] == [
        "selfevo-vllm ignores logprobs"
    ]


def test_the_cache_sees_the_content_and_not_the_server(
    fake: Path, tiny_model: Path, tiny_adapter: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    policy = CachePolicy(expiry="1D")

    def said(path: Path) -> str:
        servers = GivenServers((os.environ["FAKE_URL"],))
        model = evaluand(path, ModelConfig(), servers).model
        assert model.api.base_url == f"sha256:{content_hash(path)}:vllm"
        return generated(model, cache=policy, max_tokens=10).completion

    assert said(tiny_adapter) == said(tiny_adapter) != said(tiny_model)
    assert len(calls(fake, "/v1/completions")) == 2


@task
def asked_thrice() -> Task:
    samples = [Sample(id=f"p{n}", input=f"My dog ran away {n} times.") for n in range(3)]
    return Task(dataset=MemoryDataset(samples), solver=generate(max_tokens=10), scorer=includes())


def test_a_server_that_dies_in_an_eval_costs_a_try_and_not_the_eval(
    tiny_model: Path, tiny_adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fake"
    folder.mkdir()
    write_fake_python(folder)
    (folder / "die").touch()
    server = VllmServer(settings(folder, tiny_model), tmp_path / "vllm.log")
    try:
        model = evaluand(tiny_adapter, ModelConfig(), server).model
        log = run_eval(asked_thrice(), model, tmp_path / "logs", title="asked", max_samples=1)
    finally:
        server.stop()
    assert log.status == "success"
    assert len(log.samples or []) == 3
    assert log.eval.model_args == {}  # neither address nor key
    assert len(calls(folder, "start")) == 2
    assert len(calls(folder, "/v1/load_lora_adapter")) == 2
    errors = [e.message for sample in log.samples or [] for e in sample.error_retries or []]
    assert len(errors) == 1
    assert "the vLLM server" in errors[0]
    told = " ".join(capsys.readouterr().err.split())
    assert "the vLLM server died (RuntimeError: out of memory; its log: " in told
