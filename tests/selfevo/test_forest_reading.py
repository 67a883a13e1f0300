"""A model that reads forests is the same model: log-probabilities, gradients, generation."""

import logging
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")
peft = pytest.importorskip("peft", reason="needs the [train] extra")
pytest.importorskip("trl", reason="needs the [train] extra")

from trl.trainer.utils import add_fused_lm_head  # noqa: E402

from selfevo import forest_attention, forest_reading  # noqa: E402
from selfevo.compact_head import trained_positions_only  # noqa: E402
from selfevo.forest_reading import can_read_forests, read_as_forest, why_not  # noqa: E402

VOCABULARY = 48
SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,  # wide enough that attention chooses
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 1e4,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN_ROPE = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 8.0,
    "original_max_position_embeddings": 16,
}


def config_of(kind, **changes):
    made = {
        "llama": transformers.LlamaConfig,
        "qwen2": transformers.Qwen2Config,
        "qwen3": transformers.Qwen3Config,
        "mistral": transformers.MistralConfig,
        "mixtral": transformers.MixtralConfig,
        "deepseek": transformers.DeepseekV3Config,
        "gemma2": transformers.Gemma2Config,
        "gemma3": transformers.Gemma3TextConfig,
        "nemotron": transformers.NemotronConfig,
    }[kind]
    own = {
        "mistral": {"sliding_window": None},
        "mixtral": {"sliding_window": None, "num_local_experts": 4},
        "deepseek": {
            "num_key_value_heads": 6,
            "q_lora_rank": None,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 6,  # narrower than queries and keys
            "first_k_dense_replace": 2,
        },
    }
    return made(**{**SIZES, **own.get(kind, {}), **changes})


