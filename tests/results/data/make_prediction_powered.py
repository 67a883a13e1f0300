"""Makes prediction_powered.json: what ppi-python and glide-py estimate on seeded data.

Neither is a dependency, and they need different Pythons, so each adds its half to the file:

    (Python 3.11) pip install ppi-python==0.2.3
    (Python 3.12) pip install glide-py==0.11.0
    cd tests/results/data
    python make_prediction_powered.py ppi prediction_powered.json
    python make_prediction_powered.py glide prediction_powered.json
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

CASES = {
    "40 of 200": (40, 200, 0.7, 1),
    "60 of 1000": (60, 1000, 0.9, 2),
    "useless": (40, 300, 0, 3),
}
CLUSTERED = (40, 120, 3, 4)
"""Labelled people, all people, items of each, seed."""


def drawn(n: int, total: int, slope: float, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 0.7, total)
    judge = 0.4 + slope * truth + rng.normal(0, 0.5, total)
    return {"human": truth[:n].round(3).tolist(), "judge": judge.round(3).tolist()}


def drawn_clustered(n: int, total: int, size: int, seed: int) -> dict[str, list[float]]:
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.normal(3, 0.6, total), size) + rng.normal(0, 0.4, total * size)
    judge = 0.3 + 0.8 * truth + np.repeat(rng.normal(0, 0.3, total), size)
    return {"human": truth[: n * size].round(3).tolist(), "judge": judge.round(3).tolist()}


def by_ppi(case: dict[str, list[float]]) -> dict[str, float]:
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    human, judge = np.array(case["human"]), np.array(case["judge"])
    arrays = (human, judge[: len(human)], judge[len(human) :])
    ends = ppi_mean_ci(*arrays, alpha=0.05)
    fixed = ppi_mean_ci(*arrays, alpha=0.05, lam=0.5)
    names = ("lower", "upper", "lower_at_half", "upper_at_half")
    found = dict(zip(names, (float(np.squeeze(e)) for e in (*ends, *fixed)), strict=True))
    return {**found, "value": float(np.squeeze(ppi_mean_pointestimate(*arrays)))}


def by_glide(case: dict[str, list[float]], size: int) -> dict[str, float]:
    from glide.estimators import ClusteredPPIMeanEstimator

    total, n = len(case["judge"]), len(case["human"])
    human = np.array(case["human"] + [np.nan] * (total - n))
    people = np.repeat(np.arange(total // size), size)
    result = ClusteredPPIMeanEstimator().estimate(human, np.array(case["judge"]), people)
    interval = result.confidence_interval
    return {
        "value": float(interval.mean),
        "lower": float(interval.lower_bound),
        "upper": float(interval.upper_bound),
    }


def main() -> None:
    library, file = sys.argv[1], Path(sys.argv[2])
    stored = json.loads(file.read_text("utf-8")) if file.exists() else {"versions": {}}
    if library == "ppi":
        cases = {name: drawn(*case) for name, case in CASES.items()}
        stored["ppi"] = {name: {**case, **by_ppi(case)} for name, case in cases.items()}
        stored["versions"]["ppi-python"] = version("ppi-python")
    else:
        size = CLUSTERED[2]
        case = drawn_clustered(*CLUSTERED)
        stored["glide"] = {**case, "items_a_person": size, **by_glide(case, size)}
        stored["versions"]["glide-py"] = version("glide-py")
    stored["versions"][f"numpy of {library}"] = np.__version__
    file.write_text(json.dumps(stored) + "\n", "utf-8")


if __name__ == "__main__":
    main()
