"""Imports point one way, and evaluation needs no torch."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "judges": set[str](),
    "results": set[str](),
    "benchmarks": {"judges"},
    "selfevo": {"judges", "results", "benchmarks"},
}
HEAVY = {"torch", "transformers", "trl", "peft", "datasets", "accelerate", "safetensors", "gguf"}


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """The top-level names that a file imports, also inside functions and for types only."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    files = sources(package)
    assert files
    siblings = MAY_IMPORT.keys() - {package} - MAY_IMPORT[package]
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in imported(file)
        if name in siblings or name == "tests"
    ]
    assert wrong == []


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    declared = {line.split(">")[0].split("=")[0].strip().lower() for line in lines}
    distributions = packages_distributions()
    own = MAY_IMPORT.keys() | sys.stdlib_module_names | {"pydantic_core"}  # half of pydantic
    used = {name for package in MAY_IMPORT for file in sources(package) for name in imported(file)}
    missing = {
        name
        for name in used - own
        if not declared & {d.lower().replace("_", "-") for d in distributions.get(name, [name])}
    }
    assert missing == set()


SCRIPT = """
import importlib, sys
for module in sys.argv[1].split():
    importlib.import_module(module)
print(" ".join(sorted(sys.modules.keys() & set(sys.argv[2].split()))))
"""


def test_evaluation_loads_no_torch() -> None:
    modules = [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ("judges", "results", "benchmarks")
        for file in sources(package)
    ]
    assert {"benchmarks._registry", "judges.automatic", "results.stats"} <= set(modules)
    modules += ["selfevo._registry", "selfevo.cli", "selfevo.config", "selfevo.gate"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, " ".join(modules), " ".join(HEAVY)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert done.stdout.split() == []
