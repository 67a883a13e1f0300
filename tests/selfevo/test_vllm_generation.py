"""Real vLLM on the CPU: synthesis and a reply evaluation of the embedded model with adapters.

Needs `make vllm-env`; takes minutes.
"""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ResponseSchema,
)
from inspect_ai.util import json_schema
from pydantic import BaseModel

from benchmarks.contexts import sample_contexts
from benchmarks.dialogues import load_dialogues
from benchmarks.heldout import write_contexts
from benchmarks.reply import reply
from judges.specificity import require_loglikelihood
from selfevo.checkpoint import content_hash
from selfevo.config import ModelConfig, RunConfig, SynthesisConfig
from selfevo.endpoints import Subject
from selfevo.harness import evaluand, run_eval
from selfevo.refine import Refinement
from selfevo.synthesis import synthesis
from selfevo.vllm_server import WORKER, VllmServer, close_server, release_servers, servers_of
from tests.servers import vllm_python_or_skip

pytestmark = pytest.mark.vllm
MESSAGES: list[ChatMessage] = [
    ChatMessageSystem(content="Be kind."),
    ChatMessageUser(content="My dog ran away today."),
    ChatMessageAssistant(content="Where did you see it last?"),
    ChatMessageUser(content="In the park, near the lake."),
]
REPLY = "The lake at night must feel frightening."


SAME_AS_VLLM = """
import torch
from vllm.lora.ops.torch_ops import lora_ops
names = ("bgmv_shrink", "bgmv_expand", "bgmv_expand_slice")
theirs = {name: getattr(lora_ops, name) for name in names}
import cpu_lora
torch.manual_seed(0)
a, b = torch.randn(3, 1, 4, 6), torch.randn(3, 1, 6, 4)
x, low = torch.randn(5, 6), torch.randn(5, 4)
cases = [("bgmv_shrink", x, a, 4, (0.5,)), ("bgmv_expand", low, b, 8, ())]
cases += [("bgmv_expand", low, b, 5, (False,)), ("bgmv_expand_slice", low, b, 12, (3, 6))]
cases += [("bgmv_expand_slice", low, b, 12, (3, 6, False))]
for name, given, weights, width, rest in cases:
    for slots in ([0, 1, 2, 1, 0], [1, 1, 1, 1, 1]):
        ours, original = torch.ones(5, width), torch.ones(5, width)
        getattr(lora_ops, name)(given, weights, ours, torch.tensor(slots), *rest)
        theirs[name](given, weights, original, torch.tensor(slots), *rest)
        torch.testing.assert_close(ours, original)
none = cpu_lora.product(x, a, torch.tensor([0, -1, 2, -1, -1]), torch.float32)
assert not none[[1, 3, 4]].any()
torch.testing.assert_close(none[2], a[2, 0] @ x[2])
print("same")
"""


