"""The examples for CI: they parse, fit together, and run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from results.records import dump_record
from selfevo.baseline import dump_baseline
from selfevo.check_report import MARKER
from selfevo.recording import load_record

from .evaluations import blessed, changed, record

ROOT = Path(__file__).parents[2]
CI = ROOT / "examples" / "ci"
ACTION = CI / "selfevo-check" / "action.yml"
WORKFLOW = CI / "preference-check.yml"
N = 40


def loaded(path: Path) -> dict[str, Any]:
    # BaseLoader: `on` is a key of GitHub, and true to YAML 1.1
    content = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    assert isinstance(content, dict)
    return content


def steps() -> dict[str, dict[str, Any]]:
    """The steps of the action that have a name."""
    return {step["id"]: step for step in loaded(ACTION)["runs"]["steps"] if "id" in step}


def uses() -> list[dict[str, Any]]:
    return [step for job in loaded(WORKFLOW)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", sorted(CI.rglob("*.y*ml")), ids=lambda path: path.name)
def test_it_is_yaml(path: Path) -> None:
    assert loaded(path)


def test_the_workflow_gives_the_action_what_it_takes() -> None:
    inputs = loaded(ACTION)["inputs"]
    required = {name for name, given in inputs.items() if given.get("required") == "true"}
    calls = [step for step in uses() if step.get("uses") == "./examples/ci/selfevo-check"]
    assert len(calls) == 2
    for step in calls:
        assert required <= step["with"].keys() <= inputs.keys()


def test_every_action_has_a_version() -> None:
    named = [step["uses"] for step in (*uses(), *loaded(ACTION)["runs"]["steps"]) if "uses" in step]
    assert all(name.startswith("./") or name.split("@")[1].startswith("v") for name in named)


def test_it_may_write_the_comment_and_nothing_else() -> None:
    workflow = loaded(WORKFLOW)
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request_target" not in workflow["on"]
    granted = [job.get("permissions", {}) for job in workflow["jobs"].values()]
    assert granted == [{"contents": "read", "pull-requests": "write"}, {}]


def test_no_input_is_part_of_a_script() -> None:
    scripts = [step["run"] for step in (*uses(), *steps().values()) if "run" in step]
    assert scripts and not [script for script in scripts if "${{" in script]


def test_the_files_that_are_named_are_there() -> None:
    for step in uses():
        for word in step.get("run", "").split():
            if word.startswith("examples/"):
                assert (ROOT / word).is_file()


# The scripts, run as a runner runs them.


def script(name: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps()[name]["run"]],
        cwd=folder,
        env={"PATH": path, "GITHUB_OUTPUT": str(folder / "output"), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def checked(folder: Path, **variables: str) -> dict[str, str]:
    """Outputs of the step that checks."""
    names = [str(name).upper().replace("-", "_") for name in loaded(ACTION)["inputs"]]
    inputs = dict.fromkeys(names, "")
    given = {"BASELINE": "main.json", "LOGS": "logs/*.json", "MAX_AGE": "90", **variables}
    done = script("check", folder, **{**inputs, **given})
    assert done.returncode == 0, done.stderr
    lines = (folder / "output").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    (tmp_path / "main.json").write_text(dump_baseline(blessed({"relief": [0.0] * N})), "utf-8")
    candidate = dump_record(record({"relief": changed(-0.5)}))
    (tmp_path / "logs" / "candidate.json").write_text(candidate, "utf-8")
    return tmp_path


def test_the_action_checks_and_keeps_the_code(folder: Path) -> None:
    assert checked(folder) == {"verdict": "REGRESSION", "exit-code": "1"}
    assert {file.name for file in (folder / "selfevo-check").iterdir()} == {
        "check.json",
        "comment.md",
        "junit.xml",
    }
    assert script("verdict", folder, CODE="1").returncode == 1
    assert script("verdict", folder).returncode == 3


def test_the_action_without_logs_decides_nothing(folder: Path) -> None:
    (folder / "logs" / "candidate.json").unlink()
    assert checked(folder) == {"verdict": "CANNOT DECIDE", "exit-code": "3"}


def test_a_crash_is_neither_harm_nor_a_pass(folder: Path) -> None:
    crash = folder / "selfevo"
    crash.write_text("#!/bin/sh\nexit 1\n")
    crash.chmod(0o755)
    assert checked(folder) == {"verdict": "CANNOT DECIDE", "exit-code": "3"}
    assert (folder / "selfevo-check" / "comment.md").read_text("utf-8").startswith(MARKER)


@pytest.mark.parametrize(
    ("found", "call"), [("", "POST issues/7"), ("55", "PATCH issues/comments/55")]
)
def test_there_is_one_comment(folder: Path, found: str, call: str) -> None:
    gh = folder / "gh"
    gh.write_text(
        '#!/bin/sh\ncase "$*" in *--jq*) printf "%s" "$FOUND" ;; *) echo "$*" >> calls ;; esac\n'
    )
    gh.chmod(0o755)
    done = script("comment", folder, FOUND=found, REPOSITORY="a/b", NUMBER="7", GH_TOKEN="t")
    assert done.returncode == 0, done.stderr
    [line] = (folder / "calls").read_text("utf-8").splitlines()
    method, place = call.split()
    assert f"--method {method} repos/a/b/{place}" in line
    assert line.endswith("-F body=@selfevo-check/comment.md")
    assert MARKER in steps()["comment"]["run"] and MARKER in steps()["check"]["run"]


# The tiers.


@pytest.mark.parametrize(
    ("tier", "people", "epochs"),
    [("smoke", 20, 1), pytest.param("nightly", 41, 3, marks=pytest.mark.slow)],
)
def test_a_tier_runs_through_the_command_line(
    tmp_path: Path, tier: str, people: int, epochs: int
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "inspect_ai", "eval"),
            *("--run-config", str(CI / f"{tier}.yaml"), "--model", "control/stock"),
            *("--log-dir", str(tmp_path), "--display", "none"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = load_record(list(tmp_path.glob("*.eval")))
    assert made.exhausted is None
    assert made.measures["relief"].n_scored == people * epochs
    assert len(made.measures["judge.embedded.unhelpful"].values) == people
