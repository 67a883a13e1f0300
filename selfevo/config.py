"""The recipe of a run: one YAML file, one frozen record, every default in one place.

The paper's hyper-parameters are not public. Every default here is ours unless its note says otherwise.
"""

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from benchmarks.dialogues import Language
from selfevo.errors import UsageError
from selfevo.filters import FilterConfig

Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(Section):
    """Which model evolves, and who runs it."""

    base: str = "default"
    """`default` (the embedded model) or the path of a local checkpoint."""
    provider: Literal["selfevo", "vllm"] = "selfevo"
    """Who generates: the local provider, or Inspect's vLLM provider (`vllm/BASE:ADAPTER`)."""
    dtype: Literal["float32", "bfloat16", "float64"] | None = None
    """Of training and of local generation; None: float32 on a CPU, bfloat16 on a GPU."""


class DataConfig(Section):
    """The dialogues of people."""

    source: Literal["starter", "esconv", "messages"] = "starter"
    path: Path | None = None
    """Local file or folder; None loads the shipped set (starter) or the hub's (esconv)."""
    language: Language = "en"
    train: Count = 48
    """Dialogues of phase 1, drawn from the training split."""
    task_prompt: str | None = None
    """The task prompt P of phase 1, sent as the system message in training, synthesis and evaluation."""


class ReplayConfig(Section):
    """Instructions mixed into phase 1 so that the model keeps what it could do."""

    source: Literal["starter", "jsonl", "hub"] = "starter"
    path: str | None = None
    """A JSON or JSON Lines file (`jsonl`) or a dataset's hub id (`hub`)."""
    share: Share = 0.2
    """Instructions as a share of all training examples."""


class LoraSettings(Section):
    """The one adapter that all rounds continue."""

    r: Count = 16
    alpha: Count = 32
    dropout: Share = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"


class SftSettings(Section):
    """Phase 1: supervised fine-tuning, loss on supporter turns only."""

    epochs: Positive = 1.0
    learning_rate: Positive = 3e-4
    batch_size: Count = 4
    accumulate: Count = 1
    max_length: Count = 768
    save_steps: Count = 5
    """Steps between the checkpoints from which a killed run goes on."""
    lora: LoraSettings = LoraSettings()
    replay: ReplayConfig = ReplayConfig()


class SynthesisConfig(Section):
    """How a round makes its preference candidates."""

    contexts: Count = 48
    """Dialogue contexts a round."""
    per_dialogue: Count = 2
    min_seeker_turns: Count = 2
    max_prompt_tokens: Count = 512
    reflection: Literal["label", "generate"] = "label"
    refinement: Literal["select", "generate"] = "select"
    reflect: bool = True
    """Ablation: False refines without a reflection."""
    use: tuple[Literal["profile", "emotion", "situation"], ...] = (
        "profile",
        "emotion",
        "situation",
    )
    """Ablation: the parts of the reflection that the refinement sees."""
    chosen: Literal["refinement", "human"] = "refinement"
    """Ablation: the human supporter's reply as the chosen one."""
    rejected: Literal["draft", "initial_draft"] = "draft"
    """Ablation: M0's draft as the rejected one."""
    candidates: Count = 4
    """Conditioned replies among which `select` chooses."""
    temperature: Positive = 0.9
    top_p: Positive = 0.95
    max_tokens: Count = 64
    contrast: Count = 3
    """Other people's words against which `select` weighs a candidate."""
    principles: Path | None = None
    """Markdown file; None: the shipped one."""
    reflector: str | None = None
    """Inspect model that reflects; None: the model itself."""
    refiner: str | None = None
    """Inspect model that refines; None: the model itself."""
    max_samples: Count = 32
    """Contexts worked on at the same time."""


class DpoSettings(Section):
    """Phase 2: preference optimisation of the refinement over the draft."""

    epochs: Positive = 1.0
    learning_rate: Positive = 1e-4
    batch_size: Count = 4
    accumulate: Count = 1
    beta: Positive = 0.1
    loss: tuple[str, ...] = ("sigmoid", "sft")
    """TRL's loss names, summed with `loss_weights`. The `sft` term holds up the chosen reply's likelihood."""
    loss_weights: tuple[float, ...] = (1.0, 0.2)
    reference: Literal["previous", "initial"] = "previous"
    """The reference policy: this round's start M_t, or M0."""
    max_length: Count = 768
    save_steps: Count = 4

    @model_validator(mode="after")
    def _weights_match(self) -> "DpoSettings":
        if len(self.loss) != len(self.loss_weights):
            raise ValueError(
                f"{len(self.loss)} losses but {len(self.loss_weights)} loss_weights; give one weight a loss"
            )
        return self


