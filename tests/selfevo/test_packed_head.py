import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

from selfevo.packed_head import pack_head  # noqa: E402


@pytest.fixture
def model(tiny_model):
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model).eval()


@pytest.mark.parametrize("shape", [(1, 1, 64), (16, 1, 64), (1, 300, 64)])
def test_a_packed_head_gives_the_same_scores(model, shape):
    hidden = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = model.lm_head(hidden)
        assert pack_head(model)
        packed = model.lm_head(hidden)
    assert packed.shape == expected.shape
    assert (packed - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_stay_as_they_are(model, dtype):
    model = model.to(dtype)
    assert not pack_head(model)
    assert model.lm_head.forward.__func__ is torch.nn.Linear.forward


def test_a_head_with_an_adapter_stays_as_it_is(model):
    peft = pytest.importorskip("peft", reason="needs the [train] extra")
    config = peft.LoraConfig(r=2, target_modules=["lm_head"])
    model.config.tie_word_embeddings = False  # peft warns of a tied head
    wrapped = peft.get_peft_model(model, config)
    assert not pack_head(wrapped.get_base_model())
