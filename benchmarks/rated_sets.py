"""The published sets of ratings: Lend an Ear, and the seeker feedback of ESConv.

Lend an Ear (arXiv 2506.10150, MIT): 50 conversations in which people comforted a seeker, rated by
three experts, a crowd and three language models in six dimensions.

ESConv (CC BY-NC 4.0): while talking, seekers rated how helpful the supporter was, 1 to 5, every two
supporter turns or so. An item is the dialogue up to and including the last supporter turn that a
rating follows, so the rating is also of the turn before. In `FailedESConv` the ratings stand in the
dialogues; for the others they come as a file of their own, by index into the dialogues.

Contact details are left out. Chatter about the collection task stays: seekers rated it too.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.chatter import CONTACT_DETAILS, first_match
from benchmarks.cleaning import Utterance, detect_language, normalise_text
from benchmarks.csv_rows import read_csv
from benchmarks.dialogues import Turn
from benchmarks.esconv import raw_dialogue
from benchmarks.jsonl import Row, read_rows
from benchmarks.ratings import (
    LEVELS,
    RatedItem,
    RatedSet,
    Scores,
    files_hash,
    messages_of,
    parse_conversation,
    rating_of,
)

LEND_AN_EAR_DIMENSIONS: Final = (
    "validating_emotions",
    "encouraging_elaboration",
    "demonstrating_understanding",
    "advice_giving",
    "self_oriented",
    "dismissing_emotions",
)
EXPERTS: Final = ("expert1", "expert2", "expert3")
STORED_JUDGES: Final = ("gpt", "claude", "gemini")
"""GPT-4o, Claude 3.7 Sonnet, Gemini 2.5 Pro."""
CROWD: Final = "crowd"

HELPFUL: Final = "helpful"
SEEKER: Final = "seeker"

NO_SUPPORTER: Final = "no_supporter_before"
SAME_REPLY: Final = "reply_rated_before"
"""Two ratings with no supporter utterance between them; the first one counts."""
HAS_CONTACT_DETAILS: Final = "contact_details"


def load_lend_an_ear(folder: Path) -> RatedSet:
    """Load `sample_lend_an_ear_conversations.csv` and `ratings/NAME_ratings.csv` of a folder."""
    text_file = folder / "sample_lend_an_ear_conversations.csv"
    rows = {row.text("conversation_id"): row for row in read_csv(text_file)}
    names = (*EXPERTS, *STORED_JUDGES, CROWD)
    files = {name: folder / "ratings" / f"{name}_ratings.csv" for name in names}
    scores = {name: _scores(file, rows.keys()) for name, file in files.items()}
    return RatedSet(
        name="lend-an-ear",
        about="conversation",
        items=tuple(_conversation(key, row, scores) for key, row in rows.items()),
        dimensions=LEND_AN_EAR_DIMENSIONS,
        levels=LEVELS,
        raters=EXPERTS,
        stored={name: scores[name] for name in STORED_JUDGES},
        group_means={CROWD: scores[CROWD]},
        skipped={},
        hash=files_hash([text_file, *files.values()]),
    )


def load_esconv_feedback(folder: Path) -> RatedSet:
    """Load `valid.jsonl` and `seeker_feedback_valid.jsonl` of a folder."""
    dialogues_file, feedback_file = folder / "valid.jsonl", folder / "seeker_feedback_valid.jsonl"
    dialogues = read_rows(dialogues_file)
    feedback: dict[int, list[_Feedback]] = {}
    for row in read_rows(feedback_file):
        index = _dialogue_index(row, len(dialogues))
        feedback.setdefault(index, []).append(_file_feedback(row, dialogues[index]))
    rated = [(f"esconv-valid-{i}", dialogues[i], feedback[i]) for i in sorted(feedback)]
    return _feedback_set("esconv", rated, [dialogues_file, feedback_file])


def load_failed_esconv(path: Path) -> RatedSet:
    """Load `FailedESConv_half.json`, or the folder that holds it."""
    file = path / "FailedESConv_half.json" if path.is_dir() else path
    rated = [
        (f"failed-esconv-{index}", row, list(_inner_feedback(row)))
        for index, row in enumerate(read_rows(file))
    ]
    return _feedback_set("failed-esconv", rated, [file])


class _Feedback(NamedTuple):
    """A rating, and the supporter utterance that it follows (None: there is none)."""

    rating: float
    utterance: int | None


def _scores(file: Path, known: Collection[str]) -> Scores:
    """The ratings of one rater, by dimension and conversation."""
    scores: Scores = {dimension: {} for dimension in LEND_AN_EAR_DIMENSIONS}
    for row in read_csv(file):
        conversation = row.text("conversation_id")
        if conversation not in known:
            what = f"'{conversation}' is none of the {len(known)} conversations"
            raise row.error("conversation_id", what, "take all files from the same release")
        if any(conversation in given for given in scores.values()):
            raise row.error("conversation_id", f"'{conversation}' again", "keep one of the rows")
        for dimension, given in scores.items():
            rating = rating_of(row, dimension, LEVELS)
            if rating is not None:
                given[conversation] = rating
    return scores


def _conversation(key: str, row: Row, scores: Mapping[str, Scores]) -> RatedItem:
    turns = parse_conversation(row, "full_conversation")
    language = detect_language(turn.text for turn in turns)
    ratings = {
        dimension: {
            expert: scores[expert][dimension][key]
            for expert in EXPERTS
            if key in scores[expert][dimension]
        }
        for dimension in LEND_AN_EAR_DIMENSIONS
    }
    return RatedItem(
        id=key,
        conversation=key,
        language=language,
        messages=messages_of(turns, language),
        ratings=ratings,
    )


def _feedback_set(
    name: str, rated: Iterable[tuple[str, Row, Sequence[_Feedback]]], files: Sequence[Path]
) -> RatedSet:
    """One item a rating; `rated` has dialogue id, dialogue and ratings in order."""
    items: list[RatedItem] = []
    skipped: Counter[str] = Counter()
    for dialogue_id, row, feedback in rated:
        seen: set[int] = set()
        utterances = raw_dialogue(row, None).utterances
        for rating, utterance in feedback:
            if utterance is None:
                skipped[NO_SUPPORTER] += 1
            elif utterance in seen:
                skipped[SAME_REPLY] += 1
            elif first_match(CONTACT_DETAILS, utterances[utterance].text):
                skipped[HAS_CONTACT_DETAILS] += 1
            else:
                seen.add(utterance)
                items.append(_reply(dialogue_id, utterances[: utterance + 1], rating))
    return RatedSet(
        name=name,
        about="reply",
        items=tuple(items),
        dimensions=(HELPFUL,),
        levels=LEVELS,
        raters=(SEEKER,),
        stored={},
        group_means={},
        skipped=dict(skipped),
        hash=files_hash(files),
    )


def _reply(dialogue_id: str, utterances: Sequence[Utterance], rating: float) -> RatedItem:
    """The dialogue that ends with the rated utterance."""
    texts = [normalise_text(item.text, "en") for item in utterances]
    turns = [
        Turn(speaker=item.speaker, text=text)
        for item, text in zip(utterances, texts, strict=True)
        if item.speaker != "system" and text and not first_match(CONTACT_DETAILS, text)
    ]
    return RatedItem(
        id=f"{dialogue_id}-{len(utterances) - 1}",
        conversation=dialogue_id,
        language="en",
        messages=messages_of(turns, "en"),
        ratings={HELPFUL: {SEEKER: rating}},
    )


def _file_feedback(row: Row, dialogue: Row) -> _Feedback:
    """A rating of the feedback file; the spans before it are `[first, last]` utterance indices."""
    field = "preceding_supporter_utterances"
    spans = row.fields.get(field)
    if not isinstance(spans, list):
        raise row.error(field, "is no list", "give [[first, last], ...] utterance indices")
    rating = _level(row, "feedback")
    if not spans:
        return _Feedback(rating, None)
    items = dialogue.rows("dialog")
    last = spans[-1][-1] if isinstance(spans[-1], list) and spans[-1] else None
    if not isinstance(last, int) or not 0 <= last < len(items):
        fix = f"give [first, last] indices into the dialogue of {len(items)} utterances"
        raise row.error(field, f"ends with {spans[-1]}", fix)
    if items[last].text("speaker") != "sys":
        what = f"ends at utterance {last}, which is not the supporter's"
        raise row.error(field, what, "take both files from the same release")
    return _Feedback(rating, last)


def _inner_feedback(row: Row) -> Iterator[_Feedback]:
    """The ratings that stand on the seeker's utterances of one dialogue."""
    last = None
    for index, (item, utterance) in enumerate(
        zip(row.rows("dialog"), raw_dialogue(row, None).utterances, strict=True)
    ):
        if utterance.speaker == "supporter":
            last = index
        elif "feedback" in item.row("annotation").fields:
            yield _Feedback(_level(item.row("annotation"), "feedback"), last)


def _level(row: Row, field: str) -> float:
    """A whole number on the scale; ESConv writes it as a number or as text."""
    value = row.fields.get(field)
    if str(value) not in map(str, LEVELS):
        raise row.error(field, f"is {value!r}", f"use {LEVELS[0]} to {LEVELS[-1]}")
    return float(str(value))


def _dialogue_index(row: Row, n_dialogues: int) -> int:
    index = row.fields.get("dialog_index")
    if not isinstance(index, int) or not 0 <= index < n_dialogues:
        fix = f"give the index of one of the {n_dialogues} dialogues, from 0"
        raise row.error("dialog_index", f"is {index!r}", fix)
    return index
