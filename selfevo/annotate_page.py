"""The page on which a person rates conversations, as an ASGI application for loopback.

The page is three files in `pages/`, put into one document; it asks for JSON and shows every text
as text. What is sent is listed here field by field, so that checkpoint, log, scores and the
simulated user's mood never leave the program. A request needs the token in its path and a loopback
name as its host; a rating must also come from the page itself.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from judges.material import PersonCard
from judges.rubric import Rubric
from judges.verdict import Asked
from selfevo.annotate_items import Item
from selfevo.annotate_labels import MAX_NOTES, Label, LabelFile, Reason, csv_text

HOSTS: Final = frozenset(("127.0.0.1", "localhost", "[::1]"))
"""Other names that lead here were made to (DNS rebinding)."""
MAX_BODY: Final = 100_000
DAY_S: Final = 86_400
HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Submission(BaseModel):
    """What the page sends of one conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    item: str
    answers: dict[str, int | Reason]
    """A level, or why there is none, for every question."""
    notes: Annotated[str, Field(max_length=MAX_NOTES)] = ""
    seconds: Annotated[float, Field(ge=0, le=DAY_S, allow_inf_nan=False)]


class Refused(ValueError):
    """A submission that is no rating; the message is one line."""


class Desk:
    """What is rated, by whom, and what has been said."""

    def __init__(
        self,
        items: Sequence[Item],
        rubric: Rubric,
        rater: str,
        labels: LabelFile,
        *,
        show_card: bool = True,
        on_new: Callable[[], None] = lambda: None,
    ) -> None:
        self.items = items
        self.labels = labels
        self._rubric = rubric
        self._rater = rater
        self._shows_card = show_card and rubric.needs_persona
        self._on_new = on_new

    @property
    def rated(self) -> list[bool]:
        """Of each item, whether there is a rating."""
        return [item.id in self.labels.labels for item in self.items]

    def overview(self) -> dict[str, object]:
        """What the page must know once."""
        return {
            "language": self._rubric.language,
            "kind": self._rubric.kind,
            "about": self._rubric.about,
            "instructions": self._rubric.instructions,
            "rated": self.rated,
        }

    def shown(self, number: int) -> dict[str, object]:
        """One conversation as the page gets it."""
        item = self.items[number]
        card = item.material.card if self._shows_card else None
        label = self.labels.labels.get(item.id)
        return {
            "item": item.id,
            "turns": [{"speaker": t.speaker, "text": t.text} for t in item.material.turns],
            "card": None if card is None else _card(card),
            "questions": [_question(asked) for asked in item.asked],
            "label": None if label is None else _label(label),
        }

    def rate(self, number: int, submission: Submission) -> None:
        """Store a rating.

        Raises:
            Refused: it is of another conversation, not whole, or off the scale.
            OSError: it could not be written.
        """
        item = self.items[number]
        if submission.item != item.id:
            raise Refused("this is another conversation than the page shows; reload the page")
        _check(submission, item.asked)
        is_new = item.id not in self.labels.labels
        self.labels.append(self._labelled(item, submission))
        if is_new:
            self._on_new()

    def _labelled(self, item: Item, submission: Submission) -> Label:
        answers = [(asked.name, submission.answers[asked.name]) for asked in item.asked]
        return Label(
            item=item.id,
            person=item.person,
            log=item.log,
            sample=item.sample,
            persona=item.persona,
            epoch=item.epoch,
            rubric=self._rubric.name,
            rubric_version=self._rubric.version,
            rubric_hash=self._rubric.hash,
            rater=self._rater,
            saw_card=self._shows_card and item.material.card is not None,
            values={name: None if isinstance(said, str) else said for name, said in answers},
            missing={name: said for name, said in answers if isinstance(said, str)},
            notes=submission.notes.strip(),
            seconds=round(submission.seconds, 1),
            labelled_at=datetime.now(UTC),
            language=item.material.language,
            about=self._rubric.about,
            text=item.text,
        )


def make_app(desk: Desk, token: str) -> Starlette:
    """The application; everything is below `/<token>/`."""
    page = Page(desk)
    routes = [
        Route("/", page.document),
        Route("/overview", page.overview),
        Route("/items/{number:int}", page.item),
        Route("/items/{number:int}", page.rate, methods=["POST"]),
        Route("/labels.csv", page.labels),
    ]
    return Starlette(
        routes=[Mount(f"/{token}", routes=routes)], middleware=[Middleware(Guard, csp=page.csp)]
    )


def new_token() -> str:
    """What only who sees the printed address knows."""
    return secrets.token_urlsafe(16)


