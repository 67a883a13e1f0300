"""From real logs to records: what is in them, and which logs are refused."""

import hashlib
import json
import math
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model
from inspect_ai.scorer import includes

from benchmarks import logs as log_reading
from benchmarks.embedded_scorer import embedded_hash
from benchmarks.errors import DataError
from benchmarks.heldout import write_contexts
from benchmarks.logs import method_name, read_summaries
from benchmarks.pairwise import pairwise
from benchmarks.reply import reply
from benchmarks.support import support
from judges.rubric import load_rubric
from results.records import PreferenceRow, RunRecord, store_record
from selfevo.recording import load_record, preferences_of, record_of
from tests.benchmarks.fakes import fake, make_context, output, run
from tests.benchmarks.people import make_strangers, write_people
from tests.judges.bench import judge_by
from tests.selfevo.test_users_rank import HOSTILE, QUIET, SAID

FLUENCY = load_rubric("fluency")
CHECKPOINT = "c" * 64
LONG = "because of this and that " * 60
"""More than the summary of a log keeps."""
REMOVED = "Key removed from summary (> 1k)"
PLAIN = ("trust", "satisfied", "gave_up")
"""Measures beside relief that keep their name; the others of a conversation are `talk.*`."""

Say = Callable[[list[ChatMessage]], str]


class Logs(NamedTuple):
    folder: Path
    fickle: Path
    """Two conversations with each of four people, judged; three of eight break."""
    talks: Path
    """One conversation each, with a checkpoint that names itself."""
    replies: Path
    """Of the same checkpoint."""
    preferred: Path
    """`fickle` against `talks`."""
    foreign: Path


def model_saying(say: Say, checkpoint: Callable[[], str | None] = lambda: None) -> Model:
    def answer(messages: list[ChatMessage], *_: object) -> ModelOutput:
        made = output(say(messages), "stop")
        named = checkpoint()
        return made.model_copy(update={"metadata": {"checkpoint": named}}) if named else made

    return get_model("mockllm/m", custom_outputs=answer, memoize=False)


def talked(people: Path, model: Model, log_dir: Path, **arguments: Any) -> Path:
    roles = {k: v for k, v in arguments.items() if isinstance(v, Model)}
    given = {k: v for k, v in arguments.items() if k not in roles}
    task = support(users=str(people), split=None, turns=1, min_turns=1, **given)
    log = run(task, model, log_dir, **roles)
    assert log.status == "success", log.error
    return Path(log.location)


def fickle_supporter(ids: dict[str, str]) -> Model:
    """Quiet once; then hostile to the first, silent to the second; to the third silent at once."""
    later = {"en-s0": "hostile", "en-s1": "silent", "en-s2": "silent", "en-s3": "quiet"}
    n_calls: Counter[str] = Counter()

    def say(messages: list[ChatMessage]) -> str:
        person = ids[messages[0].text]
        n_calls[person] += 1
        is_first = n_calls[person] == 1 and person != "en-s2"
        return SAID["quiet" if is_first else later[person]]

    return model_saying(say)


def long_winded_judge(ids: dict[str, str]) -> Model:
    """Gives the first person 2, the second 3, ..."""

    def say(request: str) -> str:
        [person] = [person for opening, person in ids.items() if opening in request]
        said = SAID["hostile"] if SAID["hostile"] in request else SAID["quiet"]
        level = 2 + int(person.removeprefix("en-s"))
        entry = {"evidence": said, "reason": LONG, "level": level}
        return json.dumps({criterion.name: entry for criterion in FLUENCY.criteria})

    return judge_by(say).model


