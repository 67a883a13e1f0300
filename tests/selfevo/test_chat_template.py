import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo import embedded
from selfevo.errors import ModelFetchError

transformers = pytest.importorskip("transformers", reason="needs the [train] extra")


@pytest.fixture(scope="module")
def tokenizer():
    try:
        path = embedded.embedded_model_path()
    except ModelFetchError as error:
        pytest.skip(str(error))
    return transformers.AutoTokenizer.from_pretrained(path)


chinese = st.text("我最近压力很大，晚上睡不着。怎么办？谢谢你！ ", min_size=0, max_size=20)
contents = st.one_of(st.text(max_size=40), chinese, st.sampled_from(["", " ", "\n", "  x\n\n"]))
turns = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents})
system = st.fixed_dictionaries({"role": st.just("system"), "content": contents})
conversations = st.builds(
    lambda first, rest: first + rest, st.lists(system, max_size=1), st.lists(turns, max_size=6)
).filter(len)  # transformers refuses to render no messages at all


def render(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, **options)


@given(messages=conversations)
def test_renders_exactly_the_given_messages(tokenizer, messages):
    expected = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    assert render(tokenizer, messages) == expected
    assert (
        render(tokenizer, messages, add_generation_prompt=True)
        == expected + "<|im_start|>assistant\n"
    )


@given(messages=conversations, reply=contents)
def test_is_prefix_stable(tokenizer, messages, reply):
    whole = render(tokenizer, messages)
    for k in range(1, len(messages)):
        assert whole.startswith(render(tokenizer, messages[:k]))
    prompt = render(tokenizer, messages, add_generation_prompt=True)
    answered = render(tokenizer, [*messages, {"role": "assistant", "content": reply}])
    assert answered.startswith(prompt)


def test_injects_no_system_prompt(tokenizer):
    text = render(tokenizer, [{"role": "user", "content": "Hi"}])
    assert text == "<|im_start|>user\nHi<|im_end|>\n"


def encodes_whole(content):
    """Whether tokens can tell this content from its surroundings.

    SmolLM2's vocabulary lacks bytes of private-use planes and of some control characters, and a
    leading space or newline is one token with the newline before it.
    """
    lost = "\x04\x06\x13\x14\x16\x1d"
    return content[:1] not in (" ", "\n") and all(
        c < "\U00040000" and c not in lost for c in content
    )


@given(messages=conversations.filter(lambda ms: all(encodes_whole(m["content"]) for m in ms)))
def test_supervised_tokens_are_exactly_the_assistants(tokenizer, messages):
    encoded = tokenizer.apply_chat_template(
        messages, return_assistant_tokens_mask=True, return_dict=True
    )
    supervised = [
        token
        for token, mask in zip(encoded["input_ids"], encoded["assistant_masks"], strict=True)
        if mask
    ]
    assert tokenizer.decode(supervised) == "".join(
        f"{m['content']}<|im_end|>\n" for m in messages if m["role"] == "assistant"
    )


@given(messages=conversations, reply=st.one_of(st.text(max_size=40), chinese).filter(encodes_whole))
def test_prompt_tokens_are_a_prefix_of_the_answered(tokenizer, messages, reply):
    options = {"return_dict": True}
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, **options)
    answered = tokenizer.apply_chat_template(
        [*messages, {"role": "assistant", "content": reply}], **options
    )
    assert answered["input_ids"][: len(prompt["input_ids"])] == prompt["input_ids"]


def test_trl_takes_the_template_as_it_is(tokenizer):
    templates = pytest.importorskip("trl.chat_template_utils", reason="needs the [train] extra")
    assert templates.get_training_chat_template(tokenizer) is None
    assert templates.is_chat_template_stop_token_trained(tokenizer)