def make_model(kind="llama", *, lora=False, **changes):
    """A random model, the same each time; with LoRA whose B is not zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config_of(kind, **changes)).float()
        add_fused_lm_head(model)
        if lora:
            adapter = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
            model = peft.get_peft_model(model, adapter)
        for name, weight in model.named_parameters():
            if "lora_B" in name or weight.ndim == 1:  # biases and norms too
                torch.nn.init.normal_(weight, mean=float("norm" in name), std=0.1)
    return model.eval()


token = st.integers(1, 3)
replies = st.lists(
    st.tuples(st.integers(1, 12), st.lists(token, min_size=1, max_size=6)), min_size=1, max_size=5
)
trunks = st.lists(st.integers(1, VOCABULARY - 1), min_size=12, max_size=12)


def padded(trunk, branches, *, left, label_all=False):
    """The batch of each reply after its part of the trunk; labels on the replies."""
    rows = [(trunk[:depth], reply) for depth, reply in branches]
    longest = max(len(prompt) + len(reply) for prompt, reply in rows)
    batch = {
        "input_ids": torch.zeros(len(rows), longest, dtype=torch.long),
        "attention_mask": torch.zeros(len(rows), longest, dtype=torch.long),
        "labels": torch.full((len(rows), longest), -100),
    }
    for row, (prompt, reply) in enumerate(rows):
        n = len(prompt) + len(reply)
        start = longest - n if left else 0
        batch["input_ids"][row, start : start + n] = torch.tensor(prompt + reply)
        batch["attention_mask"][row, start : start + n] = 1
        # after padding on the left nothing is there to predict the first token from
        trained = start + (1 if label_all else len(prompt))
        there = slice(trained, start + n)
        batch["labels"][row, there] = batch["input_ids"][row, there]
    return batch


def log_probabilities(model, batch):
    with trained_positions_only():
        return model(**batch, fused_lm_head=True, use_cache=False).log_probs


def gradients(model, batch):
    """Log-probabilities, and the gradient of every weight under weights that differ by token."""
    model.zero_grad()
    found = log_probabilities(model, batch)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    (found * weights).sum().backward()
    return found.detach(), {
        name: weight.grad
        for name, weight in model.named_parameters()
        if weight.requires_grad and weight.grad is not None
    }


def assert_same(found, truth, *, floor=1e-3):
    """To 1e-4 a token, and 1e-4 of a weight's gradient.

    A gradient below `floor` of the whole may be nothing but rounding (a key's bias, equal tokens).
    """
    (logps, grads), (true_logps, true_grads) = found, truth
    assert torch.allclose(logps, true_logps, atol=1e-4, rtol=0)
    assert grads.keys() == true_grads.keys()
    whole = torch.stack([grad.norm() for grad in true_grads.values()]).norm()
    for name, grad in true_grads.items():
        scale = max(float(grad.norm()), floor * float(whole))
        assert float((grads[name] - grad).norm()) <= 1e-4 * scale, name


class Pair:
    """A model, flat and reading forests."""

    def __init__(self, *arguments, **changes):
        self.flat = make_model(*arguments, **changes)
        self.trees = make_model(*arguments, **changes)
        read_as_forest(self.trees)


# the contract

KINDS = [*product(("llama", "qwen2", "mistral"), (False, True))]
PAIRS = {}


def pair_of(kind, lora):
    if (kind, lora) not in PAIRS:
        PAIRS[kind, lora] = Pair(kind, lora=lora)
    return PAIRS[kind, lora]


@pytest.mark.parametrize(("kind", "lora"), KINDS)
@settings(max_examples=6, deadline=None)
@given(trunk=trunks, branches=replies, left=st.booleans(), label_all=st.booleans())
def test_trees_equal_rows(kind, lora, trunk, branches, left, label_all):
    pair = pair_of(kind, lora)
    batch = padded(trunk, branches, left=left, label_all=label_all)
    assert_same(gradients(pair.trees, batch), gradients(pair.flat, batch), floor=1.0)


TRUNK = list(range(4, 34))
BRANCHES = [(30, [1, 2, 3]), (30, [1, 2, 1, 1, 2]), (12, [3]), (12, [2, 2, 2, 2]), (12, [2, 2, 1])]


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": LLAMA3_ROPE}),
        ("llama", {"rope_parameters": YARN_ROPE}),
        ("llama", {"tie_word_embeddings": True, "attention_bias": True}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 12}),
        ("mistral", {"head_dim": 12}),
        ("deepseek", {}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*(target_parameters|_pattern).*:RuntimeWarning")
def test_one_dialogue_on_each_kind_of_model(kind, changes, left, lora):
    pair = Pair(kind, lora=lora, **changes)
    assert why_not(pair.trees) is None
    batch = padded(TRUNK, BRANCHES, left=left)
    assert_same(gradients(pair.trees, batch), gradients(pair.flat, batch))


def test_all_gradients_are_checked():
    _, grads = gradients(make_model(lora=True), padded(TRUNK, BRANCHES, left=False))
    n_modules = 2 * 7
    assert len(grads) == 2 * n_modules
    assert min(float(grad.norm()) for grad in grads.values()) > 1e-4


def test_each_beginning_is_computed_once(monkeypatch):
    read = []
    original = forest_reading.forest_input

    def spy(laid, device):
        read.append(laid)
        return original(laid, device)

    monkeypatch.setattr(forest_reading, "forest_input", spy)
    pair = Pair("llama")
    log_probabilities(pair.trees, padded(TRUNK, BRANCHES, left=True))
    [laid] = read
    assert len(laid.ids) == len(TRUNK) + (3 + 3) + (1 + 4 + 1)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_activation_checkpointing_changes_nothing(reentrant, lora):
    pair = Pair("llama", lora=lora)
    batch = padded(TRUNK, BRANCHES, left=False)
    truth = gradients(pair.flat, batch)
    pair.trees.activation_checkpointing_enable({"use_reentrant": reentrant})
    if lora:
        pair.trees.enable_input_require_grads()
    assert_same(gradients(pair.trees.train(), batch), truth)


@pytest.mark.parametrize("tile", [1, 3])
def test_small_tiles(monkeypatch, tile):
    monkeypatch.setattr(forest_attention, "TILE", tile)
    pair = Pair("llama", lora=True)
    batch = padded(TRUNK, BRANCHES, left=True)
    assert_same(gradients(pair.trees, batch), gradients(pair.flat, batch))


def test_without_a_mask_all_is_read():
    pair = Pair("llama")
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 9, 9]])
    batch = {"input_ids": ids, "labels": ids}
    assert_same(gradients(pair.trees, batch), gradients(pair.flat, batch))


def test_a_batch_without_labels_has_a_gradient_of_zero():
    pair = Pair("llama")
    batch = padded(TRUNK, BRANCHES, left=False)
    batch["labels"] = torch.full_like(batch["labels"], -100)
    logps, grads = gradients(pair.trees, batch)
    assert not logps.any()
    assert grads
    assert not any(grad.any() for grad in grads.values())


# what stays as it is


@torch.no_grad()
def test_it_generates_as_before():
    pair = Pair("llama", lora=True)
    batch = padded(TRUNK, BRANCHES, left=True)
    prompt = {name: batch[name] for name in ("input_ids", "attention_mask")}
    for options in ({}, {"use_cache": False}, {"num_beams": 2}):
        flat, trees = (
            model.generate(**prompt, max_new_tokens=6, do_sample=False, **options)
            for model in (pair.flat, pair.trees)
        )
        assert torch.equal(flat, trees)
    assert flat.shape[1] > prompt["input_ids"].shape[1]


PLAIN = {
    "with a cache": {"use_cache": True},
    "hidden states": {"output_hidden_states": True},
    "as a tuple": {"return_dict": False},
    "without a word": {},
}


@torch.no_grad()
@pytest.mark.parametrize("asked", PLAIN)
def test_plain_calls_give_the_same(asked):
    pair = Pair("llama")
    batch = padded(TRUNK, BRANCHES, left=False)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    flat, trees = (model(**given, **PLAIN[asked]) for model in (pair.flat, pair.trees))
    real = batch["attention_mask"].bool()
    assert torch.allclose(flat[0][real], trees[0][real], atol=1e-4)
    if asked == "with a cache":
        assert trees.past_key_values.get_seq_length() == given["input_ids"].shape[1]
    if asked == "hidden states":
        assert len(trees.hidden_states) == len(flat.hidden_states) == 3
    if asked == "without a word":
        assert trees.past_key_values is None  # a forest's cache is nobody's


@torch.no_grad()
def test_rows_packed_by_their_positions_stay_packed():
    pair = Pair("llama")
    packed = {
        "input_ids": torch.tensor([[5, 6, 7, 8, 9, 10]]),
        "position_ids": torch.tensor([[0, 1, 2, 0, 1, 2]]),
    }
    flat, trees = (model(**packed, use_cache=False).logits for model in (pair.flat, pair.trees))
    alone = pair.flat(input_ids=packed["input_ids"][:, 3:]).logits
    assert torch.allclose(flat, trees, atol=1e-4)
    assert torch.allclose(trees[:, 3:], alone, atol=1e-4)


@torch.no_grad()
def test_a_mask_of_four_dimensions_is_used_as_it_is():
    pair = Pair("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    mask = torch.eye(4, dtype=torch.bool)[None, None]
    given = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
    assert torch.allclose(pair.flat(**given).logits, pair.trees(**given).logits, atol=1e-4)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_virtual_tokens_are_read_in_rows(kind):
    made = {"prompt": peft.PromptTuningConfig, "prefix": peft.PrefixTuningConfig}[kind]
    models = []
    for reads_trees in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tuning = made(task_type="CAUSAL_LM", num_virtual_tokens=3)
            model = peft.get_peft_model(make_model(), tuning).eval()
        if reads_trees:
            read_as_forest(model)
        models.append(model)
    batch = padded(TRUNK, BRANCHES, left=False)
    assert_same(gradients(models[1], batch), gradients(models[0], batch))


def test_routers_are_trained_on_the_rows():
    pair = Pair("mixtral", output_router_logits=True, router_aux_loss_coef=0.5)
    batch = padded(TRUNK, BRANCHES, left=False)
    with trained_positions_only():
        flat, trees = (m(**batch, fused_lm_head=True) for m in (pair.flat, pair.trees))
    assert trees.aux_loss.item() == pytest.approx(flat.aux_loss.item(), rel=1e-5)
    assert trees.loss.item() == pytest.approx(flat.loss.item(), rel=1e-5)


# which models can


def built(kind, **changes):
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config_of(kind, **changes))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": LLAMA3_ROPE}),
        ("llama", {"rope_parameters": YARN_ROPE}),
        ("qwen2", {"use_sliding_window": False, "sliding_window": 8}),
        ("qwen3", {}),
        ("mistral", {}),
        ("mixtral", {}),
        ("deepseek", {}),
    ],
)
def test_what_can_be_read_as_a_forest(kind, changes):
    assert why_not(built(kind, **changes)) is None


DYNAMIC_ROPE = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
FULL = ["full_attention"] * 2


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("mistral", {"sliding_window": 8}, "mistral attends within a sliding window of 8"),
        (
            "qwen2",
            {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "qwen2 has layers of sliding_attention",
        ),
        ("gemma2", {}, "gemma2 has layers of sliding_attention"),
        ("gemma3", {}, "gemma3_text has layers of sliding_attention"),
        (
            "gemma2",
            {"layer_types": FULL, "sliding_window": None},
            "gemma2 caps its attention scores",
        ),
        (
            "llama",
            {"rope_parameters": DYNAMIC_ROPE},
            "llama has rotary embeddings of type dynamic",
        ),
        (
            "gemma3",
            {
                "layer_types": FULL,
                "sliding_window": None,
                "rope_parameters": {
                    "full_attention": DYNAMIC_ROPE,
                    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                },
            },
            "gemma3_text has rotary embeddings of type dynamic",
        ),
        ("nemotron", {}, "nemotron does not hand arguments on to its attention"),
    ],
)
def test_what_cannot_says_why(kind, changes, reason):
    assert why_not(built(kind, **changes)) == reason


def small(name, **changes):
    """Another library's model that is too different for the sizes above."""
    made = {
        "mamba": lambda: transformers.MambaConfig(hidden_size=16, num_hidden_layers=1),
        "bloom": lambda: transformers.BloomConfig(hidden_size=16, n_layer=1, n_head=2),
        "gpt_oss": lambda: transformers.GptOssConfig(
            hidden_size=16, num_hidden_layers=1, num_local_experts=2, layer_types=FULL[:1]
        ),
        "gpt2": lambda: transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2),
    }
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(made[name]())


