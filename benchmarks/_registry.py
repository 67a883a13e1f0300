"""What Inspect finds under the name `benchmarks` (entry point): loads no torch."""

from benchmarks.controls import control
from benchmarks.conversation import converse
from benchmarks.counterfactual import adapts, counterfactual
from benchmarks.reflection import emotion_recognised, reflection
from benchmarks.reply import automatic, reply
from benchmarks.retention import answer_likelihood, retention
from benchmarks.support import model_errors, support, user_errors, user_outcome

__all__ = [
    "adapts",
    "answer_likelihood",
    "automatic",
    "control",
    "converse",
    "counterfactual",
    "emotion_recognised",
    "model_errors",
    "reflection",
    "reply",
    "retention",
    "support",
    "user_errors",
    "user_outcome",
]
