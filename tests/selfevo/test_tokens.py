import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.tokens import (
    continuation_pieces,
    conversation_ids,
    fit_prompt,
    plain,
    prompt_ids,
)

transformers = pytest.importorskip("transformers", reason="needs the [train] extra")


@pytest.fixture(scope="module")
def tokenizer(embedded_tokenizer_dir):
    return transformers.AutoTokenizer.from_pretrained(embedded_tokenizer_dir)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def system(text):
    return {"role": "system", "content": text}


any_text = st.one_of(
    st.text(max_size=30),
    st.text("我最近压力很大，晚上睡不着。谢谢！😭🤷🏽‍♀️ ", max_size=12),
    st.text("ab ,.'\n\t\u3000\u200b", max_size=12),
)
ordinary = any_text.map(str.strip).filter(bool)
mischief = st.lists(
    st.sampled_from(["<|im_end|>", "<|im_start|>", "<|im_", "end|>", "\n", "assistant", "<", "|>"]),
    max_size=6,
).map("".join)
histories = st.builds(
    lambda head, body: head + body,
    st.lists(any_text.map(system), max_size=1),
    st.lists(st.one_of(any_text.map(user), any_text.map(assistant)), min_size=1, max_size=7),
)


# what the template sees


@given(text=st.one_of(mischief, any_text))
def test_a_message_cannot_end_its_turn_or_open_another(tokenizer, text):
    special = set(tokenizer.all_special_ids)
    ids = prompt_ids(tokenizer, [user(text)])
    innocent = prompt_ids(tokenizer, [user("x")])
    assert [i for i in ids if i in special] == [i for i in innocent if i in special]


def test_special_tokens_without_a_name_are_broken_up_too(tokenizer):
    assert "<repo_name>" not in tokenizer.all_special_tokens  # else this test shows nothing
    unnamed = tokenizer.convert_tokens_to_ids("<repo_name>")
    assert unnamed in tokenizer("<repo_name>").input_ids
    assert unnamed not in prompt_ids(tokenizer, [user("see <repo_name>")])
    assert plain(tokenizer, [user("see <repo_name>")]) == [user("see < repo_name>")]


@given(messages=histories)
def test_breaking_up_twice_changes_nothing_more(tokenizer, messages):
    once = plain(tokenizer, messages)
    assert plain(tokenizer, once) == once


@given(text=any_text)
def test_spaces_around_a_message_do_not_matter(tokenizer, text):
    padded = prompt_ids(tokenizer, [user(f" \n\t{text}\u3000 \n")])
    assert padded == prompt_ids(tokenizer, [user(text)])


@given(history=histories, reply=ordinary)
def test_training_reads_the_prompt_that_generation_reads(tokenizer, history, reply):
    prompt = prompt_ids(tokenizer, history)
    answered = conversation_ids(tokenizer, [*history, assistant(reply)])
    assert answered[: len(prompt)] == prompt


def test_a_model_that_can_think_aloud_is_given_its_empty_thought(embedded_tokenizer_dir):
    """As Qwen3's template and TRL's version of it for training have it."""
    own = transformers.AutoTokenizer.from_pretrained(embedded_tokenizer_dir)
    thought = "{{ '<think>\\n\\n</think>\\n\\n' }}"
    own.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}"
        "{% if m.role == 'assistant' and loop.last %}" + thought + "{% endif %}"
        "{{ m.content + '<|im_end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{% if enable_thinking is defined and enable_thinking is false %}" + thought + "{% endif %}"
        "{% endif %}"
    )
    prompt = prompt_ids(own, [user("I lost my job.")])
    trained = conversation_ids(own, [user("I lost my job."), assistant("What happened?")])
    assert own.decode(prompt).endswith("</think>\n\n")
    assert own.decode(trained) == own.decode(prompt) + "What happened?<|im_end|>\n"


@given(history=histories, reply=ordinary)
def test_scoring_reads_the_reply_that_training_reads(tokenizer, history, reply):
    prompt = prompt_ids(tokenizer, history)
    scored = continuation_pieces(tokenizer, reply).ids
    end = tokenizer("<|im_end|>\n").input_ids
    assert conversation_ids(tokenizer, [*history, assistant(reply)]) == [*prompt, *scored, *end]


# histories that do not fit


def test_drops_the_oldest_whole_exchange(tokenizer):
    head = system("Be kind.")
    history = [
        user("one " * 9),
        assistant("two " * 9),
        user("three " * 9),
        assistant("4"),
        user("?"),
    ]
    whole = prompt_ids(tokenizer, [head, *history])
    assert fit_prompt(tokenizer, [head, *history], len(whole)).n_dropped == 0

    fitted = fit_prompt(tokenizer, [head, *history], len(whole) - 1)
    assert fitted.messages == [head, *history[2:]]
    assert fitted.n_dropped == 2
    assert fitted.ids == prompt_ids(tokenizer, [head, *history[2:]])


def test_the_last_message_stays_even_if_it_is_too_long(tokenizer):
    fitted = fit_prompt(tokenizer, [user("old"), assistant("older"), user("long " * 50)], 10)
    assert fitted.messages == [user("long " * 50)]
    assert len(fitted.ids) > 10


@given(messages=histories, max_tokens=st.integers(-5, 120))
def test_fitting_keeps_as_much_of_the_end_as_it_can(tokenizer, messages, max_tokens):
    fitted = fit_prompt(tokenizer, messages, max_tokens)
    head = [m for m in messages[:1] if m["role"] == "system"]
    body = messages[len(head) :]

    assert fitted.messages == head + body[fitted.n_dropped :]
    assert fitted.ids == prompt_ids(tokenizer, fitted.messages)
    assert len(fitted.ids) <= max_tokens or len(fitted.messages) == len(head) + 1
    if fitted.n_dropped and len(fitted.messages) > len(head) + 1:
        assert fitted.messages[len(head)]["role"] == "user"
    longer_starts = [0] + [i for i in range(fitted.n_dropped) if body[i]["role"] == "user"]
    if fitted.n_dropped:
        for start in longer_starts:
            assert len(prompt_ids(tokenizer, head + body[start:])) > max_tokens


# pieces


@given(text=st.one_of(any_text, mischief))
def test_pieces_concatenate_to_the_text(tokenizer, text):
    pieces = continuation_pieces(tokenizer, text)
    assert len(pieces.ids) == len(pieces.texts)
    assert pieces.ids == tokenizer(text, add_special_tokens=False).input_ids
    assert "".join(pieces.texts) == text or not pieces.ids


@pytest.mark.parametrize("character", ["😭", "睡"])
def test_a_character_of_several_tokens_belongs_to_its_last(tokenizer, character):
    pieces = continuation_pieces(tokenizer, f"a{character}b")
    assert len(pieces.ids) > 3
    first, *inner, last = pieces.texts
    assert (first, last) == ("a", "b")
    assert inner == [*[""] * (len(inner) - 1), character]
