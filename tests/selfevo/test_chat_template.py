import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo import embedded
from selfevo.errors import ModelFetchError, UsageError
from selfevo.tokens import plain, supervised

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


@given(
    messages=conversations.filter(
        lambda ms: ms[0]["role"] != "assistant" and all(encodes_whole(m["content"]) for m in ms)
    )
)
def test_rendered_turn_by_turn_the_same_tokens_are_the_assistants(tokenizer, messages):
    """Templates without marks are trained on what their marks would be."""
    marked = tokenizer.apply_chat_template(
        plain(tokenizer, messages), return_assistant_tokens_mask=True, return_dict=True
    )
    found = supervised(tokenizer, messages)
    assert found.input_ids == marked["input_ids"]
    assert found.assistant_masks == marked["assistant_masks"]


# base models with templates of their own


@pytest.fixture
def base_with(tiny_model, tmp_path):
    """A base model's folder with another template, whose special tokens its tokenizer knows."""

    def base_with(template: str | None, eos: str = "</s>") -> Path:
        path = tmp_path / "base"
        shutil.copytree(tiny_model, path)
        (path / "chat_template.jinja").unlink()
        if template is not None:
            own = transformers.AutoTokenizer.from_pretrained(path)
            tokens = re.findall(r"<\|[^<>{}'\"]+\|>|</?s>|<(?:start|end)_of_turn>", template)
            own.add_special_tokens({"additional_special_tokens": sorted({*tokens, eos})})
            own.bos_token, own.eos_token, own.chat_template = "<s>", eos, template
            own.save_pretrained(path)
            ends = json.dumps({"eos_token_id": own.eos_token_id})
            (path / "generation_config.json").write_text(ends, encoding="utf-8")
        return path

    return base_with


def family(name: str) -> str:
    """A template as its models have it: TRL keeps them to compare."""
    trl = pytest.importorskip("trl", reason="needs the [train] extra")
    folder = Path(trl.__file__).with_name("chat_templates")
    return (folder / f"{name}.jinja").read_text("utf-8")


MISTRAL = """{{ bos_token }}{% if messages[0].role == 'system' %}
{%- set system = messages[0].content %}{% set messages = messages[1:] %}{% endif %}
{%- for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('roles must alternate') }}{% endif %}
{%- if m.role == 'user' %}{% if loop.last and system is defined %}
{{- '[INST] ' + system + '\\n\\n' + m.content + '[/INST]' }}{% else %}
{{- '[INST] ' + m.content + '[/INST]' }}{% endif %}
{%- else %}{{- ' ' + m.content + '</s>' }}{% endif %}{% endfor %}"""
"""In the manner of Mistral's: the system message stands in the last turn of the user."""


@pytest.mark.parametrize(
    ("template", "eos", "task_prompt", "is_marked"),
    [
        (family("llama3"), "<|eot_id|>", "Be kind.", True),
        (family("llama3_1"), "<|eot_id|>", "Be kind.", False),
        (family("llama3_2"), "<|eot_id|>", "Be kind.", False),
        (family("qwen2_5"), "<|im_end|>", "Be kind.", True),
        (family("qwen3"), "<|im_end|>", "Be kind.", True),
        (family("gemma3"), "<end_of_turn>", "Be kind.", True),
        (MISTRAL, "</s>", None, False),
    ],
)
def test_a_base_model_of_a_known_family_can_be_trained(
    base_with, template, eos, task_prompt, is_marked
):
    from selfevo.chat_template import Rendering, require_chat_template

    base = base_with(template, eos)
    require_chat_template(base, task_prompt)
    rendering = Rendering.of(transformers.AutoTokenizer.from_pretrained(base))
    assert rendering.is_marked is is_marked
    talk = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    assert rendering.n_tokens(talk * 3) == len(rendering.supervised(talk * 3).input_ids)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "the tokenizer has no chat template; add chat_template.jinja"),
        (family("gemma"), r"refuses a system message \(System role not supported\)"),
        ("{{ raise_exception('one turn only') }}", r"refuses a dialogue \(one turn only\)"),
        (MISTRAL, "renders a turn otherwise once more follows, and it does not mark"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", "no reply would end"),
        ("{{ messages[0].content + 1 }}", "refuses a dialogue"),
        (
            "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
            "{% endgeneration %}{% else %}{{ m.content }}{% endif %}</s>{% endfor %}",
            "no reply would end",
        ),
        # ends in <|im_end|>, and generation stops at </s>, as base models of Qwen have it
        (family("qwen2_5"), r"ends in '<.im_end.>', where generation does not stop"),
        # thinks aloud in the prompt, and not in what is rendered
        (family("deepseekv3"), "asks for a reply otherwise than it renders one"),
        # the header ends in a space, which becomes part of the reply's first token
        (
            "{% for m in messages %}{{ '### ' + m.role + ': ' + m.content + '</s>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '### assistant: ' }}{% endif %}",
            "asks for a reply otherwise than it renders one",
        ),
    ],
)
def test_one_that_cannot_say_what_a_run_says_is_refused(base_with, template, told):
    from selfevo.chat_template import require_chat_template

    base = base_with(template)
    with pytest.raises(UsageError, match=rf"^{re.escape(str(base))}: .*{told}"):
        require_chat_template(base, "Be kind.")
