import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from selfevo import vllm_server
from selfevo.checkpoint import content_hash
from selfevo.config import RunConfig
from selfevo.endpoints import Endpoint, GivenServers, Subject, Unreachable
from selfevo.errors import RunError, UsageError
from selfevo.evolve import evolve
from selfevo.generation import GenerationConfig
from selfevo.harness import finished_log
from selfevo.vllm_server import (
    Settings,
    VllmServer,
    close_server,
    last_words,
    release_servers,
    server_command,
    server_environment,
    servers_of,
)

from .fake_vllm import MAX_MODEL_LEN, calls, fake_server, write_fake_python
from .toy import toy_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """The folder of a fake vLLM."""
    folder = tmp_path / "fake"
    folder.mkdir()
    write_fake_python(folder)
    return folder


@pytest.fixture
def server(fake: Path, tiny_model: Path, tmp_path: Path) -> Iterator[VllmServer]:
    server = VllmServer(settings(fake, tiny_model), tmp_path / "vllm.log")
    yield server
    server.stop()


def settings(fake: Path, base: Path, **options: str | int | float | bool) -> Settings:
    generation = GenerationConfig(provider="vllm", python=fake / "python", server=options)
    return Settings(base, generation, None, rank=12)


def ask(server: VllmServer | GivenServers, path: Path) -> str:
    """The URL of the server that is ready for a checkpoint."""

    return endpoint(server, path).url


def endpoint(server: VllmServer | GivenServers, path: Path) -> Endpoint:
    async def asked() -> Endpoint:
        return await server.endpoint(Subject.of(path))

    return anyio.run(asked)


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or was read
        return True
    return state == "Z"  # dead; nobody in this container asks for its exit code