class EvaluationConfig(Section):
    """The held-out contexts on which every checkpoint is measured."""

    dialogues: Count = 32
    """Held-out people, drawn from the gate split."""
    per_dialogue: Count = 2
    """Contexts a person; the gate averages them, for the person is its unit."""
    min_seeker_turns: Count = 2
    max_tokens: Count = 80
    contrast: Count = 3
    """Other people against whom specificity is measured."""
    reference: str = "selfevo/default"
    """Frozen reference model of the specificity bits; must offer log-likelihoods."""
    retention: Count = 24
    """Held-out instructions whose answers' likelihood must not fall."""
    max_samples: Count = 32


class Guard(Section):
    """A measure that may not get worse by `margin` or more."""

    metric: str
    margin: Positive
    """Largest acceptable worsening, in the metric's own unit."""
    worse: Literal["up", "down"] = "up"
    """The direction that is worse."""


class GateConfig(Section):
    """When a candidate becomes the champion."""

    primary: str = "specificity"
    alpha: Annotated[float, Gt(0), Le(0.5)] = 0.05
    """One-sided error rate of every bound."""
    delta_min: Annotated[float, Ge(0)] = 1.0
    """Smallest gain in the primary metric that is worth a promotion (bits)."""
    min_coverage: Share = 0.98
    """Share of held-out contexts that must be scored on both sides."""
    guards: tuple[Guard, ...] = (
        Guard(metric="copy_rate", margin=0.05),
        Guard(metric="repetition", margin=0.05),
        Guard(metric="stock", margin=0.10),
        Guard(metric="unfinished", margin=0.10),
        Guard(metric="length", margin=12.0),
        Guard(metric="length", margin=8.0, worse="down"),
        Guard(metric="sameness", margin=0.10),
        Guard(metric="retention", margin=0.15, worse="down"),
    )


class RunConfig(Section):
    """A whole recipe."""

    name: str
    seed: int = 7
    rounds: Count = 2
    min_pairs: Count = 12
    """A round with fewer surviving pairs is held, not trained on noise."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    sft: SftSettings = SftSettings()
    synthesis: SynthesisConfig = SynthesisConfig()
    filters: FilterConfig = FilterConfig()
    dpo: DpoSettings = DpoSettings()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe and apply `key=value` overrides (dotted keys, YAML values).

    Raises:
        UsageError: the file or an override is not readable, or a key or value is wrong; the message names the file,
            the key, and the nearest valid key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such recipe; the shipped ones are in recipes/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: a recipe is a mapping of keys to values")
    for override in overrides:
        _apply(raw, override)
    try:
        return RunConfig.model_validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error.errors()[0])}") from None


def dump_recipe(config: RunConfig) -> str:
    """The resolved recipe, as YAML."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def changed_keys(old: RunConfig, new: RunConfig) -> list[str]:
    """`key: old -> new` for every value that differs."""
    before, after = (
        dict(_flatten(old.model_dump(mode="json"))),
        dict(_flatten(new.model_dump(mode="json"))),
    )
    keys = sorted(before.keys() | after.keys())
    return [
        f"{k}: {before.get(k)} -> {after.get(k)}" for k in keys if before.get(k) != after.get(k)
    ]


def _apply(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {override}: write --set section.key=value")
    *sections, last = key.split(".")
    node = raw
    for section in sections:
        node = node.setdefault(section, {})
        if not isinstance(node, dict):
            raise UsageError(f"--set {override}: '{section}' is a value, not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: '{value}' is not a YAML value") from None


def _explain(error: ErrorDetails) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] != "extra_forbidden":
        return f"'{key}': {error['msg']} (got {error['input']!r})"
    valid = sorted(_keys_of(location[:-1]))
    nearest = difflib.get_close_matches(location[-1], valid, n=1, cutoff=0.0)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"unknown key '{key}'{hint} (valid here: {', '.join(valid)})"


def _keys_of(location: Iterable[str]) -> Iterable[str]:
    model: type[BaseModel] = RunConfig
    for part in location:
        if part.isdigit():
            model = Guard  # the only list of sections in a recipe
            continue
        field = model.model_fields[part].annotation
        if isinstance(field, type) and issubclass(field, BaseModel):
            model = field
    return model.model_fields


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
