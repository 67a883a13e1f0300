import logging
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

from selfevo import packed_linear, step  # noqa: E402
from selfevo.engine import Engine, GenerateRequest  # noqa: E402
from selfevo.forest_attention import NAME  # noqa: E402
from selfevo.kv_shape import KVShape, kv_shape  # noqa: E402
from selfevo.packed_linear import pack_linears  # noqa: E402
from selfevo.step import Step  # noqa: E402
from tests.conftest import VOCABULARY  # noqa: E402

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}


def made(kind, **options):
    config = getattr(transformers, f"{kind}Config")(**SIZES, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}ForCausalLM")(config).eval()
    model.set_attn_implementation(NAME)
    return model


@pytest.fixture(autouse=True)
def recorded_at_once(monkeypatch):
    monkeypatch.setattr(step, "PLAIN_STEPS", 0)


def step_of(model):
    return Step(model, kv_shape(model, "cpu"), "cpu")


def is_recorded(a_step):
    return isinstance(a_step._step, torch.jit.ScriptModule)


def a_batch(shape, lengths, seed=0):
    """Tokens, keys and values of more rows and room than are used, lengths."""
    random = torch.Generator().manual_seed(seed)
    kv = shape.rows(len(lengths) + 2, max(lengths) + 9, "cpu")
    kv += torch.randn(kv.shape, generator=random, dtype=kv.dtype)
    tokens = torch.randint(0, 64, (len(lengths),), generator=random)
    return tokens, kv, torch.tensor(lengths), max(lengths) + 1


def both(model, lengths, seed=0):
    """Scores, and the keys and values afterwards, of the model's own step and of ours."""
    shape = kv_shape(model, "cpu")
    found = []
    for ours in (step_of(model), Step(model, shape, "cpu")):
        tokens, kv, lengths_B, width = a_batch(shape, lengths, seed)
        if not found:
            ours._step = ours._plain
            ours._n_plain = 1  # past the moment of recording
        found.append((ours(tokens, kv, lengths_B, width), kv, ours))
    return found


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Mistral"])
@pytest.mark.parametrize("lengths", [(0,), (3, 90, 41), tuple(range(1, 40))])
def test_a_recorded_step_gives_the_same_to_the_last_bit(kind, lengths):
    model = made(kind, sliding_window=None) if kind == "Mistral" else made(kind)
    (plain, kept, _), (scores, kv, ours) = both(model, lengths)
    assert is_recorded(ours)
    assert torch.equal(scores, plain)
    assert torch.equal(kv, kept)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_other_dtypes_too(dtype):
    (plain, _, _), (scores, _, ours) = both(made("Llama").to(dtype), (5, 2))
    assert is_recorded(ours)
    assert torch.equal(scores, plain)


def test_packed_products_are_recorded(monkeypatch):
    monkeypatch.setattr(packed_linear, "MIN_WEIGHTS", 1)
    model = made("Llama", tie_word_embeddings=True)
    if not pack_linears(model):
        pytest.skip("this torch has no oneDNN")
    (plain, _, _), (scores, _, ours) = both(model, (5, 2))
    assert is_recorded(ours)
    assert torch.equal(scores, plain)


def test_new_weights_count(monkeypatch):
    """The record refers to the model's weights; it does not keep a copy."""
    model = made("Llama")
    (_, _, _), (before, _, ours) = both(model, (5, 2))
    with torch.no_grad():
        model.lm_head.weight *= 2
    assert torch.allclose(ours(*a_batch(kv_shape(model, "cpu"), (5, 2))), 2 * before)


@pytest.mark.parametrize("experts", ["eager", "grouped_mm"])
def test_experts_are_asked_as_the_tokens_need_them(experts):
    model = made("Mixtral", num_local_experts=8, num_experts_per_tok=1)
    model.set_experts_implementation(experts)
    shape = kv_shape(model, "cpu")
    plain, ours = Step(model, shape, "cpu"), step_of(model)
    plain._n_plain = 1  # past the moment of recording
    for seed in range(20):
        expected = plain(*a_batch(shape, (4, 3), seed))
        assert torch.equal(ours(*a_batch(shape, (4, 3), seed)), expected)


class Model(torch.nn.Module):
    """Its scores are what `decide` makes of the tokens."""

    def __init__(self, decide):
        super().__init__()
        self.decide = decide

    def forward(self, input_ids, **kwargs):
        return SimpleNamespace(logits=self.decide(input_ids)[..., None].expand(-1, -1, 3).float())


def decided_once(tokens):
    return tokens + 1 if tokens.max() > 10 else tokens


def refuses_tensors(tokens):
    if torch.jit.is_tracing():
        raise LookupError("not now")
    return tokens


@pytest.mark.parametrize(
    ("decide", "why"), [(decided_once, "other scores for"), (refuses_tensors, "not now")]
)
def test_a_model_that_decides_in_python_keeps_its_own_step(decide, why, caplog):
    shape = KVShape(1, 1, 4, torch.float32)
    ours = Step(Model(decide), shape, "cpu")
    tokens, kv, lengths, width = a_batch(shape, (3, 5, 4))
    with caplog.at_level(logging.DEBUG, logger="selfevo.step"):
        scores = ours(tokens, kv, lengths, width)
    assert not is_recorded(ours)
    assert torch.equal(scores[:, 0], decide(tokens).float())
    assert why in caplog.text


def test_the_first_steps_run_as_they_are(monkeypatch):
    monkeypatch.setattr(step, "PLAIN_STEPS", 2)
    model = made("Llama")
    ours = step_of(model)
    kinds = []
    for _ in range(4):
        ours(*a_batch(kv_shape(model, "cpu"), (5, 2)))
        kinds.append(is_recorded(ours))
    assert kinds == [False, False, True, True]


@pytest.mark.parametrize("plain_steps", [0, 7])
def test_replies_do_not_depend_on_it(tiny_model, monkeypatch, plain_steps):
    random = torch.Generator().manual_seed(1)
    requests = [
        GenerateRequest(
            tuple(torch.randint(8, VOCABULARY, (n,), generator=random).tolist()),
            max_tokens=20,
            temperature=temperature,
            top_p=0.9,
            seed=n,
        )
        for n, temperature in ((5, 0.0), (40, 0.0), (11, 0.8))
    ]
    monkeypatch.setattr(step, "PLAIN_STEPS", 1000)
    expected = Engine(tiny_model, device="cpu", dtype="float32").generate(requests)
    monkeypatch.setattr(step, "PLAIN_STEPS", plain_steps)
    assert Engine(tiny_model, device="cpu", dtype="float32").generate(requests) == expected
