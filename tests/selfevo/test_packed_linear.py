import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

from selfevo import packed_linear  # noqa: E402
from selfevo.packed_linear import pack_linears  # noqa: E402
from tests.conftest import VOCABULARY  # noqa: E402


@pytest.fixture
def model(tiny_model):
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model).eval()


@pytest.fixture
def all_sizes(monkeypatch):
    monkeypatch.setattr(packed_linear, "MIN_WEIGHTS", 1)


@pytest.mark.usefixtures("all_sizes")
@pytest.mark.parametrize("shape", [(1, 1), (16, 1), (1, 300)])
def test_a_packed_model_gives_the_same_scores(model, shape):
    ids = torch.randint(0, VOCABULARY, shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model(ids).logits
        assert pack_linears(model) == 2 * 7 + 1
        packed = model(ids).logits
    assert packed.shape == expected.shape
    assert (packed - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.usefixtures("all_sizes")
def test_a_bias_is_added():
    class WithBias(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(4, 8)
            self.linear = torch.nn.Linear(8, 3)

        def get_input_embeddings(self):
            return self.embed

    model = WithBias()
    hidden = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.linear(hidden)
        assert pack_linears(model) == 1
        assert torch.allclose(model.linear(hidden), expected, atol=1e-6)


@pytest.mark.usefixtures("all_sizes")
def test_weights_that_the_embedding_shares_stay_readable(model):
    embedding = model.get_input_embeddings().weight
    pack_linears(model)
    assert model.lm_head.weight is embedding
    assert not embedding.is_mkldnn
    assert model.model.layers[0].mlp.down_proj.weight.is_mkldnn  # kept in that layout only


def test_small_products_stay_as_they_are(model):
    assert pack_linears(model) == 1  # the head


@pytest.mark.usefixtures("all_sizes")
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_stay_as_they_are(model, dtype):
    model = model.to(dtype)
    assert pack_linears(model) == 0
    assert model.lm_head.forward.__func__ is torch.nn.Linear.forward


@pytest.mark.usefixtures("all_sizes")
def test_an_adapter_still_counts(model):
    peft = pytest.importorskip("peft", reason="needs the [train] extra")
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    plain = model(torch.tensor([[5, 6, 7]])).logits
    wrapped = peft.get_peft_model(model, config).eval()
    with torch.inference_mode():
        expected = wrapped(torch.tensor([[5, 6, 7]])).logits
        pack_linears(wrapped.get_base_model())
        packed = wrapped(torch.tensor([[5, 6, 7]])).logits
    assert (packed - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (packed - plain).abs().max() > 1e-3 * expected.abs().max()