def judge_of_pairs() -> Model:
    """Prefers whoever asks about the boat, in either slot."""

    def say(request: str) -> str:
        first, second = (request.index(text) for text in (SAID["quiet"], "What about the boat"))
        quotes = (SAID["quiet"], "What about the boat")
        quotes = quotes if first < second else (quotes[1], quotes[0])
        return json.dumps(
            {
                "evidence_a": quotes[0],
                "evidence_b": quotes[1],
                "reason": LONG,
                "winner": "B" if first < second else "A",
                "margin": 1,
            }
        )

    return judge_by(say).model


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    folder = tmp_path_factory.mktemp("recorded")
    rows = make_strangers(4)
    people = write_people(folder / "people.jsonl", rows)
    ids = {row["opening"]: row["id"] for row in rows}
    fickle = talked(
        people,
        fickle_supporter(ids),
        folder / "fickle",
        epochs=2,
        rubrics="fluency",
        embedded=True,
        judge=long_winded_judge(ids),
    )
    kind = model_saying(lambda _: "What about the boat and the deposit?", lambda: CHECKPOINT)
    talks = talked(people, kind, folder / "talks")
    contexts = folder / "contexts.jsonl"
    words = [f"word{number}" for number in range(400)]  # contrasts of more than a thousand letters
    write_contexts(
        contexts,
        [
            make_context(person, "My dog ran away.", " ".join(words), turn=turn)
            for person in ("ann", "ben", "cai")
            for turn in (3, 5)
        ],
    )
    answered = run(
        reply(contexts=str(contexts), contrast=1),
        model_saying(lambda _: "Which dog is it?", lambda: CHECKPOINT),
        folder / "replies",
        reference=fake(lambda prefix, word: -1.0).model,
    )
    compared = run(
        pairwise(a=str(fickle), b=str(talks)),
        get_model("none/none"),
        folder / "preferred",
        judge=judge_of_pairs(),
    )
    foreign = run(
        Task([Sample("Is it?", target="Yes")], name="quiz", scorer=includes()),
        model_saying(lambda _: "Yes."),
        folder / "foreign",
    )
    return Logs(
        folder,
        fickle,
        talks,
        Path(answered.location),
        Path(compared.location),
        Path(foreign.location),
    )


@pytest.fixture(scope="module")
def fickle(logs: Logs) -> RunRecord:
    return load_record([logs.fickle])


def changed(path: Path, to: Path, change: Callable[[EvalLog], None]) -> Path:
    """A copy of a log with a change."""
    log = read_eval_log(str(path))
    change(log)
    write_eval_log(log, str(to))
    return to


def refused(*paths: Path) -> str:
    with pytest.raises(DataError) as error:
        load_record(paths)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is in a record.


def test_epochs_are_averaged_and_what_broke_is_counted(fickle: RunRecord) -> None:
    relief = fickle.measures["relief"]
    assert relief.values == {"en-s0": -0.408, "en-s1": -0.216, "en-s3": -0.216}
    assert relief.counts == {"en-s0": 2, "en-s1": 1, "en-s3": 2}
    assert relief.missing == {"en-s1": 1, "en-s2": 2}
    assert (relief.n_scored, relief.n_total) == (5, 8)
    # -0.216 and -0.6 vary by 0.0737, -0.216 and -0.216 by 0; en-s1 has one: 0.0737 / 2
    assert relief.within == round(0.384**2 / 2 / 2, 4) == 0.0369
    assert relief.scale == (-4.0, 4.0)


def test_outcomes_keep_their_names_and_the_replies_are_of_talk(fickle: RunRecord) -> None:
    both = {name: round((QUIET[name] + HOSTILE[name]) / 2, 4) for name in PLAIN}
    assert {name: fickle.measures[name].values["en-s0"] for name in PLAIN} == both
    assert fickle.measures["trust"].scale == (0.0, 1.0)
    assert fickle.measures["talk.length"].values["en-s3"] == 1.0
    assert fickle.measures["talk.length"].scale is None
    assert fickle.measures["talk.unsafe"].scale == (0.0, 1.0)
    assert "length" not in fickle.measures


def test_a_judges_headline_is_a_measure_though_its_words_are_cut(
    logs: Logs, fickle: RunRecord
) -> None:
    noted = [s.scores["fluency"].metadata for s in read_summaries(logs.fickle).samples if s.scores]
    assert [n["verdicts"] for n in noted if n and "verdicts" in n] == [REMOVED] * 5
    found = fickle.measures["judge.fluency"]
    assert found.values == {"en-s0": 2.0, "en-s1": 3.0, "en-s3": 5.0}
    assert found.missing == {"en-s1": 1, "en-s2": 2}  # a broken conversation is shown to no judge
    samples = read_eval_log(str(logs.fickle)).samples or []
    hashes = [s.scores["fluency"].metadata for s in samples if s.scores]
    [judge_hash] = {h["judge_hashes"][0] for h in hashes if h and "judge_hashes" in h}
    assert fickle.judges["judge.fluency"] == judge_hash


def test_the_embedded_judge_gives_its_values_under_its_name(fickle: RunRecord) -> None:
    for name in ("judge.embedded.personalization", "judge.embedded.unhelpful"):
        assert fickle.judges[name] == embedded_hash()
        assert fickle.measures[name].missing == {"en-s1": 1, "en-s2": 2}
    assert fickle.measures["judge.embedded.unhelpful"].values["en-s3"] == 0.0