def test_adapters_are_computed_as_vllm_does_but_for_tokens_without_one() -> None:
    python = vllm_python_or_skip()
    environment = {**os.environ, "PYTHONPATH": str(WORKER)}
    done = subprocess.run(
        [python, "-c", SAME_AS_VLLM], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["same"], done.stderr


class Models:
    """A run's server and its checkpoints."""

    def __init__(self, server: VllmServer, base: Path, adapters: Sequence[Path]) -> None:
        self.server = server
        self.base = base
        self.adapters = adapters

    def served(self, path: Path) -> Model:
        return evaluand(path, ModelConfig(), self.server).model

    def local(self, path: Path) -> Model:
        return evaluand(path, ModelConfig()).model


@pytest.fixture(scope="module")
def models(
    embedded_tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Models]:
    vllm_python_or_skip()
    root = tmp_path_factory.mktemp("run")
    adapters = [write_adapter(embedded_tokenizer_dir, root / f"a{n}", seed=n) for n in (1, 2)]
    config = RunConfig.model_validate(
        {
            "name": "x",
            "generation": {"provider": "vllm", "context_length": 2048},
            "sft": {"lora": {"r": 8}},
        }
    )
    server = servers_of(config, embedded_tokenizer_dir, root)
    assert isinstance(server, VllmServer)
    yield Models(server, embedded_tokenizer_dir, adapters)
    close_server(root)


def write_adapter(base: Path, path: Path, *, seed: int) -> Path:
    """An adapter that changes what the base says."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wrapped = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.04)
    wrapped.save_pretrained(path)
    return path


def said(model: Model, **config: Any) -> str:
    async def asked() -> str:
        return (await model.generate(MESSAGES, config=GenerateConfig(**config))).completion

    return anyio.run(asked)


def test_a_batch_of_base_and_adapters_says_what_each_says_alone_and_locally(
    models: Models,
) -> None:
    paths = [models.base, *models.adapters]
    together: dict[Path, str] = {}

    async def ask(path: Path) -> None:
        output = await models.served(path).generate(MESSAGES, config=GenerateConfig(max_tokens=16))
        together[path] = output.completion

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for path in paths:
                group.start_soon(ask, path)

    anyio.run(ask_all)
    assert len(set(together.values())) == 3
    for path in paths:
        assert together[path] == said(models.local(path), max_tokens=16)


def test_log_likelihoods_are_the_local_providers(models: Models) -> None:
    for path in (models.base, models.adapters[0]):
        served, local = (
            anyio.run(require_loglikelihood(model).loglikelihood, MESSAGES, REPLY)
            for model in (models.served(path), models.local(path))
        )
        assert served.texts == local.texts
        assert served.logprobs == pytest.approx(local.logprobs, abs=1e-3)


def test_a_server_that_is_asked_for_messages_would_read_the_same_tokens(models: Models) -> None:
    """Its template is the base's own: who talks to it otherwise gets no other model."""
    from selfevo.tokens import prompt_ids
    from selfevo.training import load_tokenizer

    async def found() -> Any:
        return await models.server.endpoint(Subject.of(models.base))

    endpoint = anyio.run(found)
    messages = [{"role": m.role, "content": m.text} for m in MESSAGES]
    request = urllib.request.Request(
        f"{endpoint.url}/tokenize",
        data=json.dumps({"messages": messages, "add_generation_prompt": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        tokens = json.load(answer)["tokens"]
    assert tokens == prompt_ids(load_tokenizer(models.base), messages)


def test_seeds_stops_and_schemas_hold(models: Models) -> None:
    class Found(BaseModel):
        emotion: str
        sure: bool

    model = models.served(models.adapters[0])
    drawn = [said(model, temperature=1.0, seed=seed, max_tokens=12) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert "." not in said(model, stop_seqs=["."], max_tokens=40)
    schema = ResponseSchema(name="found", json_schema=json_schema(Found))
    text = said(model, response_schema=schema, max_tokens=60)
    assert text.startswith('{"emotion"')
    assert "\n" not in text


def test_a_retrained_adapter_is_not_stale_and_a_run_makes_room(
    models: Models, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint"
    shutil.copytree(models.adapters[0], path)
    before = said(models.served(path), max_tokens=16)
    shutil.rmtree(path)
    shutil.copytree(models.adapters[1], path)
    after = said(models.served(path), max_tokens=16)
    assert before == said(models.local(models.adapters[0]), max_tokens=16)
    assert after == said(models.local(models.adapters[1]), max_tokens=16) != before


def test_synthesis_and_a_reply_evaluation_run_on_it(models: Models, tmp_path: Path) -> None:
    dialogues = load_dialogues("starter", language="en").dialogues
    drawn = sample_contexts(dialogues, n=3, per_dialogue=1, seed=7, min_seeker_turns=2)
    contexts = tmp_path / "contexts.jsonl"
    write_contexts(contexts, drawn)
    subject = models.served(models.adapters[0])
    settings = SynthesisConfig(candidates=2, max_tokens=24, contrast=1)
    made = run_eval(
        synthesis(contexts=str(contexts), settings=settings.model_dump(mode="json")),
        subject,
        tmp_path / "synthesis",
        title="synthesis",
        max_samples=3,
    )
    found = [Refinement.model_validate(sample.store["refinement"]) for sample in made.samples or []]
    assert len(found) == 3
    assert all(refinement.gain_bits is not None for refinement in found)
    assert all(refinement.reflection is not None for refinement in found)

    release_servers()  # as a training does; the evaluation starts it again
    log = run_eval(
        reply(contexts=str(contexts), contrast=1, max_tokens=24),
        subject,
        tmp_path / "reply",
        title="reply",
        roles={"reference": models.local(models.base)},
        max_samples=3,
    )
    assert len(log.samples or []) == 3
    for sample in log.samples or []:
        assert sample.output.metadata == {"checkpoint": content_hash(models.adapters[0])}
        [score] = (sample.scores or {}).values()
        assert isinstance(score.value, dict)
        assert score.value["specificity"] is not None
