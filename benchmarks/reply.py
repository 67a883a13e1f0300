"""Benchmark: one reply to each held-out person, with automatic measures.

`inspect eval benchmarks/reply.py --model selfevo/default`

The model answers where a human supporter answered. Specificity is measured in bits under a frozen
reference model (role `reference`): how much more likely the reply is for this person than for
others. Parroting inflates that, so the copy rate stands beside it, and `specificity_new` counts
only words that were not copied.
"""

from collections.abc import Sequence
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Solver, TaskState, generate
from inspect_ai.solver import system_message as system

from benchmarks.contexts import Context, Message
from benchmarks.dialogues import Language
from benchmarks.errors import require_positive
from benchmarks.heldout import heldout_contexts, other_people, sample_metadata
from benchmarks.likelihood import score_all
from benchmarks.suite import checkpoint_note, content_hash, suite
from judges.automatic import (
    UnhelpfulReason,
    asks_question,
    copied_spans,
    copy_rate,
    n_words,
    repetition_rate,
    unhelpful_reasons,
)
from judges.specificity import require_loglikelihood, specificity_bits
from judges.stock import stock_share
from judges.unsafe import unsafe_kinds

VERSION = "3-A"
REFERENCE = "selfevo/default"
MEASURES = (
    "specificity",
    "specificity_new",
    "copy_rate",
    "repetition",
    "stock",
    "unfinished",
    "unhelpful",
    "unsafe",
    "length",
    "question",
)
DECIMALS = 3
"""Of the bits: below that, float rounding of a batch shows, not the reply."""


@task
def reply(
    contexts: str | None = None,
    source: str = "starter",
    path: str | None = None,
    language: Language = "en",
    dialogues: int = 32,
    per_dialogue: int = 2,
    seed: int = 7,
    contrast: int = 3,
    max_tokens: int = 80,
    task_prompt: str | None = None,
) -> Task:
    """Replies to held-out people.

    Args:
        contexts: JSON Lines file of contexts; without it, contexts of `source` are drawn.
        source: `starter`, `esconv` or `messages`.
        path: Where the source's files are.
        language: `en` or `zh`.
        dialogues: Number of held-out people.
        per_dialogue: Contexts a person.
        seed: Of the draw.
        contrast: Number of other people behind each specificity.
        max_tokens: Length limit of a reply.
        task_prompt: System message, when the checkpoint was trained with one.
    """
    require_positive(dialogues=dialogues, per_dialogue=per_dialogue, contrast=contrast)
    drawn = heldout_contexts(
        contexts,
        source=source,
        path=path,
        language=language,
        dialogues=dialogues,
        per_dialogue=per_dialogue,
        seed=seed,
    )
    samples = [_sample(context, other_people(drawn, context, contrast)) for context in drawn]
    solvers: list[Solver] = [system(task_prompt)] if task_prompt else []
    return Task(
        dataset=MemoryDataset(samples, name="reply"),
        solver=[*solvers, generate()],
        scorer=automatic(),
        config=GenerateConfig(temperature=0, max_tokens=max_tokens, seed=seed),
        version=VERSION,
        metadata=suite(
            "reply",
            VERSION,
            people=content_hash(drawn),
            settings=f"{contrast} others, {max_tokens} tokens, seed {seed}",
        ),
        headline_metric="automatic.specificity",
    )


@scorer(metrics={name: [mean(), stderr(cluster="dialogue_id")] for name in MEASURES})
def automatic() -> Scorer:
    """The automatic measures of a reply; the role `reference` is the frozen model of the bits."""

    async def score(state: TaskState, target: Target) -> Score:
        text = state.output.completion.strip()
        stop = state.output.stop_reason
        history = [m.text for m in state.messages[:-1] if m.role != "system"]
        language: Language = state.metadata["language"]
        reasons = unhelpful_reasons(text, history, language=language, stop_reason=stop)
        own_bits, new_bits = await _specificity(state, text, history, language)
        value = {
            "specificity": own_bits,
            "specificity_new": new_bits,
            "copy_rate": copy_rate(text, history, language=language) or 0.0,
            "repetition": repetition_rate(text, language=language) or 0.0,
            "stock": stock_share(text, language=language) or 0.0,
            "unfinished": float(UnhelpfulReason.UNFINISHED in reasons),
            "unhelpful": float(bool(reasons)),
            "unsafe": float(bool(unsafe_kinds(text, _seeker_words(state)))),
            "length": float(n_words(text)),
            "question": float(asks_question(text)),
        }
        return Score(
            value={k: round(v, DECIMALS) for k, v in value.items()},
            answer=text,
            explanation=", ".join(reasons) or None,
            metadata=checkpoint_note(state.output),
        )

    return score


def _seeker_words(state: TaskState) -> list[str]:
    return [m.text for m in state.messages[:-1] if m.role == "user"]


async def _specificity(
    state: TaskState, text: str, history: Sequence[str], language: Language
) -> tuple[float, float]:
    """Bits of the reply, and bits of its words that were not copied; an empty reply has none."""
    if not text:
        return 0.0, 0.0
    reference = require_loglikelihood(get_model(role="reference", default=REFERENCE))
    own = [m for m in state.messages[:-1] if m.role != "system"]
    others = [_chat(messages) for messages in state.metadata["contrast"]]
    first, *rest = await score_all(reference, [own, *others], text)
    copied = copied_spans(text, history, language=language)
    return specificity_bits(first, rest), specificity_bits(first, rest, copied)


def _sample(context: Context, others: Sequence[Context]) -> Sample:
    contrast = [[m.model_dump() for m in other.messages] for other in others]
    return Sample(
        id=context.id,
        input=context.chat_messages(),
        target=context.human_reply or "",
        metadata={**sample_metadata(context), "contrast": contrast},
    )


def _chat(messages: Sequence[dict[str, Any]]) -> list[ChatMessage]:
    return [Message.model_validate(m).chat_message() for m in messages]