class Page:
    """The answers to the page's requests."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        style, script, body = (_file(f"annotate.{kind}") for kind in ("css", "js", "html"))
        self._document = body.replace("/* style */", style).replace("/* script */", script)
        self.csp = "; ".join(
            (
                "default-src 'none'",
                f"style-src {_source(style)}",
                f"script-src {_source(script)}",
                "img-src data:",
                "connect-src 'self'",
                "base-uri 'none'",
                "form-action 'none'",
                "frame-ancestors 'none'",
            )
        )

    async def document(self, request: Request) -> Response:
        """The page, the same for everybody."""
        return HTMLResponse(self._document)

    async def overview(self, request: Request) -> Response:
        """What it must know once."""
        return JSONResponse(self._desk.overview())

    async def item(self, request: Request) -> Response:
        """One conversation."""
        number = self._number(request)
        return _missing() if number is None else JSONResponse(self._desk.shown(number))

    async def rate(self, request: Request) -> Response:
        """Take a rating, and say what has been rated now."""
        number = self._number(request)
        if number is None:
            return _missing()
        if request.headers.get("content-type") != "application/json":
            return _refusal(415, "send JSON")
        body = await _body(request)
        if body is None:
            return _refusal(413, f"a rating has at most {MAX_BODY:,} bytes")
        try:
            self._desk.rate(number, Submission.model_validate_json(body))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"]))
            return _refusal(422, f"{where}: {first['msg']}" if where else first["msg"])
        except Refused as error:
            return _refusal(422, str(error))
        except OSError as error:
            path = self._desk.labels.path.name
            return _refusal(507, f"not saved: {path}: {error.strerror or error}; make room, retry")
        return JSONResponse({"rated": self._desk.rated})

    async def labels(self, request: Request) -> Response:
        """The ratings so far, as CSV."""
        stored = self._desk.labels
        if not stored.labels:
            return PlainTextResponse("nothing is rated yet", 404)
        name = quote(stored.path.with_suffix(".csv").name)
        return Response(
            csv_text(stored.labels.values(), stored.path),
            media_type="text/csv",
            headers={"content-disposition": f"attachment; filename*=utf-8''{name}"},
        )

    def _number(self, request: Request) -> int | None:
        number: int = request.path_params["number"]
        return number if number < len(self._desk.items) else None


class Guard:
    """Refuses requests that come by another name or from another site; sets the headers."""

    def __init__(self, app: ASGIApp, csp: str) -> None:
        self._app = app
        self._headers = {**HEADERS, "content-security-policy": csp}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = _foreign(Headers(scope=scope), scope["method"])
        await (refusal or self._app)(scope, receive, send_guarded)


def _foreign(headers: Headers, method: str) -> Response | None:
    """The refusal of a request that was not meant by who sits here."""
    host = headers.get("host", "")
    name, _, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if (name or port) not in HOSTS:
        return PlainTextResponse("open the address that was printed", 421)
    if method in ("GET", "HEAD"):
        return None
    if headers.get("origin", f"http://{host}") != f"http://{host}" or headers.get(
        "sec-fetch-site", "same-origin"
    ) not in ("same-origin", "none"):
        return PlainTextResponse("ratings come from the page itself", 403)
    return None


def _check(submission: Submission, asked: Sequence[Asked]) -> None:
    names = [question.name for question in asked]
    if open_names := [name for name in names if name not in submission.answers]:
        raise Refused(f"'{open_names[0]}' is not answered")
    if unknown := sorted(submission.answers.keys() - set(names)):
        raise Refused(f"'{unknown[0]}' was not asked")
    for question in asked:
        answer = submission.answers[question.name]
        if answer == "does not apply" and question.criterion.not_applicable is None:
            raise Refused(f"'{question.name}' always applies")
        if not isinstance(answer, str) and answer not in question.criterion.values:
            raise Refused(f"'{question.name}' has no level {answer}")


def _question(asked: Asked) -> dict[str, object]:
    criterion = asked.criterion
    return {
        "name": asked.name,
        "question": asked.question.strip(),
        "levels": [
            {"value": level.value, "name": level.name, "anchor": level.anchor.strip()}
            for level in criterion.levels
        ],
        "not_applicable": criterion.not_applicable,
    }


def _card(card: PersonCard) -> dict[str, object]:
    return {
        "profile": card.profile,
        "emotion": card.emotion,
        "situation": card.situation,
        "need": card.need,
        "helps": [wish.text for wish in card.wishes if wish.is_wanted],
        "hurts": [wish.text for wish in card.wishes if not wish.is_wanted],
    }


def _label(label: Label) -> dict[str, object]:
    return {"answers": {**label.values, **label.missing}, "notes": label.notes}


async def _body(request: Request) -> bytes | None:
    """The body, or None when it is too long; no more is read than is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            return None
    return bytes(body)


def _refusal(status: int, why: str) -> Response:
    return JSONResponse({"error": why}, status)


def _missing() -> Response:
    return _refusal(404, "there is no such conversation")


def _file(name: str) -> str:
    return resources.files("selfevo").joinpath("pages", name).read_text(encoding="utf-8").strip()


def _source(text: str) -> str:
    """An inline style or script, for the content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
