"""vLLM servers as places to send requests to: names of models, adapters at run time, connections.

An adapter is loaded under a name made from its content hash, never under its path: vLLM does not
read a name again that it knows, and a checkpoint trained anew would answer with its former self.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import anyio
import anyio.to_thread

from selfevo.checkpoint import content_hash, is_adapter
from selfevo.errors import RunError, UsageError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

API_KEY: Final = "VLLM_API_KEY"
"""Environment variable: the key of given servers; vLLM reads the same."""
CONTROL_S: Final = 120
"""Seconds for the server to list its models or to load an adapter."""
SHOWN: Final = 300
"""Characters of a server's refusal that are shown."""
REQUEST_S: Final = 1200
"""Seconds for one reply: among many others, on a slow machine."""


class Unreachable(RunError):
    """A server does not answer."""


class _Refused(Exception):
    """A server answered that it would not."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code
        self.said = said


class Subject(NamedTuple):
    """The checkpoint that is asked."""

    path: Path
    checkpoint: str
    """Content hash."""
    stamp: tuple[int, ...]
    """Size and time of its weights when it was hashed."""

    @classmethod
    def of(cls, path: Path) -> "Subject":
        """The checkpoint in a folder, as it is now."""
        return cls(path, content_hash(path), _stamp(path))

    @property
    def served_name(self) -> str:
        """Its name on a server that is ours: another content is another name."""
        return f"selfevo-{self.checkpoint[:16]}"

    def require_unchanged(self) -> None:
        """A server reads an adapter again when it had no room for it.

        Raises:
            RunError: the files are not those that the outputs are labelled with.
        """
        if _stamp(self.path) != self.stamp and content_hash(self.path) != self.checkpoint:
            raise RunError(
                f"{self.path}: changed since it was loaded; start a new process or another run"
            )


class Endpoint:
    """One server that answers, and what it has loaded."""

    def __init__(self, url: str, api_key: str) -> None:
        self.url = url
        self.in_flight = 0
        self.is_down = False
        self._api_key = api_key
        self._client: AsyncOpenAI | None = None
        self._base = ""
        self._context_length = 0
        self._loaded: set[str] = set()

    def has(self, subject: Subject) -> bool:
        """Whether requests to the checkpoint can be sent."""
        return subject.served_name in self._loaded

    @property
    def context_length(self) -> int:
        """Tokens that the server reads; known once it has loaded something."""
        return self._context_length

    def model_of(self, subject: Subject) -> str:
        """Name of the checkpoint on this server."""
        return subject.served_name if is_adapter(subject.path) else self._base

    def load(self, subject: Subject) -> None:
        """Make the server ready for a checkpoint. Blocks.

        Raises:
            RunError: it cannot.
        """
        if not self._base:
            self._read_models()
        if is_adapter(subject.path):
            subject.require_unchanged()
            self._load_adapter(subject)
        self._loaded.add(subject.served_name)

    def _read_models(self) -> None:
        try:
            listed = json.loads(self._call("/v1/models"))["data"]
        except _Refused as refusal:
            raise RunError(f"{self.url}: does not name its models: {refusal.said}") from None
        bases = [model for model in listed if not model.get("parent")]
        if not bases:
            raise RunError(f"{self.url}: serves no model; start it with the run's base")
        self._base = str(bases[0]["id"])
        self._context_length = int(bases[0]["max_model_len"])

    def _load_adapter(self, subject: Subject) -> None:
        wanted = {"lora_name": subject.served_name, "lora_path": str(subject.path.resolve())}
        try:
            self._call("/v1/load_lora_adapter", wanted)
        except _Refused as refusal:
            if "already been loaded" in refusal.said:  # the same name is the same content
                return
            hint = ""
            if refusal.code == 404 and "detail" in refusal.said:  # there is no such address
                hint = "; start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            raise RunError(
                f"{self.url}: does not load the adapter {subject.path}: {refusal.said}{hint}"
            ) from None

    def _call(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode() if body else None,
            headers={
                "Authorization": f"Bearer {self._api_key}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=CONTROL_S) as answer:
                content: bytes = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                said = " ".join(error.read().decode("utf-8", "replace").split())
            if error.code == 401:
                raise UsageError(f"{self.url}: wrong key; set {API_KEY}") from None
            raise _Refused(error.code, said[:SHOWN]) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise Unreachable(f"{self.url}: no answer ({reason}); is it running?") from None
        return content

    @asynccontextmanager
    async def connected(self) -> AsyncIterator["AsyncOpenAI"]:
        """A client for one request; open while requests are in flight, so within one event loop."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # half a second

        if self._client is None:
            self._client = AsyncOpenAI(
                base_url=f"{self.url}/v1",
                api_key=self._api_key,
                max_retries=0,
                timeout=REQUEST_S,
                # certificates take a tenth of a second to read, and plain http has none
                http_client=DefaultAsyncHttpxClient(verify=self.url.startswith("https")),
            )
        self.in_flight += 1
        try:
            yield self._client
        finally:
            self.in_flight -= 1
            if self.in_flight == 0 and self._client is not None:
                client, self._client = self._client, None
                with anyio.CancelScope(shield=True):
                    await client.close()


class Servers(Protocol):
    """Where the checkpoints of a run are served."""

    async def endpoint(self, subject: Subject) -> Endpoint:
        """A server that is ready for the checkpoint; what it takes is done first."""
        ...

    def failure(self, endpoint: Endpoint, error: BaseException) -> str:
        """One line for a request that found no answer; another try finds a server that answers."""
        ...


class GivenServers:
    """Servers that somebody else started: requests go to the least busy one that answers."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        # a server without a key takes any
        self._endpoints = [Endpoint(url, os.environ.get(API_KEY) or "none") for url in urls]
        self._turn = anyio.Lock()
        self._next = 0

    async def endpoint(self, subject: Subject) -> Endpoint:
        """The least busy one, ready for the checkpoint."""
        subject.require_unchanged()
        chosen = self._choose()
        if not chosen.has(subject):
            async with self._turn:
                if not chosen.has(subject):
                    await self._load(chosen, subject)
        return chosen

    async def _load(self, chosen: Endpoint, subject: Subject) -> None:
        try:
            await anyio.to_thread.run_sync(chosen.load, subject, abandon_on_cancel=True)
        except Unreachable:
            self._put_aside(chosen)
            raise

    def stop(self) -> None:
        """Nothing: whoever started them ends them."""

    def failure(self, endpoint: Endpoint, error: BaseException) -> str:
        """The others take over from it."""
        self._put_aside(endpoint)
        return f"{endpoint.url}: no answer ({error!r}); is it still running?"

    def _put_aside(self, endpoint: Endpoint) -> None:
        """Ask the others first; when all are down, all are tried again."""
        endpoint.is_down = True
        if all(one.is_down for one in self._endpoints):
            for one in self._endpoints:
                one.is_down = False

    def _choose(self) -> Endpoint:
        self._next += 1
        turns = [
            self._endpoints[(self._next + i) % len(self._endpoints)]
            for i in range(len(self._endpoints))
        ]
        return min(turns, key=lambda one: (one.is_down, one.in_flight))


def _stamp(path: Path) -> tuple[int, ...]:
    """Of the files of weights: changes when they are written."""
    found = [file.stat() for file in sorted(path.glob("*.safetensors"))]
    return tuple(number for file in found for number in (file.st_size, file.st_mtime_ns))
