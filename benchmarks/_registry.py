"""What Inspect finds under the name `benchmarks` (entry point): loads no torch."""

from benchmarks.calibration import calibration, rates
from benchmarks.controls import control
from benchmarks.conversation import converse
from benchmarks.counterfactual import adapts, counterfactual
from benchmarks.embedded_scorer import embedded
from benchmarks.judged import judged, personalization
from benchmarks.pairwise import nothing_to_do, pairwise, preferred
from benchmarks.probing import position, probing
from benchmarks.reflection import (
    emotion_recognised,
    person_recognised,
    reflection,
    reflection_failed,
)
from benchmarks.reply import automatic, reply
from benchmarks.retention import answer_likelihood, retention
from benchmarks.support import support, user_outcome

__all__ = [
    "adapts",
    "answer_likelihood",
    "automatic",
    "calibration",
    "control",
    "converse",
    "counterfactual",
    "embedded",
    "emotion_recognised",
    "judged",
    "nothing_to_do",
    "pairwise",
    "person_recognised",
    "personalization",
    "position",
    "preferred",
    "probing",
    "rates",
    "reflection",
    "reflection_failed",
    "reply",
    "retention",
    "support",
    "user_outcome",
]