def test_people_have_their_attributes_and_the_big_five(fickle: RunRecord) -> None:
    assert set(fickle.people) == {"en-s0", "en-s1", "en-s2", "en-s3"}
    assert fickle.people["en-s2"] == {
        "language": "en",
        "emotion": "shame",
        "problem": "money worries",
        "need": "validate",
        "style": "polite",
        "age_group": "45-59",
        "openness": "high",
        "conscientiousness": "high",
        "extraversion": "low",
        "agreeableness": "low",
        "neuroticism": "high",
    }


def test_it_says_what_was_asked_of_whom_and_what_it_took(logs: Logs, fickle: RunRecord) -> None:
    assert (fickle.method, fickle.checkpoint) == ("mockllm/m", "mockllm/m")
    assert fickle.benchmark == "support"
    assert set(fickle.suite) == {"task", "users", "user", "settings"}
    assert fickle.suite["task"] == "support 3-A"
    assert fickle.suite["settings"] == "1 to 1 turns, bad news after None, 120 tokens, seed 7"
    assert fickle.exhausted is None
    assert fickle.logs == (logs.fickle.name,)  # no path of this machine
    log = read_eval_log(str(logs.fickle), header_only=True)
    provenance = fickle.provenance
    assert provenance.created == log.eval.created
    assert provenance.versions["inspect_ai"] == log.eval.packages["inspect_ai"]
    used = log.stats.model_usage.values()
    assert provenance.cost.output_tokens == sum(u.output_tokens for u in used)
    assert provenance.cost.minutes is not None


def test_the_summaries_give_what_the_whole_log_gives(logs: Logs, fickle: RunRecord) -> None:
    """Also where metadata is too long for a summary, as the contrasts of a reply are."""
    whole = read_eval_log(str(logs.fickle))
    summaries = read_summaries(logs.fickle)._replace(samples=whole.samples or [])  # type: ignore[arg-type]
    record = record_of([summaries])
    assert (record.measures, record.people, record.judges) == (
        fickle.measures,
        fickle.people,
        fickle.judges,
    )
    short = read_summaries(logs.replies)
    assert {sample.metadata["contrast"] for sample in short.samples} == {REMOVED}
    whole = read_eval_log(str(logs.replies))
    all_of_it = record_of([short._replace(samples=whole.samples or [])])  # type: ignore[arg-type]
    assert all_of_it.hash == record_of([short]).hash


def test_replies_are_of_the_people_behind_the_contexts(logs: Logs) -> None:
    record = load_record([logs.replies])
    assert record.benchmark == "reply"
    length = record.measures["length"]
    assert length.values == {"ann": 4.0, "ben": 4.0, "cai": 4.0}
    assert set(length.counts.values()) == {2}
    assert record.people["ann"] == {"language": "en", "emotion": "fear"}
    assert set(record.suite) == {"task", "people", "settings", "reference"}
    assert record.suite["reference"] == "fake/model"


def test_two_logs_of_one_checkpoint_are_one_record(logs: Logs) -> None:
    record = load_record([logs.talks, logs.replies], method="M1")
    assert (record.method, record.benchmark) == ("M1", "reply+support")
    assert record.checkpoint == CHECKPOINT
    assert {"relief", "talk.length", "length", "specificity"} <= record.measures.keys()
    assert record.suite["support.task"] == "support 3-A"
    assert record.suite["reply.task"] == "reply 3-A"
    assert set(record.people) == {"en-s0", "en-s1", "en-s2", "en-s3", "ann", "ben", "cai"}
    assert record.logs == (logs.talks.name, logs.replies.name)


def test_a_record_is_read_as_it_was_stored(logs: Logs, fickle: RunRecord, tmp_path: Path) -> None:
    path = store_record(fickle, tmp_path)
    assert load_record([path]) == fickle
    assert load_record([path], method="renamed").method == "renamed"
    assert path.name == f"mockllm-m-{fickle.hash[:12]}.json"


