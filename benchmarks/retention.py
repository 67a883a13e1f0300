"""Benchmark: what does a checkpoint still know of general instructions?

`inspect eval benchmarks/retention.py --model selfevo/default`

Nothing is generated: the log-likelihood of the reference answer, in nats a token, is compared
between checkpoints. At the size of the embedded model that is far more sensitive than grading its
answers. It needs a provider with log-likelihoods.
"""

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from benchmarks.dialogues import Language
from benchmarks.errors import DataError, require_positive
from benchmarks.instructions import Instruction, load_instructions, split_instructions
from benchmarks.suite import content_hash, suite
from judges.specificity import require_loglikelihood

VERSION = "1-A"
DECIMALS = 4


@task
def retention(
    path: str | None = None, language: Language = "en", items: int = 24, seed: int = 7
) -> Task:
    """Likelihood of reference answers to held-out instructions.

    Args:
        path: JSON Lines file of instructions; without it, held-out items of the starter set.
        language: `en` or `zh`.
        items: Number of held-out items of the starter set.
        seed: Of their choice.
    """
    require_positive(items=items)
    if path is None:
        chosen = split_instructions(
            load_instructions("starter", language=language), heldout=items, seed=seed
        )
        instructions = chosen.heldout
    else:
        instructions = load_instructions("jsonl", path=path, language=language)
    if not instructions:
        raise DataError(
            path or "starter instructions",
            f"none is in {language}",
            "choose another file or language",
        )
    return Task(
        dataset=MemoryDataset([_sample(item) for item in instructions], name="retention"),
        solver=nothing_to_generate(),
        scorer=answer_likelihood(),
        version=VERSION,
        metadata=suite("retention", VERSION, instructions=content_hash(instructions)),
        headline_metric="answer_likelihood",
    )


@solver
def nothing_to_generate() -> Solver:
    """The answer is given; it is only scored."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return state

    return solve


@scorer(metrics=[mean(), stderr()])
def answer_likelihood() -> Scorer:
    """Mean log-probability (nats) of the reference answer's tokens under the model."""

    async def score(state: TaskState, target: Target) -> Score:
        model = require_loglikelihood(get_model())
        tokens = await model.loglikelihood(state.messages, target.text)
        return Score(value=round(sum(tokens.logprobs) / len(tokens.logprobs), DECIMALS))

    return score


def _sample(item: Instruction) -> Sample:
    return Sample(id=item.id, input=item.prompt(), target=item.output)
