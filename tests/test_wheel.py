"""What a user installs: built offline, and looked into."""

import email
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

hatchling = pytest.importorskip("hatchling.builders.wheel", reason="needs the [dev] extra")

ROOT = Path(__file__).parents[1]
PACKAGES = ("selfevo", "benchmarks", "judges", "results")


STRAYS = (
    "results/LOG.md",
    "results/runs/demo/record.json",
    "results/ledger.jsonl",
    "results/baselines/main.json",
    "results/runs/m1-0123456789ab.json",
    "results/judges/card.json",
    "results/users/scripted.md",
    "tests/test_x.py",
    "runs/demo/m0/checkpoint/adapter_model.safetensors",
    "selfevo/__pycache__/cli.cpython-311.pyc",
)
"""What a working tree may also hold."""


@pytest.fixture(scope="module")
def wheel_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree, made by hatchling itself: pip would fetch it first."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, tree / name)
    for name in STRAYS:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    builder = hatchling.WheelBuilder(str(tree))
    [path] = builder.build(directory=str(tree / "dist"), versions=["standard"])
    return Path(path)


@pytest.fixture(scope="module")
def wheel(wheel_path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_path)


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_is_in_it(package: str, names: set[str]) -> None:
    modules = {str(file.relative_to(ROOT)) for file in (ROOT / package).rglob("*.py")}
    assert f"{package}/__init__.py" in modules
    assert modules <= names


@pytest.mark.parametrize(
    "pattern",
    [
        "benchmarks/data/starter.*.jsonl",
        "benchmarks/data/instructions.jsonl",
        "benchmarks/data/personas.*.jsonl",
        "benchmarks/data/*.yaml",
        "benchmarks/data/function_words.txt",
        "benchmarks/data/LICENSE",
        "judges/rubrics/*.yaml",
        "judges/prompts/*.md",
        "judges/trust.yaml",
        "selfevo/pages/*",
        "results/pages/*",
        "results/schemas/*",
        "benchmarks/prompts/*.md",
        "selfevo/prompts/*.md",
        "selfevo/*.jinja",
        "judges/phrases/*.txt",
    ],
)
def test_what_the_modules_read_is_in_it(pattern: str, names: set[str]) -> None:
    files = {str(file.relative_to(ROOT)) for file in ROOT.glob(pattern)}
    assert files
    assert files <= names


def test_nothing_else_is_in_it(names: set[str]) -> None:
    outside = {n for n in names if n.split("/")[0] not in PACKAGES and ".dist-info/" not in n}
    assert outside == set()
    assert names.isdisjoint(STRAYS)


def test_the_licences_are_in_it(names: set[str]) -> None:
    licences = {n.split("/licenses/")[1] for n in names if "/licenses/" in n}
    assert licences == {"LICENSE", "benchmarks/data/LICENSE"}


def test_it_says_how_it_is_found(wheel: zipfile.ZipFile, names: set[str]) -> None:
    [entry_points] = [n for n in names if n.endswith("entry_points.txt")]
    text = wheel.read(entry_points).decode()
    assert "selfevo = selfevo.cli:main" in text
    assert "selfevo = selfevo._registry" in text
    assert "benchmarks = benchmarks._registry" in text
    [metadata] = [n for n in names if n.endswith("METADATA")]
    fields = email.message_from_bytes(wheel.read(metadata))
    required = [r for r in fields.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert not any(r.startswith(("torch", "transformers", "trl", "peft")) for r in required)
    assert any(r.startswith("inspect-ai") for r in required)


def test_tasks_run_from_the_installed_wheel(wheel_path: Path, tmp_path: Path) -> None:
    """As a user has it: installed, called by the tasks' names, far from any checkout."""
    site = tmp_path / "site-packages"  # Inspect looks for this name to tell an installed package
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = ["install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", *install, str(wheel_path)], check=True)
    tasks = ["benchmarks/support", "benchmarks/counterfactual"]
    arguments = [*tasks, "--model", "control/stock", "-T", "limit_users=2"]
    done = subprocess.run(
        [sys.executable, "-m", "inspect_ai", "eval", *arguments, "--log-dir", "logs", "--json"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    logs = json.loads(done.stdout.splitlines()[-1])["logs"]
    assert [log["status"] for log in logs] == ["success", "success"]
    read = [read_eval_log(log["location"]) for log in logs]
    assert sorted(log.eval.task for log in read) == sorted(tasks)
    assert [len(log.samples or []) for log in read] == [2, 2]
