"""Checkpoints as folders on disk: which one a name means, and the hash of what it computes.

A checkpoint is a full model (`config.json` and safetensors weights) or a PEFT adapter
(`adapter_config.json` and `adapter_model.safetensors`) on a base that is a full model. Its
identity is `content_hash`, never its path: caches, records and preference pairs carry the hash.
The tokenizer and the chat template of an adapter are its base's, whatever lies beside the adapter.

Left out: loading (see `selfevo/engine.py`) and names on a model hub; files are hashed as bytes, so
nothing here imports torch.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from selfevo import embedded
from selfevo.errors import UsageError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"

_MODEL_FILES = (
    CONFIG,
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
"""What decides what a model says. Not here: READMEs, provenance, optimizer and trainer state."""


def resolve(name: str) -> Path:
    """The checkpoint folder that `name` means: "default" for the embedded model, else a path."""
    if name == "default":
        return embedded.embedded_model_path()
    path = Path(name).expanduser().resolve()
    if not _is_full_model(path) and not is_adapter(path):
        found = "the folder has neither" if path.is_dir() else "there is no such folder"
        raise UsageError(
            f"{path}: not a checkpoint: looked for {CONFIG} or {ADAPTER_CONFIG}, but {found}; "
            "give a checkpoint folder, or 'default' for the embedded model"
        )
    return path


def is_adapter(path: Path) -> bool:
    """Whether the folder holds a PEFT adapter (which wins over a model in the same folder)."""
    return (path / ADAPTER_CONFIG).is_file()


def base_of(path: Path) -> Path:
    """The full model that an adapter sits on; a relative path counts from the adapter's folder.

    An adapter made on the embedded model of another machine finds this machine's: the folder name
    of the embedded model tells its exact content.
    """
    name = _adapter_config(path).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise UsageError(f"{path / ADAPTER_CONFIG}: base_model_name_or_path is missing; add it")
    base = (path / name).resolve()
    if not _is_full_model(base):
        for source in embedded.SOURCES:
            twin = embedded.checkpoint_path(source)
            if base.name == twin.name and embedded.is_complete(twin):
                return twin
        raise UsageError(
            f"{path / ADAPTER_CONFIG}: base_model_name_or_path is {name!r}, but {base} holds no "
            f"full model (no {CONFIG}); set it to the local folder of the base model"
        )
    return base


def content_hash(path: Path) -> str:
    """Hex sha256 of what the checkpoint computes, equal wherever it lies and whenever it was made.

    Unchanged files (same path, size and mtime) are read only once a process.
    """
    if not is_adapter(path):
        _existing(path / CONFIG)
        return _model_hash(path, _stamps(path))
    return _hash_of(
        {
            ADAPTER_CONFIG: _sha256_text(_canonical_adapter_config(path)),
            ADAPTER_WEIGHTS: _hash_file(_existing(path / ADAPTER_WEIGHTS)),
        }
    )


def _is_full_model(path: Path) -> bool:
    return (path / CONFIG).is_file() and not is_adapter(path)


@lru_cache(maxsize=64)  # asked at every reply; a look at each file by its pattern takes 1.5 ms
def _model_hash(path: Path, stamps: "frozenset[_Stamp]") -> str:
    """`stamps` is here for the cache only, like size and mtime below."""
    return _hash_of({file.name: _hash_file(file) for file in _model_files(path)})


def _hash_of(files: Mapping[str, str]) -> str:
    return _sha256_text("".join(f"{name} {files[name]}\n" for name in sorted(files)))


def _model_files(path: Path) -> set[Path]:
    files = {file for pattern in _MODEL_FILES for file in path.glob(pattern) if file.is_file()}
    if not any(file.suffix == ".safetensors" for file in files):
        raise UsageError(f"{path}: no *.safetensors weights; save the model in that format")
    return files


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise UsageError(f"{file}: not found, so {file.parent} is not a whole checkpoint")
    return file


def _adapter_config(path: Path) -> dict[str, Any]:
    file = _existing(path / ADAPTER_CONFIG)
    try:
        config = json.loads(file.read_bytes())
    except ValueError as error:
        raise UsageError(f"{file}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise UsageError(f"{file}: a JSON object is expected; save the adapter again")
    return config


def _canonical_adapter_config(path: Path) -> str:
    """The configuration with its base named by content, and its sets in one order."""
    config = _adapter_config(path)
    for key in ("target_modules", "exclude_modules"):
        # PEFT keeps these as sets and writes them in whatever order the process had them
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    config["base_model_name_or_path"] = content_hash(base_of(path))
    return json.dumps(config, sort_keys=True)


class _Stamp(NamedTuple):
    """What tells that a file was not written to since."""

    name: str
    inode: int
    size: int
    mtime_ns: int


def _stamps(path: Path) -> frozenset[_Stamp]:
    """Of everything in a folder."""
    with os.scandir(path) as entries:
        found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    return frozenset(_Stamp(name, s.st_ino, s.st_size, s.st_mtime_ns) for name, s in found)


def _hash_file(file: Path) -> str:
    status = file.stat()
    return _hash_bytes(file.resolve(), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _hash_bytes(file: Path, size: int, mtime_ns: int) -> str:
    """Size and mtime are here for the cache only: another value means another content."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _sha256_text(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
