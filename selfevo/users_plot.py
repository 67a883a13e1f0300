"""The picture of a report on simulated users: words, emotion, endings, and who was helped.

Colours are Okabe and Ito's, which the colour-blind can tell apart. Names of figures and their bars
are in the table; here one sees the shape behind them.
"""

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.fidelity import Fidelity, reference
from benchmarks.talks import Talk
from benchmarks.user import Ending
from judges.words import word_texts

COLOURS: Final = {
    Ending.SATISFIED: "#009E73",
    Ending.GAVE_UP: "#D55E00",
    Ending.TURN_LIMIT: "#0072B2",
    Ending.CRISIS_HANDOFF: "#CC79A7",
    Ending.USER_ERROR: "#999999",
    Ending.MODEL_ERROR: "#444444",
}
MARKERS: Final = {
    Ending.SATISFIED: "o",
    Ending.GAVE_UP: "X",
    Ending.TURN_LIMIT: "s",
    Ending.CRISIS_HANDOFF: "D",
    Ending.USER_ERROR: "v",
    Ending.MODEL_ERROR: "^",
}
MEANINGS: Final = {
    Ending.SATISFIED: "left\ncontent",
    Ending.GAVE_UP: "gave up",
    Ending.TURN_LIMIT: "turn limit\nreached",
    Ending.CRISIS_HANDOFF: "handed to\ncrisis help",
    Ending.USER_ERROR: "simulator\nbroke",
    Ending.MODEL_ERROR: "model\nfailed",
}
HELPED: Final = "#0072B2"
NOT_HELPED: Final = "#E69F00"
HUMAN: Final = "#000000"
USERS: Final = "#56B4E9"
TITLE_WIDTH: Final = 110
LONGEST: Final = 80
"""Words at which the histogram ends; the last bar holds the rest."""
BIN: Final = 5
NAMED: Final = 3
"""People named at either end of the relief."""
PERSON_NAMES: Final = 24
"""Up to so many people, everybody is named."""


