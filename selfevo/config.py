"""The recipe of a run: one YAML file, one frozen record, every default in one place.

The paper's hyper-parameters are not public. Every default here is ours unless its note says
otherwise.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from annotated_types import Ge, Lt
from pydantic import Field, field_validator, model_validator

from benchmarks.dialogues import Language
from selfevo.filters import FilterConfig
from selfevo.gate_config import JUDGE_PREFIX, TALK_PREFIX, USER_MEASURES, GateConfig
from selfevo.generation import GenerationConfig
from selfevo.recipe_file import read_section
from selfevo.section import Count, Positive, Section, Share


class ModelConfig(Section):
    """Which model evolves."""

    base: str = "default"
    """`default` (the embedded model) or the path of a local checkpoint."""
    dtype: Literal["float32", "bfloat16", "float64"] | None = None
    """Of training and of generation; None: float32 on a CPU, bfloat16 on a GPU."""

    moved: ClassVar[Mapping[str, str]] = {"provider": "generation"}


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


DpoLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]
"""All that TRL's `DPOTrainer` knows."""


class DpoSettings(Section):
    """Phase 2: preference optimisation of the refinement over the draft."""

    epochs: Positive = 1.0
    learning_rate: Positive = 1e-4
    batch_size: Count = 4
    """Pairs of a batch; as trees, pairs after which a batch takes no further dialogue."""
    accumulate: Count = 1
    tree: bool = True
    """Compute the pairs of a dialogue together, its beginning once: the same losses, faster."""
    token_budget: Count = 4096
    """Distinct tokens of a batch of trees: bounds the memory."""
    beta: Positive = 0.1
    loss: tuple[DpoLoss, ...] = ("sigmoid", "sft")
    """TRL's losses, summed with `loss_weights`; `sft` holds up the likelihood of the chosen."""
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
    cards: dict[str, Path] = Field(default_factory=dict)
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


class RunConfig(Section):
    """A whole recipe."""

    name: str
    seed: int = 7
    rounds: Count = 2
    min_pairs: Count = 12
    """A round with fewer surviving pairs is held, not trained on noise."""
    model: ModelConfig = ModelConfig()
    generation: GenerationConfig = GenerationConfig()
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

    @model_validator(mode="after")
    def _precision_is_the_generators(self) -> "RunConfig":
        if self.generation.provider == "vllm" and self.model.dtype == "float64":
            raise ValueError("vLLM does not compute in float64; set another model.dtype")
        return self

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
        for metric in self.gate.metrics:
            if metric not in measured:
                raise ValueError(
                    f"the gate uses '{metric}', which this recipe does not measure; use one of "
                    f"{', '.join(measured)}"
                )
        return self


def measured_metrics(config: RunConfig) -> list[str]:
    """The metrics that an evaluation under this recipe has."""
    from benchmarks import reply, support  # loads Inspect

    talks = (name for name in support.MEASURES if name not in USER_MEASURES)
    return [
        *reply.MEASURES,
        "sameness",
        *(["emotion_accuracy"] if config.synthesis.reflect else []),
        *(["retention"] if config.evaluation.retention else []),
        *(USER_MEASURES if config.users else []),
        *(f"{TALK_PREFIX}{name}" for name in (talks if config.users else ())),
        *(f"{JUDGE_PREFIX}{rubric}" for rubric in (config.judge.rubrics if config.judge else ())),
    ]


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a recipe and apply `key=value` overrides (dotted keys, YAML values).

    Raises:
        UsageError: the file or an override is not readable, or a key or value is wrong.
    """
    return read_section(RunConfig, path, overrides)


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


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False)
