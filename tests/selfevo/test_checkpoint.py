import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from selfevo import embedded
from selfevo.checkpoint import base_of, content_hash, is_adapter, resolve
from selfevo.errors import ModelFetchError, UsageError

ROOT = Path(__file__).resolve().parents[2]


def touch(path, content, *, mtime_ns=None):
    path.write_bytes(content)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))


def make_model(path, *, weights=b"weights"):
    path.mkdir(parents=True)
    touch(path / "config.json", b'{"model_type": "llama"}')
    touch(path / "generation_config.json", b"{}")
    touch(path / "model.safetensors", weights)
    touch(path / "tokenizer.json", b"{}")
    touch(path / "chat_template.jinja", b"{{ messages }}")
    return path


def make_adapter(path, base, *, weights=b"adapter", modules=("q_proj", "v_proj")):
    path.mkdir(parents=True)
    config = {"base_model_name_or_path": str(base), "r": 16, "target_modules": list(modules)}
    touch(path / "adapter_config.json", json.dumps(config).encode())
    touch(path / "adapter_model.safetensors", weights)
    return path


@pytest.fixture
def model(tmp_path):
    return make_model(tmp_path / "model")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SELFEVO_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "name",
    [
        "model.safetensors",
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "chat_template.jinja",
    ],
)
def test_hash_changes_with_one_byte_of_what_is_computed(model, name):
    before = content_hash(model)
    content = (model / name).read_bytes()
    touch(model / name, content[:-1] + bytes([content[-1] ^ 1]), mtime_ns=1)
    assert content_hash(model) != before
    touch(model / name, content, mtime_ns=2)
    assert content_hash(model) == before


def test_hash_is_of_names_too(model):
    before = content_hash(model)
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    assert content_hash(model) != before


def test_hash_does_not_change_when_moved_or_copied(model, tmp_path):
    before = content_hash(model)
    copied = Path(shutil.copytree(model, tmp_path / "elsewhere" / "copy"))
    assert content_hash(copied) == before
    assert content_hash(model.rename(tmp_path / "renamed")) == before


@pytest.mark.parametrize("name", ["README.md", "optimizer.pt", "trainer_state.json"])
def test_hash_ignores_what_is_not_computed(model, name):
    before = content_hash(model)
    touch(model / name, b"anything")
    assert content_hash(model) == before


def test_hash_counts_every_shard(tmp_path):
    hashes = set()
    for number, second in enumerate([b"b", b"c"]):
        sharded = make_model(tmp_path / str(number))
        touch(sharded / "model-00002-of-00002.safetensors", second)
        touch(sharded / "model.safetensors.index.json", b"{}")
        hashes.add(content_hash(sharded))
    assert len(hashes) == 2


def test_unchanged_files_are_read_once(model, monkeypatch):
    before = content_hash(model)
    monkeypatch.setattr(Path, "open", lambda *args, **kwargs: pytest.fail("read again"))
    assert content_hash(model) == before


def test_adapter_hash_follows_its_base_by_content(model, tmp_path):
    elsewhere = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    other = make_model(tmp_path / "other", weights=b"another")
    hashes = [
        content_hash(make_adapter(tmp_path / f"adapter{number}", base))
        for number, base in enumerate([model, elsewhere, "../model", other])
    ]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]
    assert hashes[0] != content_hash(model)


def test_adapter_hash_follows_its_own_files(model, tmp_path):
    hashes = {
        content_hash(make_adapter(tmp_path / "a", model)),
        content_hash(make_adapter(tmp_path / "b", model, weights=b"adaptes")),
        content_hash(make_adapter(tmp_path / "c", model, modules=("q_proj",))),
    }
    assert len(hashes) == 3


def test_adapter_hash_ignores_the_order_of_its_modules(model, tmp_path):
    one = make_adapter(tmp_path / "a", model, modules=("q_proj", "v_proj"))
    two = make_adapter(tmp_path / "b", model, modules=("v_proj", "q_proj"))
    assert content_hash(one) == content_hash(two)


def test_adapter_hash_ignores_the_tokenizer_beside_it(model, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", model)
    before = content_hash(adapter)
    touch(adapter / "tokenizer.json", b"saved again")
    touch(adapter / "optimizer.pt", b"state")
    assert content_hash(adapter) == before


def test_base_of_resolves_relative_to_the_adapter(model, tmp_path, monkeypatch):
    adapter = make_adapter(tmp_path / "run" / "m1", "../../model")
    monkeypatch.chdir("/")
    assert base_of(adapter) == model.resolve()
    assert (is_adapter(adapter), is_adapter(model)) == (True, False)


def test_base_of_finds_the_embedded_model_of_this_machine(tmp_path):
    here = embedded.checkpoint_path()
    make_model(here)
    touch(
        here / embedded.PROVENANCE_FILE,
        embedded.Provenance(
            source="package", origin="", sha256={}, quantisation="", recipe="", made="", files=()
        )
        .model_dump_json()
        .encode(),
    )
    adapter = make_adapter(tmp_path / "adapter", Path("/another/machine") / here.name)
    assert base_of(adapter) == here


@pytest.mark.parametrize("base", ["../gone", "HuggingFaceTB/SmolLM2-135M-Instruct", ""])
def test_adapter_without_its_base_is_a_usage_error(tmp_path, base):
    adapter = make_adapter(tmp_path / "adapter", base)
    with pytest.raises(UsageError, match="base_model_name_or_path"):
        content_hash(adapter)


def test_adapter_on_an_adapter_is_a_usage_error(model, tmp_path):
    first = make_adapter(tmp_path / "first", model)
    second = make_adapter(tmp_path / "second", first)
    with pytest.raises(UsageError, match="holds no full model"):
        base_of(second)


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_unreadable_adapter_config_is_a_usage_error(model, tmp_path, content):
    adapter = make_adapter(tmp_path / "adapter", model)
    touch(adapter / "adapter_config.json", content)
    with pytest.raises(UsageError, match=r"adapter_config\.json: "):
        base_of(adapter)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_incomplete_model_has_no_hash(model, name):
    (model / name).unlink()
    with pytest.raises(UsageError, match=name.removeprefix("model")):
        content_hash(model)


def test_adapter_without_weights_has_no_hash(model, tmp_path):
    adapter = make_adapter(tmp_path / "adapter", model)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"adapter_model\.safetensors: not found"):
        content_hash(adapter)


def test_resolve_takes_absolute_and_relative_paths(model, tmp_path, monkeypatch):
    adapter = make_adapter(tmp_path / "runs" / "m1", model)
    monkeypatch.chdir(tmp_path)
    assert resolve(str(model)) == model.resolve()
    assert resolve("runs/m1") == adapter.resolve()


@pytest.mark.parametrize(("make", "found"), [(True, "has neither"), (False, "no such folder")])
def test_resolve_tells_what_it_looked_for(tmp_path, make, found):
    path = tmp_path / "nothing"
    if make:
        path.mkdir()
    with pytest.raises(UsageError) as raised:
        resolve(str(path))
    message = str(raised.value)
    assert raised.value.exit_code == 64
    assert all(part in message for part in (str(path), "config.json", "adapter_config.json", found))


def test_default_is_the_embedded_model():
    with pytest.raises(ModelFetchError, match="selfevo model fetch"):
        resolve("default")


def test_hashing_loads_no_torch(model):
    code = (
        "import sys; from pathlib import Path; from selfevo.checkpoint import content_hash;"
        f"content_hash(Path({str(model)!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
