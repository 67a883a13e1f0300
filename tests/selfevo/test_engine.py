import json
import shutil
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the [train] extra")
transformers = pytest.importorskip("transformers", reason="needs the [train] extra")

from scipy.stats import chisquare  # noqa: E402

from selfevo import engine as engine_module  # noqa: E402
from selfevo.engine import (  # noqa: E402
    Engine,
    GenerateRequest,
    ScoreRequest,
    _batches,
    _nucleus,
    _RowSampling,
    _Size,
)
from selfevo.errors import UsageError  # noqa: E402
from selfevo.tokens import prompt_ids  # noqa: E402

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


def test_batches_split_for_memory_give_the_same_replies_in_order(engine, prompts, monkeypatch):
    requests = [ask(p, max_tokens=8) for p in prompts]
    together = engine.generate(requests)
    passes = []
    generate = engine._generate
    monkeypatch.setattr(engine, "_generate", lambda rows: passes.append(rows) or generate(rows))
    monkeypatch.setattr(engine_module, "MAX_PADDED_TOKENS", 60)
    assert engine.generate(requests) == together
    assert len(passes) > 1


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


LOGITS = torch.tensor([2.0, 1.5, 1.0, 0.0, -1.0, -3.0])


def draws(logits, n, *, temperature, top_p=1.0):
    """How often each token wins in `n` rows with seeds 0 to n - 1."""
    requests = [ask((1,), temperature=temperature, top_p=top_p, seed=seed) for seed in range(n)]
    scores = _RowSampling(requests, "cpu")(torch.empty(n, 0), logits.repeat(n, 1))
    return torch.bincount(scores.argmax(-1), minlength=len(logits)).tolist()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_softmax(temperature):
    expected = 4000 * torch.softmax(LOGITS.double() / temperature, -1).numpy()
    observed = draws(LOGITS, 4000, temperature=temperature)
    assert chisquare(observed, expected).pvalue > 0.01


def test_draws_follow_the_nucleus(engine):
    kept = torch.softmax(LOGITS[:3].double(), -1)  # .46 .28 .17 of the whole: .9 needs three
    observed = draws(LOGITS, 4000, temperature=1.0, top_p=0.9)
    assert observed[3:] == [0, 0, 0]
    assert chisquare(observed[:3], 4000 * kept.numpy()).pvalue > 0.01


def test_successive_tokens_are_drawn_independently():
    sampling = _RowSampling([ask((1,), temperature=1.0, seed=s) for s in range(3000)], "cpu")
    first = sampling(None, torch.zeros(3000, 2)).argmax(-1)
    second = sampling(None, torch.zeros(3000, 2)).argmax(-1)
    observed = torch.bincount(2 * first + second, minlength=4).tolist()
    assert chisquare(observed).pvalue > 0.01


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (1.0, {0, 1, 2, 3}),
        (0.8, {0, 1, 2}),
        (0.75, {0, 1}),  # reached exactly
        (0.6, {0, 1}),
        (0.5, {0}),
        (0.1, {0}),
        (0.0, {0}),
    ],
)
def test_nucleus_is_the_smallest_set_that_reaches_top_p(top_p, kept):
    logits = torch.tensor([0.125, 0.5, 0.25, 0.125]).log()
    nucleus = _nucleus(logits, top_p)
    order = [1, 2, 0, 3]
    assert {order.index(i) for i in torch.isfinite(nucleus).nonzero().flatten().tolist()} == kept
    alive = torch.isfinite(nucleus)
    assert torch.equal(nucleus[alive], logits[alive])


@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.999999])
def test_nucleus_of_a_large_vocabulary_is_that_of_a_full_sort(top_p):
    logits = 3 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    p = torch.softmax(logits.double(), -1)
    ordered, order = p.sort(descending=True)
    expected = order[ordered.cumsum(-1) - ordered < top_p]
    found = torch.isfinite(_nucleus(logits, top_p)).nonzero().flatten()
    assert sorted(found.tolist()) == sorted(expected.tolist())


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
        swap = torch.arange(49152)
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


CONTINUATIONS = ((400,), (401, 17, 9000), (2, 2), tuple(range(500, 540)))


def test_loglikelihoods_are_those_of_a_plain_forward_pass(engine, plain_model, prompts):
    """Prefixes read alone (padded batch) and prefixes shared by several continuations."""
    pairs = [(prompts[0], CONTINUATIONS[1]), (prompts[3], CONTINUATIONS[3])]
    pairs += [(prompts[1], c) for c in CONTINUATIONS]
    pairs += [(prompts[4], CONTINUATIONS[0]), (prompts[2], CONTINUATIONS[2])]
    pairs += [(prompts[1], CONTINUATIONS[1])]
    scored = engine.loglikelihood([ScoreRequest(*pair) for pair in pairs])
    for pair, logps in zip(pairs, scored, strict=True):
        assert logps == pytest.approx(plain_logps(plain_model, *pair), abs=1e-4)


def test_loglikelihoods_in_small_batches_are_the_same(engine, prompts, monkeypatch):
    requests = [ScoreRequest(p, c) for p in prompts[1:3] for c in CONTINUATIONS]
    requests += [ScoreRequest(prompts[0], CONTINUATIONS[0]), ScoreRequest(prompts[3], (7,))]
    together = engine.loglikelihood(requests)
    sizes = []
    for name in ("_score", "_score_shared"):
        score = getattr(engine, name)
        monkeypatch.setattr(
            engine, name, lambda *a, score=score: sizes.append(len(a[-1])) or score(*a)
        )
    monkeypatch.setattr(engine_module, "MAX_LOGITS", 5 * 49152)
    apart = engine.loglikelihood(requests)
    assert max(sizes) == 2  # two of one token each, with the logits before them
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


# batches


@given(
    sizes=st.lists(st.builds(_Size, st.integers(1, 60), st.integers(1, 60)), max_size=20),
    limit=st.integers(50, 400),
)
def test_batches_take_each_once_and_fit_unless_alone(sizes, limit):
    def fits(batch):
        return len(batch) * (max(s.prompt for s in batch) + max(s.new for s in batch)) <= limit

    batches = list(_batches(range(len(sizes)), sizes, fits))
    assert sorted(chain.from_iterable(batches)) == [*range(len(sizes))]
    assert all(len(batch) == 1 or fits([sizes[i] for i in batch]) for batch in batches)
