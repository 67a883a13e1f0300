"""The folder of a run, written by hand: two rounds, one promoted, with logs of what was said."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver

from benchmarks.reflect import Inference, Reflection
from results.records import Measure, RunRecord, dump_record
from selfevo.config import RunConfig, dump_recipe
from selfevo.decision import Comparison, Decision, Verdict
from selfevo.evolve import Champion
from selfevo.pairs import write_pairs
from selfevo.pairs_report import FilterReason, PairDrop, report_of
from selfevo.refine import Refinement, Reply
from selfevo.run import StepTime, describe_run, to_json
from tests.benchmarks.fakes import answering, output, run

from .candidates import make_pair, make_provenance

TRAP = "<script>document.title = 'caught'</script><img src=x onerror=\"document.title='x'\">"
PEOPLE = {
    "ann": {"emotion": "fear", "problem": "<b>job</b>"},
    "bob": {"emotion": "fear", "problem": "grief"},
    "cem": {"emotion": "anger", "problem": "grief"},
    "dot": {"emotion": "anger", "problem": "grief"},
}
M0 = {"ann": 10.0, "bob": 20.0, "cem": 30.0, "dot": 5.0}
M1 = {"ann": 19.0, "bob": 22.0, "cem": 34.0, "dot": 5.0}
M2 = {"ann": 12.0, "bob": 23.0, "cem": 4.0, "dot": 2.0}
SFT_CURVE = [{"step": float(n), "loss": 4 - n / 10} for n in range(1, 11)]
DPO_CURVE = [
    {"step": 1.0, "loss": 0.69, "rewards/margins": 0.0, "rewards/accuracies": 0.0},
    {"step": 2.0, "loss": 0.5, "rewards/margins": 0.3, "rewards/accuracies": 1.0},
]
DROPPED = "cem-3"


def write_run(root: Path) -> Path:
    """A finished run."""
    root.mkdir(parents=True)
    (root / "recipe.yaml").write_text(dump_recipe(RunConfig(name="told")), encoding="utf-8")
    _write(root / "run.json", to_json(describe_run(base_model="b" * 64, principles="c" * 64)))
    steps = ("M0: phase 1, fine-tune", "M0: evaluate (reply)", "M1: draft, reflect, refine")
    times = (StepTime(step=s, seconds=60.0 * n) for n, s in enumerate(steps, start=1))
    _write(root / "times.jsonl", "".join(t.model_dump_json() + "\n" for t in times))
    _checkpoint(root, "m0", "M0", M0, SFT_CURVE)
    for number, values in ((1, M1), (2, M2)):
        folder = f"round-{number}"
        _synthesis(root / folder, number)
        _checkpoint(root, folder, f"M{number}", values, DPO_CURVE)
        diagnostics = {
            "n_pairs": 1,
            "chosen_logp_change": 0.1,
            "rejected_logp_change": -0.1,
            "margin": 0.5,
            "accuracy": 1.0,
            "kl_to_initial": 0.01,
            "chosen_tokens": 9.0,
            "rejected_tokens": 9.0,
        }
        _write(root / folder / "diagnostics.json", json.dumps(diagnostics))
    _write(root / "round-1/decision.json", to_json(decision(Verdict.PROMOTE, M0, M1)))
    _write(root / "round-2/decision.json", to_json(decision(Verdict.HOLD, M1, M2)))
    winner = Champion(name="M1", path="round-1/checkpoint", checkpoint="M1" * 32)
    _write(root / "champion.json", to_json(winner))
    return root


def decision(
    verdict: Verdict, champion: Mapping[str, float], candidate: Mapping[str, float]
) -> Decision:
    """Of these values, with a guard that is worse down and a cap."""
    before, after = (sum(values.values()) / len(values) for values in (champion, candidate))
    is_better = verdict is Verdict.PROMOTE
    compared = (
        Comparison(
            metric="specificity",
            rule="primary",
            champion=before,
            candidate=after,
            difference=after - before,
            lower=after - before - 2,
            upper=after - before + 2,
            n=4,
            outcome="passed" if is_better else "open",
            threshold=1.0,
            worse="down",
            even=(0.5, 0.25, 0.75),
        ),
        Comparison(
            metric="retention",
            champion=-1.5,
            candidate=-1.5,
            difference=0.0,
            lower=-0.1,
            upper=0.1,
            n=4,
            outcome="passed",
            threshold=0.15,
            worse="down",
        ),
        Comparison(
            metric="unsafe",
            rule="cap",
            champion=None,
            candidate=0.0,
            difference=None,
            lower=0.0,
            upper=0.02,
            n=4,
            outcome="passed",
            threshold=0.05,
            worse="up",
        ),
    )
    reason = (
        "all hold" if is_better else f"no gain shown {TRAP}; about 40 more people would settle it"
    )
    return Decision(
        verdict=verdict,
        reasons=(reason,),
        comparisons=compared,
        alpha=0.025,
        look=2,
        detectable=3.5,
    )


def _checkpoint(
    root: Path,
    folder: str,
    name: str,
    values: Mapping[str, float],
    curve: Sequence[Mapping[str, float]],
) -> None:
    training = {
        "phase": "any",
        "n_examples": 3,
        "n_dropped": 0,
        "n_shortened": 0,
        "steps": len(curve),
    }
    _write(root / folder / "checkpoint/training.json", json.dumps({**training, "curve": curve}))
    record = RunRecord(
        method=name,
        benchmark="loop",
        suite={"people": "the same"},
        checkpoint=name * 32,
        measures={"specificity": Measure(values=dict(values))},
        people=PEOPLE,
    )
    _write(root / folder / "record.json", dump_record(record))

    def answer(messages: list[Any]) -> Any:
        return output(f"{name} to {messages[-1].text} {TRAP}", "stop")

    samples = [
        Sample(input=_said(f"It is {person}."), id=f"{person}-3", metadata={"dialogue_id": person})
        for person in PEOPLE
    ]
    task = Task(dataset=samples, solver=generate(), name="reply")
    run(task, answering(answer), root / folder / "evaluation/reply")


def _synthesis(folder: Path, number: int) -> None:
    """Two candidates, one of them dropped."""
    said = _said("Nobody listens to me.")
    samples = [Sample(input=said, id=id) for id in ("ann-3", DROPPED)]
    task = Task(dataset=samples, solver=_refined(), name="synthesis")
    run(task, answering(lambda messages: output("x", "stop")), folder / "synthesis")
    pair = make_pair(
        context_id="ann-3",
        chosen=f"I hear you, and your boss was cruel to you today. {TRAP}",
        rejected="I hear you, and your boss was tired today.",
        provenance=make_provenance(round=number),
    )
    drop = PairDrop(pair_id="p", sample_id=DROPPED, reason=FilterReason.NEAR_IDENTICAL, also=())
    _write(folder / "contexts.jsonl", "{}\n{}\n{}\n")
    write_pairs(folder / "pairs.jsonl", [pair])
    _write(folder / "pairs-report.json", to_json(report_of([pair], [drop])))


@solver
def _refined() -> Solver:
    reflection = Reflection(
        personality=Inference(value="open", evidence="w"),
        emotion=Inference(value="fear", evidence="w"),
        situation=Inference(value=f"unheard {TRAP}", evidence="w"),
        need=Inference(value="advice", evidence="w"),
    )
    made = Refinement(
        draft=Reply(text="They should listen.", stop_reason="stop"),
        reflection=reflection,
        refined=Reply(text="They should listen more.", stop_reason="stop"),
        gain_bits=1.0,
    )

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.store.set("refinement", made.model_dump(mode="json"))
        return state

    return solve


def _said(text: str) -> list[Any]:
    return [
        ChatMessageUser(content="Hello."),
        ChatMessageAssistant(content="Hello, what is it?"),
        ChatMessageUser(content=text),
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
