"""A stand-in for vLLM's Python: it says that it is the CPU build, and serves on loopback.

Told by files beside it: `die-at-start` (a log line) ends it before it answers, `die` ends it at the
next completion, `refuse` makes it answer 400. It notes its start and what it is asked in `calls`.
"""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BASE = "tiny"
MAX_MODEL_LEN = 512


def write_fake_python(folder: Path) -> Path:
    """The Python of an environment with "vLLM"."""
    python = folder / "python"
    python.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import fake_vllm\n"
        f"fake_vllm.main({str(folder)!r}, sys.argv[1:])\n"
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


def calls(folder: Path, path: str | None = None) -> list[dict[str, Any]]:
    """What the servers of a folder were asked, all of it or what went to `path`."""
    file = folder / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    asked = [json.loads(line) for line in lines]
    return [call for call in asked if path is None or call["path"] == path]


class FakeServer(ThreadingHTTPServer):
    """Serves a base and whatever adapter it is given."""

    daemon_threads = True
    request_queue_size = 512  # an eval asks all at once

    def __init__(self, folder: Path, port: int, key: str) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.folder = folder
        self.key = key
        self.adapters: dict[str, str] = {}

    def note(self, **call: Any) -> None:
        with (self.folder / "calls").open("a") as file:
            file.write(json.dumps(call) + "\n")


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/health":
            self._say(200, {})
        elif self._may():
            models = [{"id": BASE, "max_model_len": MAX_MODEL_LEN, "parent": None}]
            models += [{"id": name, "parent": BASE} for name in self.server.adapters]
            self._say(200, {"data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._may():
            return
        self.server.note(path=self.path, pid=os.getpid(), port=self.server.server_port, **body)
        if self.path == "/v1/load_lora_adapter":
            self._load(body)
        elif self.path == "/v1/completions":
            self._complete(body)

    def _load(self, body: dict[str, Any]) -> None:
        if body["lora_name"] in self.server.adapters:
            said = f"The lora adapter '{body['lora_name']}' has already been loaded."
            self._say(400, {"error": {"message": said}})
            return
        self.server.adapters[body["lora_name"]] = body["lora_path"]
        self._say(200, {})

    def _complete(self, body: dict[str, Any]) -> None:
        if (self.server.folder / "die").exists():
            (self.server.folder / "die").unlink()
            print("(Worker pid=1) ERROR 11-29 11:00:00 [core.py:1] RuntimeError: out of memory")
            print("INFO: shutting down", flush=True)
            os._exit(3)
        if (self.server.folder / "refuse").exists():
            self._say(400, {"error": {"message": "the grammar is not valid"}})
            return
        if body["model"] not in (BASE, *self.server.adapters):
            self._say(404, {"error": {"message": f"no model {body['model']}"}})
            return
        n = body.get("n", 1)
        choice = {
            "text": f"{body['model']} at {self.server.server_port}",
            "finish_reason": "length" if body["max_tokens"] < 8 else "stop",
            "prompt_logprobs": [None]
            + [{str(i): {"logprob": -i / 1000}} for i in body["prompt"][1:]],
        }
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 5 * n}
        self._say(200, {"choices": [choice] * n, "usage": usage})

    def _may(self) -> bool:
        if self.headers["Authorization"] == f"Bearer {self.server.key}":
            return True
        self._say(401, {"error": {"message": "wrong key"}})
        return False

    def _say(self, code: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def fake_server(folder: Path, key: str) -> Iterator[FakeServer]:
    """One that runs in this process."""
    folder.mkdir()
    server = FakeServer(folder, 0, key)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def main(folder: str, arguments: list[str]) -> None:
    """What the Python is asked to do."""
    if "-c" in arguments:
        print("cpu")
        return
    root = Path(folder)
    if (root / "die-at-start").exists():
        print((root / "die-at-start").read_text(), flush=True)
        sys.exit(2)
    port = int(arguments[arguments.index("--port") + 1])
    server = FakeServer(root, port, os.environ["VLLM_API_KEY"])
    helper = subprocess.Popen(["sleep", "600"])  # vLLM's engine is another process, too
    server.note(path="start", pid=os.getpid(), helper=helper.pid, arguments=arguments, port=port)
    server.serve_forever()