def test_no_transcript_is_read(
    logs: Logs, fickle: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where there is none: a log without its samples gives the same record."""
    plain = read_eval_log

    def header_only(path: str, *, header_only: bool = False) -> EvalLog:
        assert header_only, "a whole log was read"
        return plain(path, header_only=True)

    monkeypatch.setattr("inspect_ai.log.read_eval_log", header_only)
    monkeypatch.setattr(log_reading, "read_eval_log", header_only)
    bare = tmp_path / "bare.eval"
    with zipfile.ZipFile(logs.fickle) as whole, zipfile.ZipFile(bare, "w") as archive:
        names = [n for n in whole.namelist() if not n.startswith(("samples/", "_journal/"))]
        assert len(names) < len(whole.namelist())
        for name in names:
            archive.writestr(name, whole.read(name))
    assert load_record([bare]).hash == fickle.hash


# What a method is called.


def test_a_long_seed_is_told_whole(logs: Logs) -> None:
    """Or the methods of two days are one on the board."""
    log = read_eval_log(str(logs.talks), header_only=True)
    log.plan.config = GenerateConfig(seed=20261130)
    assert method_name(log).endswith(" seed=20261130")


@pytest.mark.parametrize(
    ("model", "temperature", "prompt", "name"),
    [
        ("openai/gpt", None, None, "openai/gpt"),
        (
            "selfevo//home/eve/runs/demo/round-1/checkpoint",
            None,
            None,
            "selfevo/round-1/checkpoint",
        ),
        ("selfevo-vllm//home/eve/demo/m0/checkpoint", None, None, "selfevo-vllm/m0/checkpoint"),
        ("vllm//home/eve/llama-8b", None, None, "vllm/eve/llama-8b"),
        ("selfevo/default", 0.7, None, "selfevo/default T=0.7"),
        ("openai/gpt", 1.0, "Be kind.", "openai/gpt T=1 with a prompt"),
        ("openai/gpt", 0.0, None, "openai/gpt"),
    ],
)
def test_the_model_its_sampling_and_its_prompt_name_a_method(
    logs: Logs, model: str, temperature: float | None, prompt: str | None, name: str
) -> None:
    log = read_eval_log(str(logs.talks), header_only=True)
    log.eval.model = model
    log.plan.config = GenerateConfig(temperature=temperature)
    log.eval.task_args = {"task_prompt": prompt}
    assert method_name(log) == name


def test_another_prompt_is_another_checkpoint(logs: Logs, tmp_path: Path) -> None:
    """Or the ledger would take its comparison for one that was made before."""

    def prompted(text: str) -> Callable[[EvalLog], None]:
        return lambda log: log.eval.task_args.update(task_prompt=text)

    found = [
        load_record([changed(logs.talks, tmp_path / f"{n}.eval", prompted(text))])
        for n, text in enumerate(("Be kind.", "Be brief.", "Be kind."))
    ]
    assert found[0].checkpoint == found[2].checkpoint != found[1].checkpoint
    assert found[0].checkpoint.startswith(f"{CHECKPOINT} prompt ")
    assert found[0].suite == found[1].suite


def test_the_model_that_plays_the_people_is_part_of_the_suite(logs: Logs, tmp_path: Path) -> None:
    def played(log: EvalLog) -> None:
        assert log.eval.metadata is not None
        log.eval.metadata["suite"]["user"] = "model, appraisal by rules"

    path = changed(logs.talks, tmp_path / "played.eval", played)
    assert load_record([path]).suite["user model"] == "none"


def test_all_judges_of_a_panel_are_named_wherever_they_answered(logs: Logs, tmp_path: Path) -> None:
    def panel(log: EvalLog) -> None:
        for number, sample in enumerate(log.samples or []):
            metadata = (sample.scores or {})["fluency"].metadata or {}
            if "judge_hashes" in metadata:
                metadata["judge_hashes"] = ["b", "c"] if number % 2 else ["a", "b"]

    path = changed(logs.fickle, tmp_path / "panel.eval", panel)
    assert load_record([path]).judges["judge.fluency"] == "a+b+c"


@pytest.fixture(scope="module")
def steered(logs: Logs) -> Path:
    """Conversations as `inspect eval` runs them with settings of its own."""
    [log] = inspect_eval(
        support(users=str(logs.folder / "people.jsonl"), split=None, turns=1, min_turns=1),
        model=get_model("control/stock"),
        log_dir=str(logs.folder / "steered"),
        display="none",
        max_tokens=20,
        system_message="hello",
        top_p=0.1,
        temperature=0.7,
        max_connections=3,
        timeout=30,
    )
    return Path(log.location)


def test_settings_of_generation_are_of_the_suite_or_the_checkpoint(
    logs: Logs, steered: Path
) -> None:
    record, plain = load_record([steered]), load_record([logs.talks])
    assert record.suite == {**plain.suite, "max tokens": "20"}
    short = hashlib.sha256(b"hello").hexdigest()
    assert record.method == f"control/stock T=0.7 prompt {short[:8]} top_p=0.1"
    assert record.checkpoint == f"control/stock T=0.7 prompt {short} top_p=0.1"


def test_what_only_the_machine_feels_is_no_setting(logs: Logs, tmp_path: Path) -> None:
    def slow(log: EvalLog) -> None:
        log.plan.config = log.plan.config.model_copy(
            update={"max_connections": 1, "timeout": 5, "max_retries": 2, "attempt_timeout": 1}
        )

    path = changed(logs.talks, tmp_path / "slow.eval", slow)
    assert load_record([path]).hash == load_record([logs.talks]).hash


def test_logs_are_named_relative_to_the_working_directory(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(logs.folder)
    assert load_record([logs.talks]).logs == (f"talks/{logs.talks.name}",)
    monkeypatch.chdir(logs.folder / "fickle")
    assert load_record([logs.talks]).logs == (logs.talks.name,)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_no_number_is_no_score(logs: Logs, tmp_path: Path, value: float) -> None:
    def spoil(log: EvalLog) -> None:
        score = ((log.samples or [])[0].scores or {})["user_outcome"]
        assert isinstance(score.value, dict)
        score.value["relief"] = value

    found = load_record([changed(logs.talks, tmp_path / "spoilt.eval", spoil)]).measures["relief"]
    assert sum(found.missing.values()) == 1
    assert len(found.values) == 3


# What is refused, in one line.


@pytest.mark.parametrize("n", [0, 3])
def test_a_log_without_some_of_its_samples(logs: Logs, tmp_path: Path, n: int) -> None:
    def take_out(log: EvalLog) -> None:
        log.samples = (log.samples or [])[:n]

    path = changed(logs.talks, tmp_path / "fewer.eval", take_out)
    assert refused(path) == (
        f"{path}: holds {n} completed samples, and its header says 4; it was cut or edited, "
        "run it again"
    )


@pytest.mark.parametrize("suite", ["support 3-A", ["a"], {"task": 3}, None])
def test_a_suite_that_is_none_of_ours(logs: Logs, tmp_path: Path, suite: Any) -> None:
    def swap(log: EvalLog) -> None:
        assert log.eval.metadata is not None
        log.eval.metadata["suite"] = suite

    path = changed(logs.talks, tmp_path / "foreign.eval", swap)
    assert refused(path) == (
        f"{path}: has no suite as 'support' writes it; give a log of these tasks"
    )


def test_a_foreign_task_of_the_name_of_ours(logs: Logs, tmp_path: Path) -> None:
    def forget(log: EvalLog) -> None:
        for sample in log.samples or []:
            sample.metadata.pop("dialogue_id")

    path = changed(logs.replies, tmp_path / "foreign.eval", forget)
    assert refused(path).startswith(f"{path}: has no dialogue_id as 'reply' writes it; give")


def test_values_off_the_scale_and_names_that_are_no_unicode(logs: Logs, tmp_path: Path) -> None:
    def spoil(log: EvalLog) -> None:
        score = ((log.samples or [])[0].scores or {})["user_outcome"]
        assert isinstance(score.value, dict)
        score.value["relief"] = 1e308

    path = changed(logs.talks, tmp_path / "huge.eval", spoil)
    assert refused(path).startswith(f"{path}: holds what no log of these tasks does (")
    log = read_summaries(logs.talks)
    log.samples[0].id = "\ud800"
    with pytest.raises(DataError, match="holds what no log of these tasks does"):
        record_of([log])


def test_a_log_of_another_task(logs: Logs) -> None:
    assert refused(logs.foreign) == (
        f"{logs.foreign}: is of task 'quiz'; give logs of reply, reflection, retention, support"
    )


def test_a_log_that_does_not_say_what_was_asked(logs: Logs, tmp_path: Path) -> None:
    def forget(log: EvalLog) -> None:
        log.eval.metadata = None

    path = changed(logs.talks, tmp_path / "old.eval", forget)
    assert refused(path) == (
        f"{path}: does not say what it was asked (an older version); run it again"
    )


def test_a_second_log_of_a_task(logs: Logs) -> None:
    assert refused(logs.talks, logs.fickle) == (
        f"{logs.fickle}: is a second log of 'support'; give one of each task"
    )


def test_logs_of_two_models(logs: Logs, tmp_path: Path) -> None:
    def rename(log: EvalLog) -> None:
        log.eval.model = "openai/other"

    path = changed(logs.replies, tmp_path / "other.eval", rename)
    assert refused(logs.talks, path) == (
        f"{path}: is of openai/other, not of mockllm/m; give logs of one checkpoint"
    )


@pytest.mark.parametrize("status", ["error", "cancelled", "started"])
def test_an_eval_that_did_not_succeed(logs: Logs, tmp_path: Path, status: str) -> None:
    path = changed(logs.talks, tmp_path / "x.eval", lambda log: setattr(log, "status", status))
    assert refused(path) == f"{path}: the eval's status is '{status}'; run it again"


def test_a_checkpoint_that_changed_during_the_evaluation(logs: Logs, tmp_path: Path) -> None:
    def swap(log: EvalLog) -> None:
        score = ((log.samples or [])[2].scores or {})["user_outcome"]
        assert score.metadata is not None
        score.metadata["checkpoint"] = "d" * 64

    path = changed(logs.talks, tmp_path / "swapped.eval", swap)
    assert refused(path) == (
        f"{path}: the checkpoint changed during the evaluation, or between the logs; run them again"
    )


@pytest.mark.parametrize("name", ["cut.eval", "zip.eval", "text.eval", "empty.eval", "json.json"])
def test_a_file_that_is_no_log(logs: Logs, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "zip.eval":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("notes.txt", "nothing of Inspect's")
    else:
        whole = logs.talks.read_bytes()
        texts = {"cut.eval": whole[: len(whole) // 2], "text.eval": b"no log", "json.json": b"{}"}
        path.write_bytes(texts.get(name, b""))
    assert refused(path, logs.replies) == f"{path}: is no log of Inspect, or cut off; run it again"


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "absent.eval"
    assert refused(path) == f"{path}: no such log; give the path of an .eval file"


def test_a_log_with_a_changed_byte_is_read_or_refused_and_never_breaks(
    logs: Logs, tmp_path: Path
) -> None:
    """Header and summaries lie at the end; Inspect says in many ways that they are damaged."""
    whole = logs.talks.read_bytes()
    path = tmp_path / "changed.eval"
    n_refused = 0
    for place in range(len(whole) - 3000, len(whole), 61):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            read_summaries(path)
        except DataError:
            n_refused += 1
    assert n_refused > 10


# Preferences.


def test_preferences_are_kept_in_both_orders(logs: Logs) -> None:
    summaries = read_summaries(logs.preferred)
    notes = (summaries.samples[0].scores or {})["preferred"].metadata or {}
    assert notes["forward"] == REMOVED  # what is kept of it stands beside it
    record = preferences_of(summaries)
    assert (record.a, record.b) == ("mockllm/m", "mockllm/m")
    assert record.rubric == "personalization"
    assert record.suite == load_record([logs.talks]).suite
    assert record.n_unscored == 0
    # only first conversations that broke on neither side have a pair; the boat wins in both orders
    assert record.rows == tuple(
        PreferenceRow(person=person, forward="B", backward="A", words_a=1.0, words_b=7.0)
        for person in ("en-s0", "en-s1", "en-s3")
    )
    assert len(record.judge_hash) == 64
    assert preferences_of(summaries, "M0", "M1").b == "M1"


def test_a_failed_judge_is_counted_as_unscored(logs: Logs, tmp_path: Path) -> None:
    def fail(log: EvalLog) -> None:
        score = ((log.samples or [])[0].scores or {})["preferred"]
        score.value, score.metadata = float("nan"), None

    record = preferences_of(read_summaries(changed(logs.preferred, tmp_path / "f.eval", fail)))
    assert [row.person for row in record.rows] == ["en-s1", "en-s3"]
    assert record.n_unscored == 1


def test_answers_of_two_judges_are_no_record(logs: Logs, tmp_path: Path) -> None:
    def swap(log: EvalLog) -> None:
        score = ((log.samples or [])[0].scores or {})["preferred"]
        assert score.metadata is not None
        score.metadata["judge"] = "another"

    path = changed(logs.preferred, tmp_path / "two.eval", swap)
    with pytest.raises(DataError, match="holds answers of 2 judges; see why"):
        preferences_of(read_summaries(path))


def test_conversations_are_no_preferences_nor_the_other_way_round(logs: Logs) -> None:
    with pytest.raises(DataError, match="holds no preferences; give a log of selfevo compare"):
        preferences_of(read_summaries(logs.talks))
    assert f"{logs.preferred}: is of task 'pairwise'; give logs of" in refused(logs.preferred)
