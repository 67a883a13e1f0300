"""Makes dawid_skene.json: what crowd-kit 1.4.2 estimates on seeded panels and on Lend an Ear.

crowd-kit is no dependency. In an environment that has it beside this repository's packages:

    pip install crowd-kit==1.4.2
    cd tests/judges/data
    python make_dawid_skene.py DATA/lend-an-ear > dawid_skene.json

Its stopping rule is switched off (`tol=-1`) and it runs `ITERATIONS` times; the largest change of a
probability in the last ten is stored as `moved`. Of Lend an Ear only estimates are stored, by item
in the order of ids.
"""

import csv
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from crowdkit.aggregation import DawidSkene

ITERATIONS = 600
PANELS = {"binary": (4, 80, 2, 0.8, 1), "three": (5, 120, 3, 0.7, 2), "five": (6, 150, 5, 0.7, 3)}
DIMENSIONS = (
    "validating_emotions",
    "encouraging_elaboration",
    "demonstrating_understanding",
    "advice_giving",
    "self_oriented",
    "dismissing_emotions",
)


def drawn(judges: int, items: int, levels: int, right: float, seed: int) -> list[str]:
    """One text a judge, one character an item: the level, or "." for unscored."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, levels + 1, items)
    given = np.where(
        rng.random((judges, items)) < right, truth, rng.integers(1, levels + 1, (judges, items))
    )
    is_scored = rng.random((judges, items)) < 0.85
    is_scored[:2] = True
    return [
        "".join(str(g) if s else "." for g, s in zip(*row, strict=True))
        for row in zip(given, is_scored, strict=True)
    ]


def estimated(rows: list[str], levels: int) -> dict[str, object]:
    """Posterior mean of each item, shares of levels, and each judge's diagonal."""
    frame = pd.DataFrame(
        [(n, j, int(c)) for j, row in enumerate(rows) for n, c in enumerate(row) if c != "."],
        columns=["task", "worker", "label"],
    )
    fits = [DawidSkene(n_iter=n, tol=-1).fit(frame) for n in (ITERATIONS - 10, ITERATIONS)]
    before, after = (
        f.probas_.sort_index().reindex(columns=range(1, levels + 1), fill_value=0.0).to_numpy()
        for f in fits
    )
    errors = fits[1].errors_
    used = sorted(errors.columns)
    diagonal = [
        [float(errors.loc[(j, k), k]) if (j, k) in errors.index else 0.0 for k in used]
        for j in range(len(rows))
    ]
    return {
        "values": np.round(after @ np.arange(1, levels + 1), 9).tolist(),
        "diagonals": np.round(diagonal, 9).tolist(),
        "moved": float(np.abs(after - before).max()),
    }


def of_lend_an_ear(folder: Path, dimension: str) -> list[str]:
    rows = []
    for name in ("claude", "gemini", "gpt"):
        with (folder / "ratings" / f"{name}_ratings.csv").open(encoding="utf-8") as file:
            by_id = {r["conversation_id"]: int(float(r[dimension])) for r in csv.DictReader(file)}
        rows.append("".join(str(by_id[key]) for key in sorted(by_id)))
    return rows


def main() -> None:
    panels = {}
    for name, (judges, items, levels, right, seed) in PANELS.items():
        rows = drawn(judges, items, levels, right, seed)
        panels[name] = {"levels": levels, "ratings": rows, **estimated(rows, levels)}
    folder = Path(sys.argv[1])
    stored = {
        "made_by": "tests/judges/data/make_dawid_skene.py DATA/lend-an-ear",
        "versions": {name: version(name) for name in ("crowd-kit", "numpy", "pandas")},
        "iterations": ITERATIONS,
        "panels": panels,
        "lend_an_ear": {d: estimated(of_lend_an_ear(folder, d), 5) for d in DIMENSIONS},
    }
    print(json.dumps(stored))


if __name__ == "__main__":
    main()
