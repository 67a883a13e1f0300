"""Records of evaluations that never were."""

from collections.abc import Mapping, Sequence

from results.records import Cost, Measure, PreferenceRecord, PreferenceRow, Provenance, RunRecord

SUITE = {"people": "p" * 64, "task": "support 3-A", "users": "scripted"}
PEOPLE = tuple(f"user-{number:02d}" for number in range(20))


def spread(mean: float, shift: int = 0) -> list[float]:
    """Twenty values with this mean, as the same people differ; `shift` moves who is how."""
    return [mean + ((number + shift) % 5 - 2) / 4 for number in range(len(PEOPLE))]


def measure(
    values: Sequence[float], missing: Sequence[str] = (), scale: tuple[float, float] | None = None
) -> Measure:
    scored = dict(zip(PEOPLE, values, strict=False))
    return Measure(
        values={person: value for person, value in scored.items() if person not in missing},
        missing=dict.fromkeys(missing, 1),
        scale=scale,
    )


def run(
    method: str,
    measures: Mapping[str, Measure],
    *,
    suite: Mapping[str, str] = SUITE,
    benchmark: str = "support",
    created: str | None = "2026-11-24T10:00:00+00:00",
    judges: Mapping[str, str] | None = None,
    people: Mapping[str, dict[str, str]] | None = None,
    logs: Sequence[str] = (),
    exhausted: str | None = None,
) -> RunRecord:
    return RunRecord(
        method=method,
        benchmark=benchmark,
        suite=dict(suite),
        checkpoint=f"checkpoint of {method}",
        measures=dict(measures),
        judges=dict(judges or {}),
        people=dict(people or {}),
        logs=tuple(logs),
        exhausted=exhausted,
        provenance=Provenance(
            created=created,
            commit="7b8003d",
            versions={"inspect_ai": "0.3.285"},
            cost=Cost(calls=10, input_tokens=2000, output_tokens=300, minutes=1.5),
        ),
    )


def relief(method: str, mean: float, shift: int = 0) -> RunRecord:
    return run(method, {"relief": measure(spread(mean, shift), scale=(-4.0, 4.0))})


def preferences(
    a: str,
    b: str,
    won: str = "aaaabb",
    *,
    suite: Mapping[str, str] = SUITE,
    created: str | None = None,
) -> PreferenceRecord:
    """A row a person: `a` or `b` wins in both orders, `=` is a tie, `1` the first slot twice."""
    told = {"a": ("A", "B"), "b": ("B", "A"), "=": ("tie", "tie"), "1": ("A", "A")}
    rows = [
        PreferenceRow.model_validate(
            {
                "person": f"user-{number:02d}",
                "forward": told[who][0],
                "backward": told[who][1],
                "words_a": 20 + number % 3,
                "words_b": 22 - number % 4,
            }
        )
        for number, who in enumerate(won)
    ]
    return PreferenceRecord(
        a=a,
        b=b,
        suite=dict(suite),
        judge="openai/judge",
        judge_hash="9f" * 32,
        rubric="personalization",
        rows=tuple(rows),
        n_unscored=0,
        provenance=Provenance(created=created),
    )


def board_of_eight(logs: Sequence[str] = ()) -> list[RunRecord | PreferenceRecord]:
    """Methods, controls and a pair, as a folder of records has them."""
    emotions = {
        person: {"emotion": "anger" if number < 4 else "fear", "language": "en"}
        for number, person in enumerate(PEOPLE)
    }
    means = {"control/null": -1.0, "control/stock": -0.5, "selfevo/default": 0.0, "M1": 1.0}
    runs = [
        run(
            method,
            {
                "relief": measure(spread(mean, shift), scale=(-4.0, 4.0)),
                "gave_up": measure([float(v < 0) for v in spread(mean)], scale=(0.0, 1.0)),
                "talk.length": measure([20 + 4 * v for v in spread(mean)]),
            },
            people=emotions,
            logs=logs if method == "M1" else (),
        )
        for shift, (method, mean) in enumerate(means.items())
    ]
    won = {
        "control/null": "aaaaaaaaaaab",
        "control/stock": "aaaaaaaab1ab",
        "selfevo/default": "aaaabab=1aaa",
    }
    pairs = [preferences("M1", other, results) for other, results in won.items()]
    return [*runs, *pairs]