def draw(path: Path, report: Fidelity, talks: Sequence[Talk], people: Sequence[Talk]) -> None:
    """Write the picture, 1200 pixels wide."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no window
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.15)
    figure = Figure(figsize=(12, 9.6), dpi=100, layout=layout)
    grid = figure.subplots(2, 2)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    _words(grid[0, 0], talks, people)
    _emotion(grid[0, 1], talks)
    _endings(grid[1, 0], talks)
    _relief(grid[1, 1], talks)
    figure.suptitle(_title(report), fontsize=13, fontweight="bold")
    figure.savefig(path)


def _title(report: Fidelity) -> str:
    who = "the scripted user" if report.user == "scripted" else f"users played by {report.user}"
    n_measured = sum(figure.outcome != "not measured" for figure in report.figures)
    failed = ", ".join(figure.name for figure in report.figures if figure.outcome == "FAIL")
    return "\n".join(
        textwrap.fill(line, TITLE_WIDTH)
        for line in (
            f"Simulated users: {who}, talking with {report.supporter}",
            f"{report.n_talks} conversations, {report.n_people} people; {report.n_failed} of "
            f"{n_measured} measured figures fail{f' ({failed})' if failed else ''}",
        )
    )


def _words(axes: Any, talks: Sequence[Talk], people: Sequence[Talk]) -> None:
    language = talks[0].language
    unit = "Characters" if language == "zh" else "Words"
    bins = np.arange(0, LONGEST + 2 * BIN, BIN)
    ours = _lengths(talks)
    theirs = _lengths([talk for talk in people if talk.language == language])
    axes.hist(
        np.clip(ours, 0, LONGEST),
        bins=bins,
        weights=_percent(ours),
        color=USERS,
        edgecolor="white",
        label=f"simulated users (median {statistics.median(ours):.0f})" if ours else None,
    )
    if theirs:
        axes.hist(
            np.clip(theirs, 0, LONGEST),
            bins=bins,
            weights=_percent(theirs),
            histtype="step",
            color=HUMAN,
            linewidth=2,
            label=f"people in ESConv (median {statistics.median(theirs):.0f})",
        )
    elif language == "en":
        words = reference()["words"]
        for name, dashes in (("p10", ":"), ("p50", "-"), ("p90", "--")):
            axes.axvline(
                words[name],
                color=HUMAN,
                linestyle=dashes,
                label=f"ESConv, one message: {_quantile(name)} {words[name]}",
            )
    axes.set_title("How much users write", loc="left")
    axes.set_xlabel(f"{unit} a turn")
    axes.set_ylabel("Turns (%)")
    axes.set_xlim(0, LONGEST + BIN)
    axes.set_xticks(range(0, LONGEST + 1, 20))
    axes.set_xticklabels([*map(str, range(0, LONGEST, 20)), f"{LONGEST}+"])
    axes.margins(y=0.3)
    axes.legend(loc="upper right", framealpha=1, edgecolor="none")


def _emotion(axes: Any, talks: Sequence[Talk]) -> None:
    axes.set_title("How the emotion goes, conversation by conversation", loc="left")
    inner = [talk.inner for talk in talks if talk.inner is not None]
    if not inner:
        _unknown(axes)
        return
    longest = max(len(talk.emotion) for talk in inner)
    spread = np.linspace(-0.12, 0.12, len(inner)) if len(inner) > 1 else np.zeros(1)
    for talk, offset in zip(inner, spread, strict=True):
        if not talk.emotion:
            continue  # broke before a word
        turns = np.arange(len(talk.emotion)) + offset  # else many lie on one another
        colour, marker = COLOURS[talk.ending], MARKERS[talk.ending]
        axes.plot(turns, talk.emotion, color=colour, lw=0.9, alpha=0.55)
        axes.plot(turns[-1], talk.emotion[-1], marker, color=colour, ms=5, mec="white", mew=0.5)
    for ending in Ending:
        if any(talk.ending is ending for talk in inner):
            label = MEANINGS[ending].replace("\n", " ")
            axes.plot([], [], MARKERS[ending], ls="-", color=COLOURS[ending], label=label)
    told = [talk.emotion for talk in inner if talk.ending.is_scored]
    if told:
        kept = np.array([(*path, *[path[-1]] * (longest - len(path))) for path in told])
        label = "mean (those who left, as they left)"
        axes.plot(range(longest), kept.mean(axis=0), color=HUMAN, lw=3.5, label=label)
    axes.set_xlabel("Replies of the supporter so far")
    axes.set_ylabel("Intensity of the emotion (1 faint, 5 strongest)")
    axes.set_ylim(0.2, 5.2)
    axes.set_yticks(range(1, 6))
    axes.set_xticks(range(longest))
    axes.legend(frameon=False, loc="lower left", ncols=2, fontsize=9)


def _endings(axes: Any, talks: Sequence[Talk]) -> None:
    axes.set_title("How conversations end", loc="left")
    ends = [talk.inner.ending for talk in talks if talk.inner is not None]
    if not ends:
        _unknown(axes)
        return
    counts = [ends.count(ending) for ending in Ending]
    names = [MEANINGS[ending] for ending in Ending]
    bars = axes.bar(names, counts, color=[COLOURS[ending] for ending in Ending])
    axes.bar_label(bars, [f"{n} ({n / len(ends):.0%})" if n else "0" for n in counts], padding=2)
    axes.set_ylabel("Conversations")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.12)


def _relief(axes: Any, talks: Sequence[Talk]) -> None:
    axes.set_title("Who was helped, and who was not", loc="left")
    by_person: dict[str, list[float]] = {}
    for talk in talks:
        if talk.inner is not None and talk.inner.ending.is_scored:
            by_person.setdefault(talk.inner.persona, []).append(talk.inner.relief)
    if not by_person:
        _unknown(axes)
        return
    means = {person: statistics.fmean(reliefs) for person, reliefs in by_person.items()}
    ranked = sorted(means, key=lambda person: (means[person], person))
    values = [means[person] for person in ranked]
    n_worse = sum(value <= 0 for value in values)  # those stand first
    for start, end, what, colour, hatch in (
        (0, n_worse, "same or worse", NOT_HELPED, "//"),
        (n_worse, len(values), "better", HELPED, None),
    ):
        axes.bar(
            range(start, end),
            values[start:end],
            color=colour,
            hatch=hatch,
            edgecolor="white",
            width=0.9,
            label=f"{what}: {end - start} of {len(values)}" if end > start else None,
        )
    relief = reference()["relief"]
    for what, value, dashes in (
        ("people in ESConv, mean", relief["mean"], "--"),
        ("people in FailedESConv, mean", relief["failed"], ":"),
    ):
        axes.axhline(value, color=HUMAN, linestyle=dashes, lw=1.5, label=f"{what} {value:g}")
    axes.axhline(0, color=HUMAN, lw=0.8)
    axes.set_ylim(min(-0.5, *values) * 1.1, max(2.2, *values) * 1.45)
    axes.set_ylabel("Relief: fall of the intensity (points)")
    axes.set_xlabel("People, the least helped first")
    n = len(ranked)
    named = range(n) if n <= PERSON_NAMES else [*range(NAMED), *range(n - NAMED, n)]
    axes.set_xticks(list(named), [ranked[i] for i in named], rotation=90, fontsize=8)
    axes.set_xlim(-1, n)
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=9)


def _unknown(axes: Any) -> None:
    axes.text(0.5, 0.5, "not known:\nthe log holds only words", ha="center", va="center")
    axes.set_axis_off()


def _lengths(talks: Sequence[Talk]) -> list[int]:
    return [len(word_texts(text)) for talk in talks for text in talk.user]


def _percent(values: Sequence[int]) -> "np.ndarray[Any, Any]":
    return np.full(len(values), 100 / max(1, len(values)))


def _quantile(name: str) -> str:
    return {"p10": "10% below", "p50": "median", "p90": "90% below"}[name]
