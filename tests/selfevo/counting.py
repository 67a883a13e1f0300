"""An eval that writes down each sample it works on, and can be stopped on the way.

`python -m tests.selfevo.counting LOG_DIR` runs it; what to do when is in the environment: CALLS
(the file of calls), STOP_WITH (a signal) at the STOP_AT-th call, FAIL (a sample).
"""

import os
import signal
import sys
from pathlib import Path

from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from selfevo.harness import run_eval

N_SAMPLES = 10
MAX_SAMPLES = 2


def run_counted(log_dir: Path) -> EvalLog:
    samples = [Sample(id=f"p{i}", input="hello") for i in range(N_SAMPLES)]
    task = Task(
        name="counted", dataset=MemoryDataset(samples), solver=counted(), scorer=always_one()
    )
    model = get_model("mockllm/model")
    return run_eval(task, model, log_dir, title="counted", max_samples=MAX_SAMPLES)


@solver
def counted() -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        calls = Path(os.environ["CALLS"])
        with calls.open("a") as file:
            file.write(f"{state.sample_id}\n")
        if len(calls.read_text().split()) == int(os.environ.get("STOP_AT", "0")):
            os.kill(os.getpid(), signal.Signals[os.environ["STOP_WITH"]])
        if os.environ.get("FAIL") == state.sample_id:
            raise ValueError("the server\nhiccuped")
        state.output = ModelOutput.from_content("mockllm/model", "hi")
        return state

    return solve


@scorer(metrics=[mean()])
def always_one() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=1.0)

    return score


if __name__ == "__main__":
    # a shell's background job starts with SIGINT ignored, and so would this child of it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_counted(Path(sys.argv[1]))
    except KeyboardInterrupt:
        sys.exit(130)
