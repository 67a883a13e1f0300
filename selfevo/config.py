"""The recipe of a run: one YAML file, one frozen record, every default in one place.

The paper's hyper-parameters are not public. Every default here is ours unless its note says
otherwise.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from benchmarks.dialogues import Language
from judges.strict_yaml import StrictLoader
from selfevo.errors import UsageError
from selfevo.filters import FilterConfig

JUDGE_PREFIX = "judge."
USER_MEASURES = ("relief", "trust", "satisfied", "gave_up")
"""What an evaluation takes from the conversations with simulated users."""

Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]


class Section(BaseModel):
    """A part of a recipe: frozen, and strict about its keys and numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


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
    max_messages: Count | None = None
    """The last messages that a context keeps, in the rounds and in evaluation; None: all."""
    task_prompt: str | None = None
    """The task prompt P of phase 1: the system message in training, synthesis and evaluation."""


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
    save_steps: Count = 10
    """Steps between the checkpoints from which a killed run goes on."""
    lora: LoraSettings = LoraSettings()
    replay: ReplayConfig = ReplayConfig()


class SynthesisConfig(Section):
    """How a round makes its preference candidates."""

    contexts: Count = 48
    """Dialogue contexts a round."""
    per_dialogue: Count = 2
    min_seeker_turns: Count = 2
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
    length_ratio: tuple[Positive, Positive] = (0.67, 1.5)
    """Words of a candidate over the draft's: `select` takes one outside only if none is inside."""
    temperature: Positive = 0.7
    top_p: Positive = 0.9
    max_tokens: Count = 56
    contrast: Count = 2
    """Other people's words against which `select` weighs a candidate."""
    principles: Path | None = None
    """Markdown file; None: the shipped one."""
    reflector: str | None = None
    """Inspect model that reflects; None: the model itself."""
    refiner: str | None = None
    """Inspect model that refines; None: the model itself."""
    max_samples: Count = 32
    """Contexts worked on at the same time."""
    from_users: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of a round's contexts that come from the champion's own conversations with training
    users instead of from dialogues."""


class DpoSettings(Section):
    """Phase 2: preference optimisation of the refinement over the draft."""

    epochs: Positive = 1.0
    learning_rate: Positive = 1e-4
    batch_size: Count = 4
    accumulate: Count = 1
    beta: Positive = 0.1
    loss: tuple[str, ...] = ("sigmoid", "sft")
    """TRL's loss names, summed with `loss_weights`; `sft` holds up the likelihood of the chosen."""
    loss_weights: tuple[float, ...] = (1.0, 0.2)
    reference: Literal["previous", "initial"] = "previous"
    """The reference policy: this round's start M_t, or M0."""
    max_length: Count = 768
    save_steps: Count = 4

    @model_validator(mode="after")
    def _weights_match(self) -> "DpoSettings":
        if len(self.loss) != len(self.loss_weights):
            raise ValueError(
                f"{len(self.loss)} losses but {len(self.loss_weights)} loss_weights; "
                "give one weight a loss"
            )
        return self


class EvaluationConfig(Section):
    """The held-out contexts on which every checkpoint is measured."""

    dialogues: Count = 32
    """Held-out people, drawn from the gate split."""
    per_dialogue: Count = 2
    """Contexts a person; the gate averages them, for the person is its unit."""
    min_seeker_turns: Count = 2
    max_tokens: Count = 56
    contrast: Count = 2
    """Other people against whom specificity is measured."""
    reference: str = "selfevo/default"
    """Frozen reference model of the specificity bits; must offer log-likelihoods."""
    retention: Count | None = 24
    """Held-out instructions whose answers' likelihood must not fall; None: not measured."""
    max_samples: Count = 32


class UsersConfig(Section):
    """The simulated people who talk with every checkpoint."""

    kind: Literal["scripted", "model"] = "scripted"
    """`scripted` needs no model; `model`: a model plays the person."""
    file: Path | None = None
    """Personas or published cards; None: the shipped people."""
    people: Count = 24
    """How many of the gate split talk with each checkpoint."""
    turns: Count = 6
    """Replies a conversation has at most."""
    min_turns: Count = 3
    """Replies before which nobody leaves."""
    model: str | None = None
    """Inspect model that plays the person (kind `model`); never the model under test by default."""
    appraisal: Literal["model", "rules"] = "model"
    """Who decides how a reply moves a person played by a model."""

    @model_validator(mode="after")
    def _has_a_player(self) -> "UsersConfig":
        if self.kind == "model" and self.model is None:
            raise ValueError("kind 'model' needs users.model: the Inspect model that plays people")
        if self.kind == "scripted" and self.model is not None:
            raise ValueError("users.model is only for kind 'model'; set users.kind=model")
        return self


