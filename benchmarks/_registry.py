"""What Inspect finds under the name `benchmarks` (entry point): loads no torch."""

from benchmarks.controls import control
from benchmarks.conversation import converse
from benchmarks.counterfactual import adapts, counterfactual
from benchmarks.reflection import (
    emotion_recognised,
    person_recognised,
    reflection,
    reflection_failed,
)
from benchmarks.reply import automatic, reply
from benchmarks.retention import answer_likelihood, retention
from benchmarks.support import infrastructure, support, user_outcome

__all__ = [
    "adapts",
    "answer_likelihood",
    "automatic",
    "control",
    "converse",
    "counterfactual",
    "emotion_recognised",
    "infrastructure",
    "person_recognised",
    "reflection",
    "reflection_failed",
    "reply",
    "retention",
    "support",
    "user_outcome",
]
