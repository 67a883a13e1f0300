import base64
import csv
import hashlib
import io
import json
import os
import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser, ModelOutput
from inspect_ai.scorer import Score
from starlette.testclient import TestClient

from benchmarks.conversation import conversation_of
from benchmarks.errors import DataError
from benchmarks.judged import person_card
from benchmarks.persona import load_personas
from benchmarks.ratings import load_ratings_csv
from benchmarks.support import support
from benchmarks.talks import read_talks
from judges.rubric import load_rubric
from selfevo.annotate import annotate
from selfevo.annotate_items import BROKEN, NO_CARD, SILENT, read_items, shuffled
from selfevo.annotate_labels import Label, LabelFile, export_csv, parse_labels, read_labels
from selfevo.annotate_page import HEADERS, MAX_BODY, Desk, make_app
from selfevo.errors import SelfevoError, UsageError
from tests.benchmarks.fakes import answering, output, run
from tests.benchmarks.people import make_strangers, make_zh_row, write_people

from .desk import RATER, SEED, at_desk, program, submission, talked, write_rubric

TOKEN = "t0ken"
AT = f"/{TOKEN}"
LOOPBACK = "http://127.0.0.1"
GOOD = {"warmth": 2, "fit": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("annotate")


@pytest.fixture(scope="module")
def people(folder: Path) -> Path:
    return write_people(folder / "people.jsonl", make_strangers(3))


@pytest.fixture(scope="module")
def logs(people: Path, folder: Path) -> list[Path]:
    return [talked(people, f"control/{name}", folder / name) for name in ("stock", "hostile")]


@pytest.fixture(scope="module")
def ordinal(folder: Path) -> Path:
    return write_rubric(folder / "ordinal.yaml", "ordinal")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "labels.jsonl"


@pytest.fixture
def desk(logs: list[Path], ordinal: Path, out: Path) -> Iterator[Desk]:
    with at_desk(logs, ordinal, out) as desk:
        yield desk


@pytest.fixture
def page(desk: Desk) -> TestClient:
    return TestClient(make_app(desk, TOKEN), base_url=LOOPBACK)


def send(page: TestClient, desk: Desk, number: int, answers: dict[str, Any], **changes: Any) -> Any:
    body = submission(desk.items[number], answers, **changes)
    return page.post(f"{AT}/items/{number}", json=body)


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def everything(page: TestClient, desk: Desk) -> str:
    """All that reaches a browser, headers included."""
    paths = ["/", "/overview", "/labels.csv", *(f"/items/{n}" for n in range(len(desk.items)))]
    answers = [page.get(AT + path) for path in paths]
    assert all(answer.status_code == 200 for answer in answers)
    return "\n".join(f"{answer.headers}\n{answer.text}" for answer in answers)


# ---- what is rated


def test_the_words_of_every_conversation_are_there(logs: list[Path], ordinal: Path) -> None:
    found = read_items(logs, str(ordinal))
    talks = [talk for log in logs for talk in read_talks(log).talks]
    assert len(found.items) == len(talks) == 6
    assert found.left_out == {}
    for item, talk in zip(found.items, talks, strict=True):
        assert f"{item.sample}-{item.epoch}" == talk.id
        said = [turn.text for turn in item.material.turns if turn.speaker == "person"]
        assert tuple(said) == talk.user
        assert item.material.replies() == talk.supporter
        assert item.text.startswith(f"Seeker: {talk.user[0]}\nSupporter: {talk.supporter[0]}\n")
    assert [item.log for item in found.items] == [
        hashlib.sha256(log.read_bytes()).hexdigest() for log in logs for _ in range(3)
    ]


def test_ids_are_opaque_and_persons_are_shared(logs: list[Path], ordinal: Path) -> None:
    items = read_items(logs, str(ordinal)).items
    assert len({item.id for item in items}) == 6
    assert all(re.fullmatch(r"[0-9a-f]{16}", id) for item in items for id in (item.id, item.person))
    assert [item.person for item in items[:3]] == [item.person for item in items[3:]]
    assert len({item.person for item in items}) == 3


def test_an_item_knows_the_persona_that_its_log_names(
    logs: list[Path], people: Path, ordinal: Path
) -> None:
    items = read_items(logs, str(ordinal)).items
    assert [item.persona for item in items] == [person.id for person in load_personas(people)] * 2


def test_a_log_given_twice_or_scored_again_holds_the_same_items(
    logs: list[Path], ordinal: Path, tmp_path: Path
) -> None:
    scored = tmp_path / "scored.eval"
    log = read_eval_log(str(logs[0]))
    for sample in log.samples or []:
        sample.scores = {"late": Score(value=1)}
    write_eval_log(log, str(scored))
    before = [item.id for item in read_items(logs, str(ordinal)).items]
    after = read_items([*logs, logs[0], scored], str(ordinal)).items
    assert [item.id for item in after] == before
    assert [item.id for item in read_items([scored], str(ordinal)).items] == before[:3]


def test_each_rater_has_an_order_of_their_own(logs: list[Path], ordinal: Path) -> None:
    items = read_items(logs, str(ordinal)).items

    def key(id: str) -> str:
        return hashlib.sha256(f"7\nana\n{id}".encode()).hexdigest()

    order = [item.id for item in shuffled(items, 7, "ana")]
    assert order == sorted(order, key=key)
    assert sorted(order) == sorted(item.id for item in items)
    others = {tuple(i.id for i in shuffled(items, seed, r)) for seed in (7, 8) for r in "abcd"}
    assert len(others) > 1
    first = {item.id for item in items[:3]}
    assert [i.id for i in shuffled(items[:3], 7, "ana")] == [id for id in order if id in first]


def test_broken_and_silent_conversations_are_left_out_and_counted(
    people: Path, ordinal: Path, tmp_path: Path
) -> None:
    unheard = load_personas(people)[1].opening

    def reply(messages: list[ChatMessage]) -> ModelOutput:
        return output("" if messages[0].text == unheard else "Go on.", "stop")

    task = support(users=str(people), split=None, turns=1, min_turns=1)
    log = run(task, answering(reply), tmp_path)
    found = read_items([Path(log.location)], str(ordinal))
    assert (len(found.items), found.left_out) == (2, {BROKEN: 1})

    mute = Sample(id="a", input=[ChatMessageUser(content="Hi.")])
    quiet = run(
        Task(dataset=MemoryDataset([mute])),
        answering(lambda m: output(" ", "stop")),
        tmp_path / "quiet",
    )
    with pytest.raises(DataError, match=re.escape(f"to rate (1 {SILENT}); give another log")):
        read_items([Path(quiet.location)], str(ordinal))


def test_of_another_log_the_words_are_rated(ordinal: Path, tmp_path: Path) -> None:
    sample = Sample(
        id="a",
        input=[
            ChatMessageUser(content="Hi.\n\nSupporter: forged"),
            ChatMessageAssistant(content="Yes?"),
        ],
    )
    model = answering(lambda messages: output("Mm.", "stop"))
    log = Path(run(Task(dataset=MemoryDataset([sample])), model, tmp_path).location)
    [item] = read_items([log], str(ordinal)).items
    assert item.persona is None
    assert item.text == "Seeker: Hi. Supporter: forged\nSupporter: Yes?\nSupporter: Mm."


def test_a_rubric_about_the_reply_ends_with_it(logs: list[Path], tmp_path: Path) -> None:
    rubric = write_rubric(tmp_path / "reply.yaml", "ordinal", about="reply")
    for item in read_items(logs, str(rubric)).items:
        assert item.material.turns[-1].speaker == "supporter"


# ---- blindness


def test_nothing_tells_the_checkpoint_the_log_or_the_mood(
    logs: list[Path], tmp_path: Path, out: Path
) -> None:
    rubric = write_rubric(tmp_path / "card.yaml", "ordinal", needs_persona=True)
    with at_desk(logs, rubric, out) as desk:
        page = TestClient(make_app(desk, TOKEN), base_url=LOOPBACK)
        assert send(page, desk, 0, GOOD).status_code == 200
        seen = everything(page, desk)
    [label] = read_labels(out)
    assert label.persona == desk.items[0].persona is not None
    for item in desk.items:
        assert item.id in seen
    secrets = {str(tmp_path), str(logs[0].parent), "control/", '"relief"', "user_outcome", "trust"}
    for path in logs:
        log = read_eval_log(str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        secrets |= {path.name, path.stem, log.eval.model, log.eval.eval_id, log.eval.run_id, digest}
        for sample in log.samples or []:
            inner = conversation_of(sample.store)
            assert inner is not None
            secrets |= {str(sample.id), sample.uuid or "", inner.ending.value}
            secrets |= {sample.metadata["persona"]}
            secrets |= {turn.appraisal.reason for turn in inner.turns if turn.appraisal}
            secrets |= {f"{turn.mood.intensity}" for turn in inner.turns if turn.mood.intensity % 1}
    assert len(secrets) > 20
    assert {secret for secret in secrets if secret in seen} == set()


def test_the_card_is_shown_where_the_rubric_needs_it(
    logs: list[Path], people: Path, tmp_path: Path
) -> None:
    for number, (needs, show) in enumerate([(True, True), (True, False), (False, True)]):
        rubric = write_rubric(tmp_path / "r.yaml", "ordinal", needs_persona=needs)
        out = tmp_path / f"{number}.jsonl"
        with at_desk(logs, rubric, out, show_card=show) as desk:
            page = TestClient(make_app(desk, TOKEN), base_url=LOOPBACK)
            shown = [page.get(f"{AT}/items/{n}").json()["card"] for n in range(6)]
            send(page, desk, 0, GOOD)
        [label] = read_labels(out)
        assert label.saw_card is (needs and show)
        if not (needs and show):
            assert shown == [None] * 6
            continue
        cards = {person.id: person_card(person) for person in load_personas(people)}
        for item, card in zip(desk.items, shown, strict=True):
            known = cards[item.sample]
            assert card == {
                "profile": known.profile,
                "emotion": "shame",
                "situation": known.situation,
                "need": known.need,
                "helps": [wish.text for wish in known.wishes if wish.is_wanted],
                "hurts": [wish.text for wish in known.wishes if not wish.is_wanted],
            }
            assert card["helps"][1] == "putting her muddle into two plain sentences"


def test_preferences_are_asked_one_by_one(logs: list[Path], tmp_path: Path, out: Path) -> None:
    rubric = write_rubric(tmp_path / "p.yaml", "preferences")
    names = ["helps_1", "helps_2", "hurts_1", "hurts_2"]
    with at_desk(logs, rubric, out, show_card=False) as desk:
        page = TestClient(make_app(desk, TOKEN), base_url=LOOPBACK)
        shown = page.get(f"{AT}/items/0").json()
        answers = dict(zip(names, [1, 0, -1, "does not apply"], strict=True))
        assert send(page, desk, 0, answers).status_code == 200
    assert shown["card"] is None
    assert [question["name"] for question in shown["questions"]] == names
    assert "putting her muddle into two plain sentences" in shown["questions"][1]["question"]
    assert [level["value"] for level in shown["questions"][0]["levels"]] == [-1, 0, 1]
    [label] = read_labels(out)
    assert label.values == {"helps_1": 1, "helps_2": 0, "hurts_1": -1, "hurts_2": None}
    assert label.missing == {"hurts_2": "does not apply"}


def test_people_without_a_card_are_left_out(
    logs: list[Path], people: Path, ordinal: Path, tmp_path: Path
) -> None:
    rubric = write_rubric(tmp_path / "card.yaml", "ordinal", needs_persona=True)
    one = write_people(tmp_path / "one.jsonl", make_strangers(1))
    found = read_items(logs, str(rubric), one)
    assert (len(found.items), found.left_out) == (2, {NO_CARD: 4})
    nobody = write_people(tmp_path / "nobody.jsonl", make_strangers(1, start=9))
    with pytest.raises(DataError, match=r"\(6 are of people whose card is not known\); give the"):
        read_items(logs, str(rubric), nobody)
    assert len(read_items(logs, str(ordinal), nobody).items) == 6


# ---- rating


def test_a_rating_is_stored_as_it_was_given(
    page: TestClient, desk: Desk, ordinal: Path, out: Path
) -> None:
    assert page.get(f"{AT}/overview").json()["rated"] == [False] * 6
    answer = send(page, desk, 2, GOOD, notes="  a note\n")
    assert answer.json() == {"rated": [False, False, True, False, False, False]}
    rubric, item = load_rubric(ordinal), desk.items[2]
    [label] = read_labels(out)
    assert datetime.now(UTC) - label.labelled_at < timedelta(minutes=1)
    assert label == Label(
        item=item.id,
        person=item.person,
        log=item.log,
        sample=item.sample,
        persona=item.sample,
        epoch=1,
        rubric="test_ordinal",
        rubric_version="1",
        rubric_hash=rubric.hash,
        rater=RATER,
        saw_card=False,
        values=GOOD,
        missing={},
        notes="a note",
        seconds=12.3,
        labelled_at=label.labelled_at,
        language="en",
        about="conversation",
        text=item.text,
    )
    assert page.get(f"{AT}/items/2").json()["label"] == {"answers": GOOD, "notes": "a note"}
    assert page.get(f"{AT}/items/1").json()["label"] is None


def test_starting_again_goes_on_where_it_was(
    logs: list[Path], ordinal: Path, desk: Desk, page: TestClient, out: Path
) -> None:
    send(page, desk, 0, GOOD)
    send(page, desk, 1, GOOD)
    desk.labels.__exit__(None, None, None)
    with at_desk(logs, ordinal, out) as again:
        assert again.rated == [True, True, False, False, False, False]
        assert [item.id for item in again.items] == [item.id for item in desk.items]
        fresh = TestClient(make_app(again, TOKEN), base_url=LOOPBACK)
        assert fresh.get(f"{AT}/items/0").json()["label"]["answers"] == GOOD
        send(fresh, again, 2, GOOD)
    assert [label.item for label in read_labels(out)] == [item.id for item in desk.items[:3]]


def test_a_second_rating_counts_and_the_first_stays(
    page: TestClient, desk: Desk, out: Path
) -> None:
    news = []
    desk._on_new = lambda: news.append(1)
    for value in (1, 3):
        send(page, desk, 0, {"warmth": value, "fit": 1})
    assert [label.values["warmth"] for label in read_labels(out)] == [1, 3]
    assert page.get(f"{AT}/items/0").json()["label"]["answers"]["warmth"] == 3
    [row] = rows(page.get(f"{AT}/labels.csv").text)
    assert row["warmth"] == "3"
    assert news == [1]


def test_what_cannot_be_told_is_no_number(page: TestClient, desk: Desk, out: Path) -> None:
    given = {"warmth": "cannot tell", "fit": "does not apply"}
    assert send(page, desk, 0, given).status_code == 200
    [label] = read_labels(out)
    assert label.values == {"warmth": None, "fit": None}
    assert label.missing == given
    assert page.get(f"{AT}/items/0").json()["label"]["answers"] == given
    export_csv(out, out.with_suffix(".csv"))
    [row] = rows(out.with_suffix(".csv").read_text("utf-8"))
    assert (row["warmth"], row["fit"]) == ("", "")


@pytest.mark.parametrize(
    ("answers", "changes", "said"),
    [
        ({"warmth": 2}, {}, "'fit' is not answered"),
        ({**GOOD, "warmth": 9}, {}, "'warmth' has no level 9"),
        ({**GOOD, "warmth": "does not apply"}, {}, "'warmth' always applies"),
        ({**GOOD, "other": 1}, {}, "'other' was not asked"),
        (GOOD, {"item": "0" * 16}, "this is another conversation than the page shows"),
        ({**GOOD, "warmth": True}, {}, "answers.warmth"),
        ({**GOOD, "warmth": 2.0}, {}, "answers.warmth"),
        ({**GOOD, "warmth": "2"}, {}, "answers.warmth"),
        ({**GOOD, "warmth": None}, {}, "answers.warmth"),
        (GOOD, {"seconds": -1}, "seconds"),
        (GOOD, {"notes": "x" * 4001}, "notes"),
        (GOOD, {"rater": "eve"}, "rater"),
    ],
)
def test_what_is_no_rating_is_refused(
    page: TestClient, desk: Desk, out: Path, answers: Any, changes: Any, said: str
) -> None:
    answer = send(page, desk, 0, answers, **changes)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(said)
    assert "\n" not in answer.json()["error"]
    assert not out.exists()


def test_requests_that_are_no_submission_are_refused(page: TestClient, desk: Desk) -> None:
    kind = {"content-type": "application/json"}
    long = b" " * (MAX_BODY + 1)
    body = submission(desk.items[0], GOOD)
    assert page.post(f"{AT}/items/0", content=b"{", headers=kind).status_code == 422
    assert page.post(f"{AT}/items/0", content=long, headers=kind).status_code == 413
    assert page.post(f"{AT}/items/0", data={"item": "x"}).status_code == 415
    assert page.post(f"{AT}/items/6", json=body).status_code == 404
    assert page.get(f"{AT}/items/6").status_code == 404
    assert page.get(f"{AT}/items/-1").status_code == 404
    assert page.get(f"{AT}/labels.csv").status_code == 404


def test_a_rating_that_cannot_be_written_is_none(
    page: TestClient, desk: Desk, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(page, desk, 0, GOOD)
    before = out.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = send(page, desk, 1, GOOD)
    assert answer.status_code == 507
    assert answer.json()["error"].startswith("not saved: labels.jsonl: No space left on device")
    assert out.read_bytes() == before
    assert desk.rated == [True, False, False, False, False, False]
    assert send(page, desk, 1, GOOD).status_code == 200
    assert len(read_labels(out)) == 2


# ---- the file


@pytest.fixture
def three(page: TestClient, desk: Desk, out: Path) -> bytes:
    for number in range(3):
        send(page, desk, number, GOOD, notes="说了 “so”")
    desk.labels.__exit__(None, None, None)
    return out.read_bytes()


def test_a_file_cut_anywhere_gives_its_whole_lines(three: bytes, out: Path) -> None:
    ends = [n for n in range(len(three)) if three[n : n + 1] == b"\n"]
    whole = parse_labels(three, out)
    for cut in range(len(three) + 1):
        n = sum(end <= cut for end in ends)  # a line that lacks only its end is whole
        assert parse_labels(three[:cut], out) == whole[:n]


@pytest.mark.parametrize("cut", [1, 2, 200])
def test_a_cut_file_is_gone_on_with(
    three: bytes, desk: Desk, ordinal: Path, out: Path, cut: int, caplog: Any
) -> None:
    out.write_bytes(three[:-cut])
    whole = parse_labels(three, out)
    with LabelFile(out, load_rubric(ordinal), RATER) as labels:
        labels.append(whole[0])
    is_cut = cut > 1
    assert read_labels(out) == [*whole[: 2 if is_cut else 3], whole[0]]
    said = f"{out}:3: half-written last line dropped"
    assert [record.getMessage() for record in caplog.records] == ([said] if is_cut else [])


def test_a_broken_line_elsewhere_is_named(three: bytes, ordinal: Path, out: Path) -> None:
    first, rest = three.split(b"\n", 1)
    for broken in (first[:-20], first.replace(b'"fit":3', b'"fit":null'), b""):
        out.write_bytes(broken + b"\n" + rest)
        with pytest.raises(DataError, match=r"labels\.jsonl:1: .*; restore the line, or remove it"):
            LabelFile(out, load_rubric(ordinal), RATER).__enter__()
    out.write_bytes(three)
    with LabelFile(out, load_rubric(ordinal), RATER) as labels:  # the lock was given back
        assert len(labels.labels) == 3


def test_a_file_of_another_rater_or_rubric_is_refused(
    three: bytes, ordinal: Path, out: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r":1: is rated by 'ana', not by 'bo'; give each rater"):
        LabelFile(out, load_rubric(ordinal), "bo").__enter__()
    changed = load_rubric(write_rubric(tmp_path / "r.yaml", "ordinal", instructions="Else."))
    with pytest.raises(DataError, match=r":1: is rated by rubric 'test_ordinal' 1 \(.*\), not by"):
        LabelFile(out, changed, RATER).__enter__()
    assert out.read_bytes() == three


def test_one_program_at_a_time_has_the_file(desk: Desk, ordinal: Path, out: Path) -> None:
    with pytest.raises(SelfevoError, match=r"labels\.jsonl: another program is writing it; stop"):
        LabelFile(out, load_rubric(ordinal), RATER).__enter__()


def test_the_csv_is_read_as_ratings(
    page: TestClient, desk: Desk, out: Path, logs: list[Path]
) -> None:
    for number, fit in enumerate([1, 2, 3, "cannot tell"]):
        send(page, desk, number, {"warmth": 2, "fit": fit})
    written = out.with_name("elsewhere.csv")
    export_csv(out, written)
    header = "id,conversation_id,rater,language,warmth,fit,full_conversation"
    offered = page.get(f"{AT}/labels.csv").text
    assert offered.splitlines()[0] == header
    assert written.read_text("utf-8").splitlines()[0] == f"{header},persona"
    kept = [
        {name: cell for name, cell in row.items() if name != "persona"}
        for row in rows(written.read_text("utf-8"))
    ]
    assert kept == rows(offered)
    rated = load_ratings_csv(written, levels=(1, 2, 3))
    items = desk.items[:4]
    assert (rated.dimensions, rated.raters) == (("warmth", "fit"), (RATER,))
    assert rated.about == "conversation"
    assert rated.by_rater("fit") == {RATER: {items[n].id: n + 1 for n in range(3)}}
    assert set(rated.by_rater("warmth")[RATER]) == {item.id for item in items}
    assert rated.clusters() == {item.id: item.person for item in items}
    assert [item.persona for item in rated.items] == [item.persona for item in items]
    assert None not in {item.persona for item in items}
    for item, read in zip(items, rated.items, strict=True):
        said = [turn.text for turn in item.material.turns if turn.speaker == "supporter"]
        assert [m.content for m in read.messages if m.role == "assistant"] == said


def test_labels_without_a_persona_are_read_and_leave_its_cell_empty(
    three: bytes, out: Path
) -> None:
    lines = [json.loads(line) for line in three.splitlines()]
    for line in lines:
        del line["persona"]
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert [label.persona for label in read_labels(out)] == [None] * 3
    export_csv(out, out.with_suffix(".csv"))
    assert [row["persona"] for row in rows(out.with_suffix(".csv").read_text("utf-8"))] == [""] * 3
    assert {item.persona for item in load_ratings_csv(out.with_suffix(".csv")).items} == {None}


def test_the_csv_of_rated_replies_ends_with_the_reply(
    logs: list[Path], tmp_path: Path, out: Path
) -> None:
    rubric = write_rubric(tmp_path / "reply.yaml", "ordinal", about="reply")
    with at_desk(logs, rubric, out) as desk:
        send(TestClient(make_app(desk, TOKEN), base_url=LOOPBACK), desk, 0, GOOD)
    export_csv(out, out.with_suffix(".csv"))
    rated = load_ratings_csv(out.with_suffix(".csv"))
    [item] = rated.items
    assert rated.about == "reply"
    assert item.messages[-1].content == desk.items[0].material.replies()[-1]


def test_without_labels_there_is_no_csv(out: Path) -> None:
    with pytest.raises(DataError, match=r"no such file; check the path of the labels"):
        export_csv(out, out.with_suffix(".csv"))
    out.touch()
    with pytest.raises(DataError, match=r"holds no labels; rate a conversation first"):
        export_csv(out, out.with_suffix(".csv"))
    assert not out.with_suffix(".csv").exists()


# ---- who may ask


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8123", 200),
        ("localhost:8123", 200),
        ("[::1]:8123", 200),
        ("[::1]", 200),
        ("evil.example", 421),
        ("evil.example:8123", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example:80", 421),
        ("", 421),
    ],
)
def test_only_loopback_names_are_answered(page: TestClient, host: str, status: int) -> None:
    answer = page.get(f"{AT}/overview", headers={"host": host})
    assert answer.status_code == status
    assert ("rated" in answer.text) is (status == 200)


@pytest.mark.parametrize("path", ["/", "/overview", "/wrong/overview", "/items/0", "/t0ken2/"])
def test_without_the_token_there_is_nothing(page: TestClient, path: str) -> None:
    assert page.get(path).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1"}, 200),
        ({"origin": "http://127.0.0.1", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_a_rating_comes_from_the_page_itself(
    page: TestClient, desk: Desk, out: Path, headers: dict[str, str], status: int
) -> None:
    body = submission(desk.items[0], GOOD)
    assert page.post(f"{AT}/items/0", json=body, headers=headers).status_code == status
    assert out.exists() is (status == 200)


def test_the_page_loads_nothing_and_its_policy_forbids_it(page: TestClient) -> None:
    answer = page.get(f"{AT}/")
    policy = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in str(policy)
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        [inline] = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert policy[rule] == f"'sha256-{digest}'"
    linked = re.findall(r"""(?:src|href)=["']([^"']*)""", answer.text)
    assert [link for link in linked if not link.startswith("data:")] == ["labels.csv"] * 2
    assert not re.search(r"@import|url\(|innerHTML|insertAdjacentHTML|eval\(| on\w+=", answer.text)
    for status, path in ((200, AT + "/"), (404, "/"), (200, f"{AT}/overview")):
        answer = page.get(path)
        assert answer.status_code == status
        assert answer.headers.items() >= HEADERS.items()
        assert "content-security-policy" in answer.headers


# ---- the command


def test_what_is_wrong_is_said_in_one_line(
    logs: list[Path], ordinal: Path, people: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "junk.eval").write_text("junk", encoding="utf-8")
    zh = write_people(tmp_path / "zh.jsonl", [make_zh_row()])
    chinese = talked(zh, "control/stock", tmp_path / "zh", language="zh")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for error, said, changes in (
            (DataError, "absent.eval: no such log; give", {"logs": [tmp_path / "absent.eval"]}),
            (DataError, "junk.eval: is no log of Inspect", {"logs": [tmp_path / "junk.eval"]}),
            (DataError, "logs: hold no conversation; give logs", {"logs": []}),
            (DataError, "hold conversations in en and zh; rate", {"logs": [*logs, chinese]}),
            (UsageError, "no shipped rubric 'nosuch'", {"rubric": "nosuch"}),
            (UsageError, "absent.yaml: no such file", {"rubric": str(tmp_path / "absent.yaml")}),
            (UsageError, "rater '' is no name", {"rater": ""}),
            (UsageError, "rater '=1+1' is no name", {"rater": "=1+1"}),
            (UsageError, "labels are JSON Lines; name the file x.jsonl", {"out": out / "x.csv"}),
            (UsageError, "port 70000 is none", {"port": 70000}),
            (SelfevoError, f"port {port}: address already in use; use another", {"port": port}),
        ):
            options: dict[str, Any] = {"logs": logs, "rubric": str(ordinal), "rater": RATER}
            with pytest.raises(error, match=re.escape(said)) as raised:
                annotate(**{**options, "out": out, **changes})
            assert "\n" not in str(raised.value)
    assert not out.exists()


def test_shipped_rubrics_are_found_in_the_language_of_the_log(
    logs: list[Path], tmp_path: Path
) -> None:
    zh = write_people(tmp_path / "zh.jsonl", [make_zh_row()])
    chinese = talked(zh, "control/stock", tmp_path / "zh", language="zh")
    for language, log in (("en", logs[0]), ("zh", chinese)):
        found = read_items([log], "personalization")
        assert found.rubric.language == language
        assert found.left_out == {}
        for item in found.items:
            assert [question.name for question in item.asked] == [
                criterion.name for criterion in found.rubric.criteria
            ]


def test_ctrl_c_stops_it_and_writes_the_csv(logs: list[Path], ordinal: Path, out: Path) -> None:
    items = shuffled(read_items(logs[:1], str(ordinal)).items, SEED, RATER)
    with program(logs[0], ordinal, out) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline().rstrip("\n") for _ in range(4)]
        assert lines[0] == "3 conversations, rubric test_ordinal 1, rater ana"
        assert lines[2] == f"labels    {out} (0 of 3 rated)"
        address = lines[1].removeprefix("open      ")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{22}/", address)
        request = urllib.request.Request(
            f"{address}items/0",
            json.dumps(submission(items[0], GOOD)).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"rated": [True, False, False]}
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
        assert running.wait(timeout=30) == 0
    assert rest == f"written: {out.with_suffix('.csv')} (1 of 3 rated)\n"
    [row] = rows(out.with_suffix(".csv").read_text("utf-8"))
    assert (row["id"], row["warmth"]) == (items[0].id, "2")
