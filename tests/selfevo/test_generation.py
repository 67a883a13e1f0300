from pathlib import Path

import pytest

from selfevo.config import RunConfig, dump_recipe, load_recipe
from selfevo.errors import UsageError
from selfevo.evolve import evolve
from selfevo.generation import GenerationConfig, require_generator, vllm_python

RECIPES = Path(__file__).parents[2] / "recipes"


def recipe(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: x\n{text}\n")
    return path


def test_a_plain_string_names_the_provider(tmp_path: Path) -> None:
    short = load_recipe(recipe(tmp_path, "generation: vllm"))
    long = load_recipe(recipe(tmp_path, "generation: {provider: vllm}"))
    assert short == long
    assert short.generation == GenerationConfig(provider="vllm")
    assert RunConfig(name="x").generation == GenerationConfig(provider="selfevo")
    assert load_recipe(recipe(tmp_path, ""), ["generation=vllm"]) == short


def test_a_resolved_recipe_reads_as_it_was(tmp_path: Path) -> None:
    text = "generation: {provider: vllm, context_length: 4096, server: {trust_remote_code: true}}"
    config = load_recipe(recipe(tmp_path, text))
    assert config.generation.server == {"trust_remote_code": True}
    again = tmp_path / "again.yaml"
    again.write_text(dump_recipe(config))
    assert load_recipe(again) == config


def test_the_recipe_of_the_papers_size_generates_with_vllm() -> None:
    assert load_recipe(RECIPES / "paper-8b.yaml").generation.provider == "vllm"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model: {provider: vllm}", "unknown key 'model.provider'; it is 'generation' now"),
        (
            "model: {dtype: float64}\ngeneration: vllm",
            "vLLM does not compute in float64; set another model.dtype",
        ),
        ("generation: vlm", "'generation.provider': Input should be 'selfevo' or 'vllm'"),
        ("generation: {provder: vllm}", "did you mean 'provider'?"),
        ("generation: {context_length: 9}", "'context_length' is only for provider vllm"),
        (
            "generation: {provider: vllm, endpoints: [gpu1]}",
            "'generation.endpoints': 'gpu1' is no address; write http://HOST:PORT",
        ),
        (
            "generation: {provider: vllm, endpoints: ['http://a', 'http://a']}",
            "an endpoint stands there twice",
        ),
        (
            "generation: {provider: vllm, endpoints: ['http://a'], server: {x: 1}}",
            "with endpoints nothing is started",
        ),
        (
            "generation: {provider: vllm, server: {host: 0.0.0.0}}",
            "'generation.server': 'host' is set by the run; leave it out",
        ),
        ("generation: {provider: vllm, server: {--x: 1}}", "'--x' is no option"),
    ],
)
def test_what_a_wrong_recipe_is_told(text: str, told: str, tmp_path: Path) -> None:
    path = recipe(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert told in message
    assert "\n" not in message


def test_endpoints_are_written_with_or_without_the_api_path() -> None:
    config = GenerationConfig(provider="vllm", endpoints=("http://a:8000/v1", "http://b:8000/"))
    assert config.endpoints == ("http://a:8000", "http://b:8000")


def test_an_absent_environment_is_told_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SELFEVO_VLLM", raising=False)
    config = RunConfig(name="x", generation=GenerationConfig(provider="vllm"))
    with pytest.raises(UsageError, match=r"\.venv-vllm/bin/python is not there; `make vllm-env`"):
        evolve(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    require_generator(GenerationConfig())
    require_generator(GenerationConfig(provider="vllm", endpoints=("http://a",)))


def test_where_the_environment_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own", "named", ".venv-vllm/bin/python"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    config = GenerationConfig(provider="vllm")
    monkeypatch.delenv("SELFEVO_VLLM", raising=False)
    assert vllm_python(config) == tmp_path / ".venv-vllm/bin/python"
    monkeypatch.setenv("SELFEVO_VLLM", str(tmp_path / "named"))
    assert vllm_python(config) == tmp_path / "named"
    assert vllm_python(config.model_copy(update={"python": Path("own")})) == tmp_path / "own"
    with pytest.raises(UsageError, match=r"^generation.python: other is not there"):
        vllm_python(config.model_copy(update={"python": Path("other")}))
