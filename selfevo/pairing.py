"""From a round's synthesis log to its preference pairs, with a report of all that was left out."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import get_model
from rich.table import Table

from benchmarks.contexts import Context
from benchmarks.heldout import read_contexts
from selfevo.checkpoint import content_hash
from selfevo.config import RunConfig
from selfevo.filters import FilterResult, filter_pairs
from selfevo.harness import Evaluand, finished_log, run_eval
from selfevo.material import Material
from selfevo.pairs import Candidate, PreferencePair, Provenance, read_pairs, write_pairs
from selfevo.pairs_report import PairsReport
from selfevo.principles import Principles, load_principles
from selfevo.progress import console
from selfevo.refine import Refinement, refinement_prompt
from selfevo.run import Run
from selfevo.seeds import derived_seed
from selfevo.synthesis import synthesis
from selfevo.users import with_conversations


class Pairs(NamedTuple):
    """The surviving pairs of a round, on disk."""

    path: Path
    report: PairsReport
    n_unscored: int
    """Contexts whose reflection or refinement failed: no candidates."""

    @property
    def n_kept(self) -> int:
        """How many pairs survived the filters."""
        return self.report.n_kept

    def read(self) -> list[PreferencePair]:
        """The pairs themselves."""
        return read_pairs(self.path)


def build_pairs(
    run: Run, number: int, champion: Evaluand, initial: Evaluand, material: Material
) -> Pairs:
    """Synthesise, filter and store the pairs of round `number`."""
    folder = f"round-{number}"
    contexts = with_conversations(run, number, champion, material.contexts[number - 1])
    log_dir = run.once(
        f"{folder}/synthesis",
        lambda partial: synthesize(run.config, number, champion, initial, contexts, partial),
        title=f"M{number}: draft, reflect, refine",
    )
    log = finished_log(log_dir)
    result = _Filtered(run.config, number, champion, log, read_contexts(contexts))
    path = run.once(
        f"{folder}/pairs.jsonl", lambda partial: write_pairs(partial, result.get().pairs)
    )
    name = f"{folder}/pairs-report.json"
    is_new = not run.has(name)
    report = run.record(name, PairsReport, lambda: result.get().report)
    n_unscored = sum(not _refinement(sample) for sample in log.samples or [])
    if is_new:
        console.print(_table(f"M{number}: pairs", report, n_unscored))
    return Pairs(path, report, n_unscored)


def synthesize(
    config: RunConfig,
    number: int,
    champion: Evaluand,
    initial: Evaluand,
    contexts: Path,
    log_dir: Path,
) -> EvalLog:
    """Run the synthesis task: the champion does all, unless the recipe gives a role away."""
    settings = config.synthesis
    roles = {
        role: get_model(name)
        for role, name in (("reflector", settings.reflector), ("refiner", settings.refiner))
        if name is not None
    }
    if settings.rejected == "initial_draft":
        roles["drafter"] = initial.model
    task = synthesis(
        contexts=str(contexts),
        settings=settings.model_dump(mode="json"),
        seed=derived_seed(config.seed, "synthesis", number) % 2**31,
        task_prompt=config.data.task_prompt,
    )
    return run_eval(
        task,
        champion.model,
        log_dir,
        title=f"M{number}: synthesis",
        roles=roles,
        max_samples=settings.max_samples,
    )


def candidates(
    log: EvalLog, contexts: Sequence[Context], config: RunConfig, number: int, model: Path
) -> Iterable[Candidate]:
    """A candidate for each context whose refinement succeeded, in the order of the contexts."""
    from selfevo.training import load_tokenizer

    tokenizer = load_tokenizer(model)
    principles = load_principles(config.synthesis.principles)
    samples = {str(sample.id): sample for sample in log.samples or []}
    for context in contexts:
        refinement = _refinement(samples[context.id])
        if refinement is None:
            continue
        pair = _pair(
            context,
            refinement,
            log,
            config,
            number,
            content_hash(model),
            principles.hash,
            tokenizer,
        )
        yield Candidate(
            pair=pair,
            chosen_stop_reason=refinement.refined.stop_reason,
            rejected_stop_reason=refinement.draft.stop_reason,
            instructions=tuple(_instructions(config, principles)),
        )


def _instructions(config: RunConfig, principles: Principles) -> Iterable[str]:
    """What stood before the writer of a reply and must not stand in it."""
    yield principles.all_text()
    yield refinement_prompt("", "", "")
    if config.data.task_prompt:
        yield config.data.task_prompt


def _pair(
    context: Context,
    refinement: Refinement,
    log: EvalLog,
    config: RunConfig,
    number: int,
    model_hash: str,
    principles_hash: str,
    tokenizer: Any,
) -> PreferencePair:
    settings = config.synthesis

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return PreferencePair(
        dialogue_id=context.dialogue_id,
        context_id=context.id,
        turn=context.turn,
        language=context.language,
        messages=context.messages,
        chosen=refinement.refined.text,
        rejected=refinement.draft.text,
        provenance=Provenance(
            model_hash=model_hash,
            principles_hash=principles_hash,
            log_id=f"round-{number}/synthesis",
            sample_id=context.id,
            round=number,
            strategy=settings.refinement,
            chosen_source=settings.chosen,
            rejected_source="m0_draft" if settings.rejected == "initial_draft" else "draft",
        ),
        chosen_tokens=length(refinement.refined.text),
        rejected_tokens=length(refinement.draft.text),
        reflection=refinement.reflection.text() if refinement.reflection else "",
        gain_bits=refinement.gain_bits,
    )


def _table(title: str, report: PairsReport, n_unscored: int) -> Table:
    """The yield of a round, as printed."""
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    table.add_column(min_width=20, no_wrap=True)
    table.add_column(min_width=5, no_wrap=True, justify="right")
    table.add_column(max_width=48, no_wrap=True, overflow="ellipsis")
    table.add_row("contexts unscored", str(n_unscored), "")
    for row in report.rows():
        table.add_row(row.what, row.value, row.note)
    return table


def _refinement(sample: EvalSample) -> Refinement | None:
    stored = sample.store.get("refinement")
    return Refinement.model_validate(stored) if stored else None


class _Filtered:
    """The filters' result, computed only if one of its two artefacts is missing."""

    def __init__(
        self,
        config: RunConfig,
        number: int,
        champion: Evaluand,
        log: EvalLog,
        contexts: Sequence[Context],
    ) -> None:
        self._arguments = (log, contexts, config, number, champion.path)
        self._filters = config.filters
        self._result: FilterResult | None = None

    def get(self) -> FilterResult:
        if self._result is None:
            self._result = filter_pairs(list(candidates(*self._arguments)), self._filters)
        return self._result
