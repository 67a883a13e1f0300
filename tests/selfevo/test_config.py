import re
from pathlib import Path

import pytest
import yaml

from selfevo.config import RunConfig, changed_keys, dump_recipe, load_recipe, measured_metrics
from selfevo.errors import UsageError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return tmp_path / "recipe.yaml"


def complaint(path: Path, text: str, *overrides: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_load(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_there_are_shipped_recipes() -> None:
    assert "demo" in [path.stem for path in RECIPES]


def leaf_lines(text: str) -> set[int]:
    """The lines of a YAML text on which a value ends that has no values inside, guards aside."""

    def leaves(node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.MappingNode) and not node.flow_style:
            return [leaf for _, value in node.value for leaf in leaves(value)]
        if isinstance(node, yaml.SequenceNode) and not node.flow_style:
            return [leaf for value in node.value for leaf in leaves(value)]
        return [node]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert root is not None
    return {leaf.end_mark.line for leaf in leaves(root)}


@pytest.mark.skipif(
    "paper-8b" not in [path.stem for path in RECIPES], reason="there is no recipe of the paper"
)
def test_every_value_of_the_papers_recipe_has_a_source() -> None:
    [path] = [path for path in RECIPES if path.stem == "paper-8b"]
    text = path.read_text("utf-8")
    lines = text.splitlines()
    without = [
        lines[n] for n in sorted(leaf_lines(text)) if not re.search(r"# source: \S", lines[n])
    ]
    assert without == []


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("name: x\nseeed: 3", "seeed", "seed"),
        ("name: x\ndpo: {betta: 0.1}", "dpo.betta", "beta"),
        ("name: x\nsft: {lora: {rank: 8}}", "sft.lora.rank", "r"),
        ("name: x\nfilters: {max_copyrate: 0.1}", "filters.max_copyrate", "max_copy_rate"),
        (
            "name: x\ngate: {guards: [{metric: stock, margin: 1}, {metric: length, margn: 2}]}",
            "gate.guards.1.margn",
            "margin",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    recipe: Path, text: str, key: str, nearest: str
) -> None:
    message = complaint(recipe, text)
    assert message.startswith(f"{recipe}: unknown key '{key}'; did you mean '{nearest}'?")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nrounds: many", r"'rounds': .* \(got 'many'\)"),
        ("name: x\nrounds: 0", r"'rounds': .* \(got 0\)"),
        ("name: x\nsft: {learning_rate: fast}", r"'sft.learning_rate': .* \(got 'fast'\)"),
        ("name: x\nsft: {epochs: .inf}", r"'sft.epochs': .* \(got inf\)"),
        ("name: x\nsft: {lora: {target_modules: 3}}", r"'sft.lora.target_modules': .* \(got 3\)"),
        ("name: x\ndata: {language: no}", r"'data.language': .* \(got False\)"),
        (
            "name: x\ngate: {guards: [{metric: stock, margin: -1}]}",
            r"'gate.guards.0.margin': .* \(got -1\)",
        ),
        ("name: x\ngate: [1, 2]", r"'gate': .* \(got \[1, 2\]\)"),
        ("rounds: 2", r"'name' is missing"),
        ("name: x\ndpo: {loss: [sigmoid]}", r"'dpo': 1 losses but 2 loss_weights"),
        # pydantic would read these as 1 and 0: a check switched "off" would be at its strictest
        ("name: x\nrounds: true", r"'rounds' is a number, not true"),
        (
            "name: x\nfilters: {max_copy_rate: false}",
            r"'filters.max_copy_rate' is a number, not false; to turn a check off, set null",
        ),
        (
            "name: x\ngate: {guards: [{metric: stock, margin: true}]}",
            r"'gate.guards.0.margin' is a number, not true",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_key(recipe: Path, text: str, told: str) -> None:
    assert re.match(rf"{re.escape(str(recipe))}: {told}", complaint(recipe, text))


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("name: x\ngate: {primary: specifity}", "specifity"),
        ("name: x\ngate: {guards: [{metric: copyrate, margin: 1}]}", "copyrate"),
        ("name: x\nevaluation: {retention: null}", "retention"),
        ("name: x\nsynthesis: {reflect: false}\ngate: {primary: emotion_accuracy}", "emotion"),
    ],
)
def test_a_gate_on_what_is_not_measured_is_refused_before_the_run(
    recipe: Path, text: str, metric: str
) -> None:
    message = complaint(recipe, text)
    assert f"the gate uses '{metric}" in message
    assert "specificity" in message


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [1", "not valid YAML: .*line 1"),
        ("name: x\n\tseed: 3", "not valid YAML: .*line 2"),
        ("name: 2024-13-45", "not valid YAML: month must be in 1..12"),
        ("name: x\nsft: {epochs: 1}\nsft: {epochs: 2}", "key 'sft' is given twice at line 3"),
        ("dpo: {beta: 1, beta: 2}", "key 'beta' is given twice"),
        ("", "must be a mapping"),
        ("- name", "must be a mapping"),
    ],
)
def test_what_is_no_recipe_is_refused(recipe: Path, text: str, told: str) -> None:
    assert re.search(told, complaint(recipe, text))


