import json
import random
import shutil
from collections import Counter

import anyio
import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

from scipy.stats import chisquare  # noqa: E402

from selfevo import engine as engine_module  # noqa: E402
from selfevo import scoring  # noqa: E402
from selfevo.decoding import Decoder  # noqa: E402
from selfevo.engine import Engine, GenerateRequest, ScoreRequest  # noqa: E402
from selfevo.errors import UsageError  # noqa: E402
from selfevo.prefix_store import PrefixStore  # noqa: E402
from selfevo.reading import Reader  # noqa: E402
from selfevo.tokens import prompt_ids  # noqa: E402
from tests.conftest import VOCABULARY  # noqa: E402

TEXTS = (
    "Hi",
    "I feel sad about my dog",
    "我最近压力很大，晚上睡不着。",
    "My boss shouted at me today, and when I came home nobody was there. " * 3,
    "What should I do?",
)


@pytest.fixture(scope="module")
def engine(tiny_model):
    return Engine(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain_model(tiny_model):
    return transformers.AutoModelForCausalLM.from_pretrained(tiny_model).eval()


@pytest.fixture(scope="module")
def prompts(engine):
    return [
        tuple(prompt_ids(engine.tokenizer, [{"role": "user", "content": text}])) for text in TEXTS
    ]


def ask(prompt, *, max_tokens=16, temperature=0.0, top_p=1.0, seed=0, stop=()):
    return GenerateRequest(tuple(prompt), max_tokens, temperature, top_p, seed, tuple(stop))


def greedy_ids(model, prompt, n, **options):
    """New tokens by transformers' own greedy search, one row and no padding."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=n,
        pad_token_id=2,
        **options,
    )
    return out[0, len(prompt) :].tolist()


def variant(tiny_model, tmp_path, **generation_config):
    """The tiny model under another generation_config.json."""
    path = tmp_path / "variant"
    shutil.copytree(tiny_model, path)
    (path / "generation_config.json").write_text(json.dumps(generation_config))
    return Engine(path, device="cpu", dtype="float32")


# greedy


def test_greedy_rows_of_a_ragged_batch_are_those_of_plain_generate(engine, plain_model, prompts):
    limits = [5, 24, 11, 24, 17]
    requests = [ask(p, max_tokens=n) for p, n in zip(prompts, limits, strict=True)]
    completions = engine.generate(requests)
    for prompt, n, completion in zip(prompts, limits, completions, strict=True):
        expected = greedy_ids(plain_model, prompt, n)
        assert completion.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
        assert completion.n_tokens == len(expected) == n
        assert completion.stop_reason == "max_tokens"


def test_rows_that_wait_for_room_give_the_same_replies_in_order(engine, prompts, monkeypatch):
    requests = [ask(p, max_tokens=8) for p in prompts]
    together = engine.generate(requests)
    joined = []
    join = Decoder.join
    monkeypatch.setattr(Decoder, "join", lambda self, rows: joined.append(rows) or join(self, rows))
    monkeypatch.setattr(engine_module, "MAX_TOKENS", 60)
    assert engine.generate(requests) == together
    assert len([rows for rows in joined if rows]) > 1


def test_a_penalty_of_the_checkpoint_applies_its_sampling_defaults_do_not(
    engine, plain_model, prompts, tiny_model, tmp_path
):
    repetitive = [*prompts[0], 400, 500, 400, 500, 400]
    sampled = ask(prompts[1], temperature=1.0, seed=3)
    other = variant(
        tiny_model,
        tmp_path,
        eos_token_id=2,
        repetition_penalty=5.0,
        do_sample=True,
        temperature=0.01,
        top_k=1,
        top_p=0.1,
        num_beams=3,
    )
    expected = greedy_ids(plain_model, repetitive, 12, repetition_penalty=5.0)
    [greedy] = other.generate([ask(repetitive, max_tokens=12)])
    assert greedy.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
    assert len({c.text for c in other.generate([sampled, sampled._replace(seed=4)])}) == 2


# sampling


def test_a_seed_fixes_the_text_whatever_the_company(engine, prompts):
    request = ask(prompts[1], temperature=0.9, top_p=0.95, seed=11)
    [alone] = engine.generate([request])
    company = [ask(p, temperature=1.3, seed=5 + i) for i, p in enumerate(prompts)]
    assert engine.generate([*company, request])[-1] == alone
    assert engine.generate([request, *company[2:], ask(prompts[3], max_tokens=3)])[0] == alone
    assert engine.generate([request, request]) == [alone, alone]


def test_seeds_differ_and_come_back(engine, prompts):
    requests = [ask(prompts[1], temperature=1.0, seed=seed) for seed in range(6)]
    first = engine.generate(requests)
    assert len({completion.text for completion in first}) == 6
    assert engine.generate(requests[::-1]) == first[::-1]


def test_a_greedy_row_beside_sampled_ones_stays_greedy(engine, prompts):
    [alone] = engine.generate([ask(prompts[2])])
    mixed = engine.generate([ask(prompts[2], temperature=1.5, seed=1), ask(prompts[2])])
    assert mixed[1] == alone
    assert mixed[0] != alone


def test_replies_of_a_model_follow_its_own_probabilities(tiny_model, tmp_path):
    """End to end, on a model with 24 tokens, the last seven of which are printable."""
    path = tmp_path / "toy"
    shutil.copytree(tiny_model, path)
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    config.vocab_size = 24
    torch.manual_seed(4)
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    toy = Engine(path, device="cpu", dtype="float32")

    n = 1500
    replies = toy.generate([ask((1, 5), max_tokens=1, temperature=0.7, seed=s) for s in range(n)])
    counts = Counter(reply.text for reply in replies)
    logps = [toy.loglikelihood([ScoreRequest((1, 5), (token,))])[0][0] for token in range(24)]
    p = torch.softmax(torch.tensor(logps) / 0.7, -1).tolist()
    seen = {toy.tokenizer.decode([token]): p[token] for token in range(17, 24)}
    assert len(seen) == 7
    observed = [counts[text] for text in seen] + [counts[""]]
    expected = [n * q for q in seen.values()] + [n * (1 - sum(seen.values()))]
    assert chisquare(observed, expected).pvalue > 0.01


# why a reply ended, and how many tokens it has


def test_ends_at_the_end_of_turn_token(engine, plain_model, prompts, tiny_model, tmp_path):
    ids = greedy_ids(plain_model, prompts[1], 12)
    assert len(set(ids[:7])) == 7
    other = variant(tiny_model, tmp_path, eos_token_id=[2, ids[6]])
    ended, cut, exact = other.generate(
        [ask(prompts[1], max_tokens=n) for n in (12, 5, 7)]
    )  # beside rows that end elsewhere
    assert ended == (engine.tokenizer.decode(ids[:6]), 7, "stop")
    assert cut == (engine.tokenizer.decode(ids[:5]), 5, "max_tokens")
    assert exact == ended


def test_a_stop_string_cuts_the_text_and_the_count(engine, prompts):
    [whole] = engine.generate([ask(prompts[1], max_tokens=20)])
    stop = whole.text[len(whole.text) // 2 :][:3]
    at = whole.text.index(stop)
    stopped, free = engine.generate(
        [ask(prompts[1], max_tokens=20, stop=("never", stop)), ask(prompts[1], max_tokens=20)]
    )
    assert (stopped.text, stopped.stop_reason) == (whole.text[:at], "stop")
    assert 0 < stopped.n_tokens < whole.n_tokens
    ids = greedy_ids(engine.model, prompts[1], stopped.n_tokens)
    assert stop in engine.tokenizer.decode(ids)
    assert stop not in engine.tokenizer.decode(ids[:-1])
    assert free == whole


def test_generation_ends_when_every_row_has_its_stop_string(engine, prompts, monkeypatch):
    [whole] = engine.generate([ask(prompts[1], max_tokens=20)])
    steps = []
    forward = engine.model.forward
    monkeypatch.setattr(
        engine.model, "forward", lambda *a, **k: steps.append(1) or forward(*a, **k)
    )
    [stopped] = engine.generate([ask(prompts[1], max_tokens=500, stop=(whole.text[:4],))])
    assert len(steps) == stopped.n_tokens


def test_of_several_stop_strings_the_first_in_the_text_counts(engine, prompts):
    [whole] = engine.generate([ask(prompts[4], max_tokens=20)])
    early, late = whole.text[6:9], whole.text[12:15]
    [both] = engine.generate([ask(prompts[4], max_tokens=20, stop=(late, early))])
    [one] = engine.generate([ask(prompts[4], max_tokens=20, stop=(early,))])
    assert both == one
    assert both.text == whole.text[: whole.text.index(early)]


def test_a_special_token_can_be_a_stop_string(engine, tiny_model, tmp_path):
    """`<repo_name>` ends nothing by itself and is not shown; as a stop string it ends a reply."""
    path = tmp_path / "talks-of-repos"
    shutil.copytree(tiny_model, path)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        ids = greedy_ids(model, (1, 400, 201), 4)
        special = 3
        swap = torch.arange(VOCABULARY)
        swap[[special, ids[2]]] = torch.tensor([ids[2], special])
        embeddings = model.get_input_embeddings().weight
        embeddings.copy_(embeddings[swap])  # now the third greedy token is `<repo_name>`
    model.save_pretrained(path)
    other = Engine(path, device="cpu", dtype="float32")
    [free] = other.generate([ask((1, 400, 201), max_tokens=4)])
    assert free.text == engine.tokenizer.decode([ids[0], ids[1], ids[3]])
    [stopped] = other.generate([ask((1, 400, 201), max_tokens=4, stop=("<repo_name>",))])
    assert stopped == (engine.tokenizer.decode(ids[:2]), 3, "stop")


def test_the_end_of_the_context_is_not_a_limit_of_the_request(engine):
    prompt = tuple(range(100, 100 + engine.context_length - 4))
    long, short, exact = engine.generate([ask(prompt, max_tokens=n) for n in (9, 3, 4)])
    assert (long.n_tokens, long.stop_reason) == (4, "model_length")
    assert (short.n_tokens, short.stop_reason) == (3, "max_tokens")
    assert (exact.n_tokens, exact.stop_reason) == (4, "max_tokens")


@pytest.mark.parametrize("excess", [0, 1, 50])
def test_a_prompt_that_fills_the_context_gets_an_empty_reply(engine, prompts, excess):
    prompt = (300,) * (engine.context_length + excess)
    [alone] = engine.generate([ask(prompts[0])])
    assert engine.generate([ask(prompt), ask(prompts[0])]) == [("", 0, "model_length"), alone]


# log-likelihoods


def plain_logps(model, prefix, continuation):
    """By one unpadded forward pass."""
    with torch.inference_mode():
        logits = model(torch.tensor([[*prefix, *continuation]])).logits[0]
    logps = torch.log_softmax(logits, -1)
    return [float(logps[len(prefix) + k - 1, token]) for k, token in enumerate(continuation)]


CONTINUATIONS = ((400,), (401, 17, 3900), (2, 2), tuple(range(500, 540)))


def test_loglikelihoods_are_those_of_a_plain_forward_pass(engine, plain_model, prompts):
    """Prefixes read alone (padded batch) and prefixes shared by several continuations."""
    pairs = [(prompts[0], CONTINUATIONS[1]), (prompts[3], CONTINUATIONS[3])]
    pairs += [(prompts[1], c) for c in CONTINUATIONS]
    pairs += [(prompts[4], CONTINUATIONS[0]), (prompts[2], CONTINUATIONS[2])]
    pairs += [(prompts[1], CONTINUATIONS[1])]
    scored = engine.loglikelihood([ScoreRequest(*pair) for pair in pairs])
    for pair, logps in zip(pairs, scored, strict=True):
        assert logps == pytest.approx(plain_logps(plain_model, *pair), abs=1e-4)


def test_loglikelihoods_in_small_passes_are_the_same(engine, prompts, tiny_model, monkeypatch):
    requests = [ScoreRequest(p, c) for p in prompts[1:3] for c in CONTINUATIONS]
    requests += [ScoreRequest(prompts[0], CONTINUATIONS[0]), ScoreRequest(prompts[3], (7,))]
    together = engine.loglikelihood(requests)
    monkeypatch.setattr(scoring, "MAX_LOGITS", 5 * VOCABULARY)
    other = Engine(tiny_model, device="cpu", dtype="float32")
    sizes = []
    read = Reader.read
    monkeypatch.setattr(
        Reader, "read", lambda self, laid, at: sizes.append(len(at)) or read(self, laid, at)
    )
    apart = other.loglikelihood(requests)
    assert sum(size > 5 for size in sizes) == 2  # alone, the long one of each prompt
    for one, other in zip(together, apart, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_loglikelihoods_add_up_to_the_probability_of_the_reply(engine, prompts):
    prompt = torch.tensor([prompts[1]])
    out = engine.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=10,
        return_dict_in_generate=True,
        output_scores=True,
    )
    own = engine.model.compute_transition_scores(
        out.sequences, out.scores, normalize_logits=True
    ).sum()
    new = tuple(out.sequences[0, prompt.shape[1] :].tolist())
    [logps] = engine.loglikelihood([ScoreRequest(prompts[1], new)])
    assert sum(logps) == pytest.approx(float(own), abs=1e-3)
    assert all(logp < 0 for logp in logps)


def test_what_labels_share_is_read_once_and_never_again(tiny_model, prompts, monkeypatch):
    engine = Engine(tiny_model, device="cpu", dtype="float32")
    n_read = spied_reads(monkeypatch)
    labels = [(400,), (401, 17), (401, 18), (401, 17, 20)]
    questions = [(*prompts[3], 7), (*prompts[3], 8)]
    requests = [ScoreRequest(question, label) for question in questions for label in labels]
    scored = engine.loglikelihood([*requests, requests[0]])
    # of the last token of a continuation only the probability is asked
    assert n_read == [len(prompts[3]) + 2 * (1 + len([401, 17]))]
    assert engine.loglikelihood(requests) == scored[:-1]
    assert len(n_read) == 1
    assert scored[-1] == scored[0]


# prefixes


def spied_reads(monkeypatch):
    """How many tokens each pass over prompts reads."""
    n_read = []
    read = Reader.read

    def spy(self, layout, wanted):
        n_read.append(len(layout.laid.ids))
        return read(self, layout, wanted)

    monkeypatch.setattr(Reader, "read", spy)
    return n_read


def test_the_next_turn_of_a_conversation_reads_only_what_is_new(tiny_model, prompts, monkeypatch):
    engine = Engine(tiny_model, device="cpu", dtype="float32")
    n_read = spied_reads(monkeypatch)
    [first] = engine.generate([ask(prompts[1], max_tokens=9)])
    reply = greedy_ids(engine.model, prompts[1], 9)
    assert first.text == engine.tokenizer.decode(reply, skip_special_tokens=True)
    [second] = engine.generate([ask((*prompts[1], *reply, 300, 301), max_tokens=5)])
    # the last token of a reply was chosen, but not read
    assert n_read == [len(prompts[1]), 3]
    expected = greedy_ids(engine.model, (*prompts[1], *reply, 300, 301), 5)
    assert second.text == engine.tokenizer.decode(expected, skip_special_tokens=True)


def test_a_known_prompt_is_read_for_its_last_token_only(tiny_model, prompts, monkeypatch):
    engine = Engine(tiny_model, device="cpu", dtype="float32")
    n_read = spied_reads(monkeypatch)
    once = engine.generate([ask(prompts[3], temperature=1.0, seed=s) for s in range(3)])
    again = engine.generate([ask(prompts[3], temperature=1.0, seed=s) for s in range(3)])
    assert n_read == [len(prompts[3]), 1]
    assert once == again


def test_prompts_that_begin_alike_share_what_they_begin_with(tiny_model, prompts, monkeypatch):
    engine = Engine(tiny_model, device="cpu", dtype="float32")
    n_read = spied_reads(monkeypatch)
    system = prompts[3]
    together = [(*system, *tail) for tail in ((5, 6, 7), (5, 6, 8), (9,))]
    engine.generate([ask(prompt, max_tokens=1) for prompt in together])
    assert n_read == [len(system) + 3 + 1 + 1]


def alone(engine, request):
    """A reply written by itself, with nothing stored."""
    decoder = engine._new_decoder()
    decoder._store = PrefixStore(0)
    done = decoder.join({0: request})
    while not done:
        done = decoder.step()
    return done[0]


@pytest.mark.parametrize("max_bytes", [0, 40_000, 2**30])
@pytest.mark.parametrize("seed", range(2))
def test_replies_do_not_depend_on_what_is_stored_nor_on_who_is_there(engine, max_bytes, seed):
    """Rows join and leave at random; of 40,000 bytes the store keeps some tokens only."""
    rng = random.Random(seed)
    decoder = engine._new_decoder()
    decoder._store = PrefixStore(max_bytes)
    histories = [(20, 21)]
    for _ in range(12):  # each goes on from another
        longer = rng.choices(range(20, 23), k=rng.randint(0, 30))
        histories.append((*rng.choice(histories), *longer))
    requests = {
        key: ask(
            history,
            max_tokens=rng.randint(1, 12),
            temperature=rng.choice([0.0, 0.0, 0.8]),
            top_p=rng.choice([0.9, 1.0]),
            seed=key,
        )
        for key, history in enumerate(histories)
    }
    waiting, done = list(requests), {}
    while len(done) < len(requests):
        n = rng.randint(0, 3)
        joining, waiting = waiting[:n], waiting[n:]
        done |= decoder.join({key: requests[key] for key in joining})
        for _ in range(rng.randint(1, 5)):
            done |= decoder.step()
    assert done == {key: alone(engine, request) for key, request in requests.items()}
    assert decoder._rows == []


def test_who_leaves_takes_nobody_along(engine, prompts):
    requests = {key: ask(prompt, max_tokens=10) for key, prompt in enumerate(prompts)}
    decoder = engine._new_decoder()
    done = decoder.join(requests)
    for _ in range(4):
        done |= decoder.step()
    decoder.leave({0, 2, 99})
    while len(done) < 3:
        done |= decoder.step()
    assert done == {key: alone(engine, requests[key]) for key in (1, 3, 4)}


def test_greedy_replies_of_callers_who_come_and_go_are_those_of_plain_generate(
    engine, plain_model, prompts
):
    async def caller(number, replies):
        for turn in range(3):
            for _ in range(7 * number):
                await anyio.sleep(0)
            prompt = (*prompts[number], *range(300, 300 + turn))
            [reply] = await engine.replies(3).submit_all([ask(prompt, max_tokens=5 + 3 * number)])
            expected = greedy_ids(plain_model, prompt, 5 + 3 * number)
            replies.append(reply.text)
            assert reply.text == engine.tokenizer.decode(expected, skip_special_tokens=True)

    async def main():
        replies = []
        async with anyio.create_task_group() as tasks:
            for number in range(len(prompts)):
                tasks.start_soon(caller, number, replies)
        return replies

    assert len(anyio.run(main)) == 3 * len(prompts)


def test_a_stop_string_is_found_wherever_tokens_break_it(engine, prompts):
    """Each step looks at the end of the reply only; the whole is decoded here."""
    [whole] = engine.generate([ask(prompts[2], max_tokens=40)])
    stops = [whole.text[start : start + 4] for start in range(0, len(whole.text) - 4, 7)]
    requests = [ask(prompts[2], max_tokens=40, stop=(stop,)) for stop in stops]
    for stop, stopped in zip(stops, engine.generate(requests), strict=True):
        assert stopped.text == whole.text[: whole.text.index(stop)]


# models that cannot be read in forests


@pytest.fixture(scope="module")
def sliding_model(tiny_model, tmp_path_factory):
    """One that attends to its last 16 tokens only."""
    path = tmp_path_factory.mktemp("sliding") / "checkpoint"
    shutil.copytree(tiny_model, path)
    (path / "model.safetensors").unlink()
    config = transformers.MistralConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        vocab_size=VOCABULARY,
        max_position_embeddings=1024,
        sliding_window=16,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.MistralForCausalLM(config).save_pretrained(path)
    return path


def test_a_model_with_a_sliding_window_is_computed_in_padded_batches(
    sliding_model, prompts, caplog
):
    engine = Engine(sliding_model, device="cpu", dtype="float32")
    assert [record.getMessage() for record in caplog.records] == [
        "mistral attends within a sliding window of 16; replies are written in padded batches and "
        "nothing is reused"
    ]
    plain = transformers.AutoModelForCausalLM.from_pretrained(sliding_model).eval()
    limits = [5, 12, 9, 12, 7]
    requests = [ask(p, max_tokens=n) for p, n in zip(prompts, limits, strict=True)]
    for prompt, n, reply in zip(prompts, limits, engine.generate(requests), strict=True):
        expected = greedy_ids(plain, prompt, n)
        assert reply.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
        assert (reply.n_tokens, reply.stop_reason) == (n, "max_tokens")
    sampled = ask(prompts[1], temperature=0.9, top_p=0.95, seed=11)
    [by_itself] = engine.generate([sampled])
    assert anyio.run(engine.replies(4).submit_all, [*requests, sampled])[-1] == by_itself
    pairs = [(prompt, continuation) for prompt in prompts[:2] for continuation in CONTINUATIONS]
    scored = engine.loglikelihood([ScoreRequest(*pair) for pair in pairs])
    for pair, logps in zip(pairs, scored, strict=True):
        assert logps == pytest.approx(plain_logps(plain, *pair), abs=1e-4)


def test_padded_batches_split_for_memory_give_the_same_replies(sliding_model, prompts, monkeypatch):
    requests = [ask(p, max_tokens=8, stop=("zz",)) for p in prompts]
    requests.insert(2, ask((300,) * 1024))
    together = Engine(sliding_model, device="cpu", dtype="float32").generate(requests)
    monkeypatch.setattr(engine_module, "MAX_TOKENS", 60)
    assert Engine(sliding_model, device="cpu", dtype="float32").generate(requests) == together
    assert together[2] == ("", 0, "model_length")


# adapters


def test_an_adapter_is_its_base_plus_its_update(tiny_model, tiny_adapter, prompts):
    import peft

    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    ids = torch.tensor([prompts[1]])
    with torch.inference_mode():
        without = base(ids).logits
        expected = peft.PeftModel.from_pretrained(base, tiny_adapter).eval()(ids).logits
        merged = Engine(tiny_adapter, device="cpu", dtype="float32").model(ids).logits
    assert (expected - without).abs().max() > 0.1
    assert (merged - expected).abs().max() < 1e-4


def test_in_bfloat16_an_adapter_is_not_merged_away(tiny_adapter):
    engine = Engine(tiny_adapter, device="cpu", dtype="bfloat16")
    assert any("lora_B" in name for name, _ in engine.model.named_parameters())
    assert engine.generate([ask((1, 400, 201), max_tokens=3)])[0].n_tokens == 3


# what cannot be loaded


def test_a_tokenizer_without_a_template_is_refused(tiny_model, tmp_path):
    path = tmp_path / "bare"
    shutil.copytree(tiny_model, path)
    (path / "chat_template.jinja").unlink()
    with pytest.raises(UsageError, match=r"bare: the tokenizer has no chat template"):
        Engine(path, device="cpu", dtype="float32")


def test_an_unknown_dtype_is_refused(tiny_model):
    with pytest.raises(UsageError, match="dtype: 'float31' is not one of float64, float32"):
        Engine(tiny_model, device="cpu", dtype="float31")
