"""What Inspect finds under the name `benchmarks` (entry point): loads no torch."""

from benchmarks.reflection import emotion_recognised, reflection
from benchmarks.reply import automatic, reply
from benchmarks.retention import answer_likelihood, retention
from benchmarks.support import support, user_outcome

__all__ = [
    "answer_likelihood",
    "automatic",
    "emotion_recognised",
    "reflection",
    "reply",
    "retention",
    "support",
    "user_outcome",
]