def test_bytes_that_are_no_text_are_refused(recipe: Path) -> None:
    recipe.write_bytes(b"name: \xff")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_recipe(recipe)


@pytest.mark.parametrize(
    ("name", "told"),
    [("absent.yaml", "no such file; the shipped recipes"), (".", "cannot be read: Is a directory")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError, match=f"{re.escape(str(tmp_path / name))}: {told}"):
        load_recipe(tmp_path / name)


def test_overrides_win_over_the_file(recipe: Path) -> None:
    recipe.write_text("name: x\nsft: {epochs: 1}\ndpo:\n", encoding="utf-8")
    config = load_recipe(
        recipe,
        [
            "sft.epochs=3",
            "dpo.learning_rate=5e-6",  # which YAML 1.1 reads as a text
            "sft.lora.r=4",
            "data.path=a=b",
            "filters.leak_run=null",
            "synthesis.use=[emotion]",
        ],
    )
    assert config.sft.epochs == 3
    assert config.dpo.learning_rate == 5e-6
    assert config.sft.lora.r == 4
    assert config.data.path == Path("a=b")
    assert config.filters.leak_run is None
    assert config.synthesis.use == ("emotion",)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("rounds", "--set rounds: write --set section.key=value"),
        ("=3", "--set =3: write"),
        ("rounds.x=3", "'rounds' is a value, not a section"),
        ("dpo.beta=[", "'[' is not a YAML value"),
        ("name=2024-13-45", "'2024-13-45' is not a YAML value"),
        ("dpo.betta=1", "unknown key 'dpo.betta'; did you mean 'beta'?"),
        ("dpo.beta=strong", "'dpo.beta'"),
        ("dpo.loss=[sigmod, sft]", "'dpo.loss.0': Input should be 'sigmoid', 'hinge'"),
    ],
)
def test_a_wrong_override_is_named(recipe: Path, override: str, told: str) -> None:
    assert told in complaint(recipe, "name: x\nrounds: 2", override)


def test_a_dumped_recipe_is_the_same_recipe(recipe: Path) -> None:
    config = RunConfig.model_validate(
        {"name": "x", "data": {"path": "a/b", "task_prompt": "你好"}, "dpo": {"beta": 1e-7}}
    )
    recipe.write_text(dump_recipe(config), encoding="utf-8")
    assert load_recipe(recipe) == config


def test_changed_keys_are_the_changed_ones() -> None:
    old = RunConfig.model_validate({"name": "x"})
    new = RunConfig.model_validate(
        {"name": "x", "seed": 8, "sft": {"lora": {"r": 4}}, "dpo": {"loss_weights": [1, 0.5]}}
    )
    assert changed_keys(old, old) == []
    assert changed_keys(old, new) == [
        "dpo.loss_weights: [1.0, 0.2] -> [1.0, 0.5]",
        "seed: 7 -> 8",
        "sft.lora.r: 16 -> 4",
    ]


def test_measured_metrics_are_those_of_a_record() -> None:
    from selfevo.recording import SOURCES, measures_of

    found = {name for task in SOURCES for name in measures_of(task, [])}
    assert {*found, "sameness"} == set(measured_metrics(RunConfig(name="x")))


def test_measured_metrics_follow_the_recipe() -> None:
    everything = measured_metrics(RunConfig(name="x"))
    assert {"specificity", "sameness", "emotion_accuracy", "retention"} < set(everything)
    less = {
        "name": "x",
        "synthesis": {"reflect": False},
        "evaluation": {"retention": None},
        "gate": {"guards": []},
    }
    missing = set(everything) - set(measured_metrics(RunConfig.model_validate(less)))
    assert missing == {"emotion_accuracy", "retention"}