def await_(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_server_starts_once_when_asked_and_loads_each_content_once(
    server: VllmServer, fake: Path, tiny_model: Path, tiny_adapter: Path
) -> None:
    assert calls(fake) == []  # lazily
    urls = {ask(server, path) for path in (tiny_adapter, tiny_model, tiny_adapter)}
    assert len(urls) == 1
    [start] = calls(fake, "start")
    [load] = calls(fake, "/v1/load_lora_adapter")
    assert load["lora_name"] == f"selfevo-{content_hash(tiny_adapter)[:16]}"
    assert load["lora_path"] == str(tiny_adapter)
    assert urls == {f"http://127.0.0.1:{start['port']}"}


def test_nothing_of_the_servers_process_group_outlives_it(
    server: VllmServer, fake: Path, tiny_model: Path
) -> None:
    ask(server, tiny_model)
    [start] = calls(fake, "start")
    assert not is_gone(start["pid"])
    server.stop()
    assert is_gone(start["pid"])
    assert is_gone(start["helper"])
    server.stop()  # nothing more to do


def test_it_ends_with_a_run_that_is_killed(fake: Path, tiny_model: Path, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.selfevo.test_vllm_server import ask, settings\n"
        "from selfevo.vllm_server import VllmServer\n"
        "fake, base, log = map(Path, sys.argv[1:])\n"
        "ask(VllmServer(settings(fake, base), log), base)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, fake, tiny_model, tmp_path / "log"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == b"up\n"
    [start] = calls(fake, "start")
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    await_(lambda: is_gone(start["pid"]) and is_gone(start["helper"]))


def test_a_server_that_does_not_start_is_told_by_its_last_error_and_not_tried_again(
    server: VllmServer, fake: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (fake / "die-at-start").write_text(
        "INFO 11-29 11:00:00 [a.py:1] loading\n"
        "(EngineCore pid=7) ERROR 11-29 11:00:01 [core.py:133] ValueError: no memory\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n"
    )
    with pytest.raises(RunError) as caught:
        ask(server, tiny_model)
    log = tmp_path / "vllm.log"
    assert str(caught.value) == (
        f"the vLLM server did not start: ValueError: no memory; its log: {log}"
    )
    assert log.read_text().startswith(
        f"--- {fake / 'python'} -m vllm.entrypoints.openai.api_server"
    )
    (fake / "die-at-start").unlink()
    with pytest.raises(RunError, match="did not start: ValueError: no memory"):
        ask(server, tiny_model)
    assert calls(fake, "start") == []


def test_a_server_that_never_answers_is_ended(
    server: VllmServer, fake: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_server, "READY_S", 0)
    monkeypatch.setattr(vllm_server, "_answers", lambda url, timeout_s: False)
    with pytest.raises(RunError, match=r"did not answer within 0 s: .*; its log: "):
        ask(server, tiny_model)
    for start in calls(fake, "start"):
        assert is_gone(start["pid"])


def test_a_server_that_died_is_started_again_with_its_adapters_and_not_for_ever(
    server: VllmServer,
    fake: Path,
    tiny_model: Path,
    tiny_adapter: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for death in (1, 2):
        kill_last(server, fake, endpoint(server, tiny_adapter))
        ask(server, tiny_adapter)
        told = " ".join(capsys.readouterr().err.split())
        assert "the vLLM server died (" in told
        assert f"it is started again ({death} of 2)" in told
    assert len(calls(fake, "start")) == 3
    assert len(calls(fake, "/v1/load_lora_adapter")) == 3
    kill_last(server, fake, endpoint(server, tiny_adapter))
    for _ in range(2):
        with pytest.raises(RunError, match="the vLLM server died 3 times, last: "):
            ask(server, tiny_model)
    assert len(calls(fake, "start")) == 3


def kill_last(server: VllmServer, fake: Path, found: Endpoint) -> None:
    """End the server that was started last; a request that was in flight finds no answer."""
    os.kill(calls(fake, "start")[-1]["pid"], signal.SIGKILL)
    await_(lambda: is_gone(calls(fake, "start")[-1]["helper"]))
    assert "vLLM server" in server.failure(found, OSError("reset"))


def test_an_adapter_that_was_trained_anew_gets_another_name(
    server: VllmServer, fake: Path, tiny_adapter: Path, retrained: Path
) -> None:
    old = Subject.of(retrained)
    ask(server, retrained)
    copy_over(tiny_adapter, retrained, flip=True)
    with pytest.raises(RunError, match=r"changed since it was loaded"):
        old.require_unchanged()
    ask(server, retrained)
    names = [load["lora_name"] for load in calls(fake, "/v1/load_lora_adapter")]
    assert names[0] == old.served_name
    assert names[1] == Subject.of(retrained).served_name != names[0]


@pytest.fixture
def retrained(tiny_adapter: Path, tmp_path: Path) -> Path:
    """A copy of the adapter that a test may change."""
    path = tmp_path / "adapter"
    path.mkdir()
    copy_over(tiny_adapter, path, flip=False)
    return path


def copy_over(adapter: Path, path: Path, *, flip: bool) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")
    changed = {name: -w if flip and "lora_B" in name else w for name, w in weights.items()}
    save_file(changed, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())


def test_a_run_has_one_server_that_makes_room_and_comes_back(
    fake: Path, tiny_model: Path, tmp_path: Path
) -> None:
    config = RunConfig.model_validate(
        {"name": "x", "generation": {"provider": "vllm", "python": str(fake / "python")}}
    )
    server = servers_of(config, tiny_model, tmp_path)
    assert isinstance(server, VllmServer)
    assert servers_of(config, tiny_model, tmp_path) is server
    try:
        ask(server, tiny_model)
        release_servers()
        assert is_gone(calls(fake, "start")[0]["pid"])
        ask(server, tiny_model)
        assert len(calls(fake, "start")) == 2
    finally:
        close_server(tmp_path)
    assert is_gone(calls(fake, "start")[1]["pid"])
    assert servers_of(RunConfig(name="x"), tiny_model, tmp_path) is None
    given = RunConfig.model_validate(
        {"name": "x", "generation": {"provider": "vllm", "endpoints": ["http://a", "http://b"]}}
    )
    shared = servers_of(given, tiny_model, tmp_path)
    assert isinstance(shared, GivenServers)
    assert servers_of(given, tiny_model, tmp_path) is shared
    close_server(tmp_path)


def test_a_training_makes_the_server_end_first(
    fake: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from selfevo.training import load_base

    config = RunConfig.model_validate(
        {"name": "x", "generation": {"provider": "vllm", "python": str(fake / "python")}}
    )
    server = servers_of(config, tiny_model, tmp_path)
    assert isinstance(server, VllmServer)
    try:
        ask(server, tiny_model)
        load_base(tiny_model, config)
        assert is_gone(calls(fake, "start")[0]["pid"])
    finally:
        close_server(tmp_path)


def test_the_command_line(fake: Path, tiny_model: Path) -> None:
    asked = settings(fake, tiny_model, gpu_memory_utilization=0.8, enforce_eager=True, trust=False)
    cpu = server_command(fake / "python", asked, 8123, "cpu")
    gpu = server_command(fake / "python", asked, 8123, "gpu")
    for command in (cpu, gpu):
        assert pairs(command, "--model", "--host", "--port", "--max-lora-rank") == [
            str(tiny_model),
            "127.0.0.1",
            "8123",
            "16",
        ]
        assert "--enable-lora" in command
        assert pairs(command, "--gpu-memory-utilization") == ["0.8"]
        assert "--no-trust" in command
        assert not any("key" in word for word in command)  # `ps` shows command lines
    assert pairs(cpu, "--dtype", "--worker-extension-cls") == ["float32", "cpu_lora.GroupedLora"]
    assert pairs(gpu, "--dtype") == ["bfloat16"]
    assert "--worker-extension-cls" not in gpu


def pairs(command: list[str], *options: str) -> list[str]:
    return [command[command.index(option) + 1] for option in options]


def test_the_environment_is_the_users_but_for_what_is_the_runs() -> None:
    given = {"VLLM_CPU_KVCACHE_SPACE": "9", "PYTHONPATH": "/elsewhere", "HOME": "/home/x"}
    cpu = server_environment(given, "secret", "cpu")
    gpu = server_environment(given, "secret", "gpu")
    assert cpu["VLLM_API_KEY"] == gpu["VLLM_API_KEY"] == "secret"
    assert cpu["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert cpu["VLLM_CPU_KVCACHE_SPACE"] == "9"
    assert cpu["HOME"] == "/home/x"
    assert (Path(cpu["PYTHONPATH"]) / "cpu_lora.py").is_file()
    assert "PYTHONPATH" not in gpu
    assert not [name for name in gpu if "CPU" in name and name not in given]


def test_an_environment_without_vllm_is_told(tmp_path: Path, tiny_model: Path) -> None:
    bare = Settings(
        tiny_model, GenerationConfig(provider="vllm", python=Path(sys.executable)), None, 8
    )
    with pytest.raises(UsageError, match="has no vLLM; run `make vllm-env`"):
        ask(VllmServer(bare, tmp_path / "log"), tiny_model)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("", "it said nothing"),
        ("INFO 11-29 11:00:00 [a.py:1] loading\n", "loading"),
        ("torch.OutOfMemoryError: CUDA out of memory\nbye\n", "torch.OutOfMemoryError: CUDA out"),
        ("a\nprocess_guard: x\n--- command\n", "a"),
    ],
)
def test_last_words(said: str, words: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(said)
    assert last_words(log).startswith(words)
    assert "\n" not in last_words(log)


def test_given_servers_share_the_requests_and_load_adapters_each(
    tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k")
    with fake_server(tmp_path / "a", "k") as a, fake_server(tmp_path / "b", "k") as b:
        urls = [f"http://127.0.0.1:{one.server_port}" for one in (a, b)]
        servers = GivenServers(tuple(urls))
        assert sorted(ask(servers, tiny_adapter) for _ in range(4)) == sorted(urls * 2)
        assert list(a.adapters) == list(b.adapters) == [Subject.of(tiny_adapter).served_name]
        # another run that has loaded the same content under the same name is no failure
        again = GivenServers(tuple(urls))
        assert {ask(again, tiny_adapter) for _ in range(2)} == set(urls)


def test_a_given_server_that_is_down_is_left_out(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k")
    with fake_server(tmp_path / "a", "k") as alive:
        url = f"http://127.0.0.1:{alive.server_port}"
        servers = GivenServers(("http://127.0.0.1:9", url))
        found = []
        for _ in range(4):
            try:
                found.append(ask(servers, tiny_model))
            except Unreachable as error:
                found.append(str(error).split(":")[-1])
        assert found.count(url) == 3


def test_a_given_server_says_what_is_wrong(
    tiny_adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "other")
    with fake_server(tmp_path / "a", "k") as one:
        url = f"http://127.0.0.1:{one.server_port}"
        with pytest.raises(UsageError, match="wrong key; set VLLM_API_KEY"):
            ask(GivenServers((url,)), tiny_adapter)


def test_the_context_is_the_servers(server: VllmServer, tiny_model: Path) -> None:
    assert endpoint(server, tiny_model).context_length == MAX_MODEL_LEN
    assert json.loads((tiny_model / "config.json").read_text())["max_position_embeddings"] == 1024


@pytest.mark.slow
def test_a_run_generates_on_its_server_and_trains_without_it(
    fake: Path, finishing_model: Path, tmp_path: Path
) -> None:
    config = toy_config(
        finishing_model,
        rounds=1,
        users=None,
        evaluation={"retention": None},
        generation={"provider": "vllm", "python": str(fake / "python")},
    )
    outcome = evolve(config, tmp_path / "run")
    starts = calls(fake, "start")
    assert len(starts) == (2 if outcome.rounds[0].record else 1)  # the training came between
    assert all(is_gone(start["pid"]) for start in starts)
    m0 = outcome.m0.record.checkpoint
    assert m0 == content_hash(outcome.m0.evaluand.path)
    log = finished_log(tmp_path / "run/round-1/synthesis")
    assert log.eval.model == f"selfevo-vllm/{outcome.m0.evaluand.path}"
    for sample in log.samples or []:
        asked = [event for event in sample.events if event.event == "model"]
        assert {(e.output.metadata or {})["checkpoint"] for e in asked} == {m0}
    assert evolve(config, tmp_path / "run").champion.name == outcome.champion.name
    assert calls(fake, "start") == starts  # what is done needs no server
