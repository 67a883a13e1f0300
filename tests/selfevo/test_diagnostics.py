import pytest

from benchmarks.contexts import Message
from selfevo.tokens import conversation_ids, prompt_ids

from .candidates import make_pair
from .toy import toy_config, toy_pairs

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("trl", reason="needs the [train] extra")

from selfevo import dpo  # noqa: E402
from selfevo.diagnostics import diagnose  # noqa: E402
from selfevo.training import load_tokenizer  # noqa: E402

PAIRS = toy_pairs(4)


@pytest.fixture(scope="module")
def logps(finishing_model):
    """Log-probabilities (K, V) along a reply and its token ids (K,), without our engine."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer(finishing_model)

    def logps(adapter, pair, reply):
        base = AutoModelForCausalLM.from_pretrained(finishing_model, dtype=torch.float64)
        model = PeftModel.from_pretrained(base, str(adapter)).eval()
        prompt = [{"role": m.role, "content": m.content} for m in pair.messages]
        ids = conversation_ids(tokenizer, [*prompt, {"role": "assistant", "content": reply}])
        start = len(prompt_ids(tokenizer, prompt))
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0]
        return torch.log_softmax(logits, -1)[start - 1 : -1], torch.tensor(ids[start:])

    return logps


def own(logps_KV, ids_K):
    return float(logps_KV.gather(-1, ids_K[:, None]).sum())


def test_agrees_with_the_definitions(finishing_model, m0, m1, logps):
    """Candidate M1 against M_t = M0 = the initial model."""
    found = diagnose(PAIRS, m1, m0, m0, toy_config(finishing_model, dpo={"beta": 0.3}))
    changes, lengths, kls = {}, {}, []
    for pair in PAIRS:
        for side in ("chosen", "rejected"):
            new, ids = logps(m1, pair, getattr(pair, side))
            old, _ = logps(m0, pair, getattr(pair, side))
            changes.setdefault(side, []).append(own(new, ids) - own(old, ids))
            lengths.setdefault(side, []).append(len(ids))
            kls.append(float((new.exp() * (new - old)).sum(-1).mean()))
    ratios = list(zip(changes["chosen"], changes["rejected"], strict=True))
    margins = [0.3 * (chosen - rejected) for chosen, rejected in ratios]
    per_token = {
        side: sum(c / n for c, n in zip(changes[side], lengths[side], strict=True)) / len(PAIRS)
        for side in changes
    }
    assert found.n_pairs == len(PAIRS)
    assert found.chosen_logp_change == pytest.approx(per_token["chosen"], abs=1e-3)
    assert found.rejected_logp_change == pytest.approx(per_token["rejected"], abs=1e-3)
    assert found.margin == pytest.approx(sum(margins) / len(PAIRS), abs=1e-3)
    assert found.accuracy == sum(margin > 0 for margin in margins) / len(PAIRS)
    assert found.kl_to_initial == pytest.approx(sum(kls) / len(kls), abs=1e-3)
    assert found.kl_to_initial > 0
    assert found.chosen_tokens == sum(lengths["chosen"]) / len(PAIRS)
    assert found.rejected_tokens == sum(lengths["rejected"]) / len(PAIRS)


def test_a_model_that_did_not_change_shows_nothing(finishing_model, m1):
    found = diagnose(PAIRS, m1, m1, m1, toy_config(finishing_model))
    assert found.chosen_logp_change == found.rejected_logp_change == found.margin == 0
    assert found.accuracy == found.kl_to_initial == 0


def test_kl_is_to_the_initial_model_and_change_to_the_previous(finishing_model, m0, m1):
    back = diagnose(PAIRS, m0, m1, m0, toy_config(finishing_model))
    assert back.kl_to_initial == 0
    assert back.chosen_logp_change != 0
    forth = diagnose(PAIRS, m1, m0, m1, toy_config(finishing_model))
    assert forth.kl_to_initial == 0
    assert forth.chosen_logp_change == pytest.approx(-back.chosen_logp_change, abs=2e-4)


def test_only_pairs_that_were_trained_on_are_measured(finishing_model, m0, m1):
    config = toy_config(finishing_model)
    long = make_pair(messages=(Message(role="user", content="word " * 300),))
    assert dpo.dpo_rows(load_tokenizer(m0), [long], config).n_dropped == 1
    assert diagnose([*PAIRS, long], m1, m0, m0, config) == diagnose(PAIRS, m1, m0, m0, config)


def test_the_task_prompt_is_in_view(finishing_model, m0, m1):
    plain = diagnose(PAIRS, m1, m0, m0, toy_config(finishing_model))
    config = toy_config(finishing_model, data={"task_prompt": "You are a friend."})
    assert diagnose(PAIRS, m1, m0, m0, config).margin != plain.margin