@pytest.mark.parametrize("name", ["mamba", "bloom", "gpt_oss"])
def test_recurrence_alibi_and_sinks_are_refused(name):
    assert why_not(small(name))


def test_dropout_of_attention_is_refused_in_training_only():
    model = built("llama", attention_dropout=0.1)
    assert why_not(model) is None
    reason = "llama drops attention while it is trained (attention_dropout)"
    assert forest_reading.why_not_in_training(model) == reason
    assert "attn_pdrop" in forest_reading.why_not_in_training(small("gpt2"))


def test_balanced_experts_are_refused_in_training_only():
    model = built("mixtral")
    assert why_not(model) is None
    assert "balances its experts" in forest_reading.why_not_in_training(model)
    assert forest_reading.why_not_in_training(built("mixtral", router_aux_loss_coef=0.0)) is None


def test_the_reason_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(forest_reading, "_SAID", set())
    sliding = built("mistral", sliding_window=8)
    with caplog.at_level(logging.WARNING):
        assert not can_read_forests(sliding)
        assert not can_read_forests(sliding)
        assert can_read_forests(built("llama"))
    assert caplog.messages == [
        "each sequence is computed by itself, which is slower: "
        "mistral attends within a sliding window of 8"
    ]


def test_peft_is_seen_through():
    model = peft.get_peft_model(
        built("mistral", sliding_window=8), peft.LoraConfig(target_modules=["q_proj"])
    )
    assert why_not(model) == "mistral attends within a sliding window of 8"
    assert can_read_forests(make_model(lora=True))


def test_a_model_that_keeps_the_forest_to_itself_is_found_out():
    model = make_model("nemotron")
    read_as_forest(model)
    batch = padded(TRUNK, BRANCHES, left=False)
    with pytest.raises(NotImplementedError, match="does not hand the forest on"):
        log_probabilities(model, batch)


def test_hidden_states_stand_where_their_tokens_do():
    pair = Pair("llama")
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(1, 4, (7, 9)))
    mask = torch.from_numpy(rng.integers(0, 2, (7, 9)).cumsum(1) > 0).long()  # left padding
    mask[:, -1] = 1
    with torch.no_grad():
        flat, trees = (
            model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
            for model in (pair.flat, pair.trees)
        )
    real = mask.bool()
    assert trees.last_hidden_state.shape == flat.last_hidden_state.shape
    difference = (trees.last_hidden_state - flat.last_hidden_state)[real]
    assert float(difference.abs().max()) < 1e-4