class JudgeConfig(Section):
    """A model that judges every checkpoint's conversations with the simulated users."""

    model: str
    """Inspect model; never the model under test by default."""
    rubrics: tuple[str, ...] = ("personalization", "unhelpfulness")
    """Shipped rubrics; each becomes a measure `judge.<rubric>`."""
    cards: dict[str, Path] = {}
    """The judge's cards by rubric (`selfevo calibrate`); without one it cannot gate."""

    @field_validator("rubrics")
    @classmethod
    def _are_known(cls, rubrics: tuple[str, ...]) -> tuple[str, ...]:
        from benchmarks.judged import HEADLINES  # loads Inspect

        unknown = [name for name in rubrics if name not in HEADLINES]
        if unknown or not rubrics:
            raise ValueError(f"{unknown or 'nothing'} is no rubric; use {', '.join(HEADLINES)}")
        if len(set(rubrics)) < len(rubrics):
            raise ValueError("a rubric stands there twice; name it once")
        return rubrics

    @model_validator(mode="after")
    def _cards_are_of_its_rubrics(self) -> "JudgeConfig":
        for name in self.cards:
            if name not in self.rubrics:
                raise ValueError(f"judge.cards: '{name}' is not among judge.rubrics")
        return self


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
    allow_untrusted_judge: bool = False
    """Gate on a judge that is not trusted; the decision says so."""
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
        Guard(metric="relief", margin=0.3, worse="down"),
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
    users: UsersConfig | None = UsersConfig()
    """None: nobody talks with the checkpoints; only the held-out contexts measure them."""
    judge: JudgeConfig | None = None
    """None: automatic measures and the users' outcome only."""
    gate: GateConfig = GateConfig()

    @property
    def from_users(self) -> int:
        """Contexts a round that come from conversations."""
        return int(self.synthesis.contexts * self.synthesis.from_users)

    @model_validator(mode="after")
    def _conversations_fit(self) -> "RunConfig":
        if self.synthesis.from_users and self.users is None:
            raise ValueError("synthesis.from_users needs users; leave 'users' out or set it")
        if self.synthesis.from_users and self.synthesis.chosen == "human":
            raise ValueError(
                "synthesis.chosen 'human' needs a human reply, which conversations with simulated "
                "users do not have; set synthesis.from_users=0"
            )
        return self

    @model_validator(mode="after")
    def _judge_has_conversations(self) -> "RunConfig":
        if self.judge is not None and self.users is None:
            raise ValueError("judge needs users: it judges their conversations; set 'users'")
        return self

    @model_validator(mode="after")
    def _goal_is_no_harm(self) -> "RunConfig":
        from benchmarks.judged import HARMS  # loads Inspect

        if self.gate.primary.removeprefix(JUDGE_PREFIX) in HARMS:
            raise ValueError(
                f"gate.primary '{self.gate.primary}' is worse when it is higher; make it a guard"
            )
        return self

    @model_validator(mode="after")
    def _gate_is_measured(self) -> "RunConfig":
        measured = measured_metrics(self)
        for metric in (self.gate.primary, *(guard.metric for guard in self.gate.guards)):
            if metric not in measured:
                raise ValueError(
                    f"the gate uses '{metric}', which this recipe does not measure; use one of "
                    f"{', '.join(measured)}"
                )
        return self


def measured_metrics(config: RunConfig) -> list[str]:
    """The metrics that an evaluation under this recipe has."""
    from benchmarks.reply import MEASURES  # loads Inspect

    return [
        *MEASURES,
        "sameness",
        *(["emotion_accuracy"] if config.synthesis.reflect else []),
        *(["retention"] if config.evaluation.retention else []),
        *(USER_MEASURES if config.users else []),
        *(f"{JUDGE_PREFIX}{rubric}" for rubric in (config.judge.rubrics if config.judge else ())),
    ]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe and apply `key=value` overrides (dotted keys, YAML values).

    Raises:
        UsageError: the file or an override is not readable, or a key or value is wrong; the message
            names the file, the key, and the nearest valid key.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such recipe; the shipped ones are in recipes/") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise UsageError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: a recipe is a mapping of keys to values")
    for override in overrides:
        _apply(raw, override)
    try:
        config = RunConfig.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(error.errors())}") from None
    for key, value in _read_as_numbers(raw, config.model_dump()):
        raise UsageError(f"{path}: '{key}' is a number, not {value}; to turn a check off, set null")
    return config


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
        if node.get(section) is None:  # also a section whose keys are all commented out
            node[section] = {}
        node = node[section]
        if not isinstance(node, dict):
            raise UsageError(f"--set {override}: '{section}' is a value, not a section")
    try:
        node[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: '{value}' is not a YAML value") from None


def _explain(errors: Sequence[ErrorDetails]) -> str:
    # an unknown key first: it may be the misspelling of one that is missing
    error = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    if error["type"] == "extra_forbidden":
        *parents, unknown = map(str, error["loc"])
        _, section = _known(error["loc"][:-1])
        valid = sorted(section.model_fields) if section else []
        key = ".".join([*parents, unknown])
        nearest = difflib.get_close_matches(unknown, valid, n=1, cutoff=0.0)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        return f"unknown key '{key}'{hint} (valid here: {', '.join(valid)})"
    keys, _ = _known(error["loc"])
    key = ".".join(keys)
    if error["type"] == "missing":
        return f"'{key}' is missing; add it"
    if error["type"] == "value_error":
        place = f"'{key}': " if key else ""
        return f"{place}{error['msg'].removeprefix('Value error, ')}"
    return f"'{key}': {error['msg']} (got {error['input']!r})"


def _known(location: Sequence[str | int]) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of a pydantic location, without its tags of union members, and their section."""
    keys: list[str] = []
    section: type[BaseModel] | None = RunConfig
    for part in location:
        if isinstance(part, str):
            if section is None or part not in section.model_fields:
                break
            section = _section_in(section.model_fields[part].annotation)
        keys.append(str(part))
    return keys, section


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The section that a field holds, itself or in a list."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _read_as_numbers(raw: object, read: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Keys whose true or false pydantic read as 1 or 0."""
    if isinstance(raw, dict) and isinstance(read, dict):
        for name, value in raw.items():
            yield from _read_as_numbers(value, read[name], f"{key}.{name}" if key else str(name))
    elif isinstance(raw, list) and isinstance(read, tuple):
        for index, (value, item) in enumerate(zip(raw, read, strict=True)):
            yield from _read_as_numbers(value, item, f"{key}.{index}")
    elif isinstance(raw, bool) and not isinstance(read, bool):
        yield key, str(raw).lower()


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
