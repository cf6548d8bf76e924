"""The routes: feeds and their scores, events and answers, files, the page and signing in, probes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse
from pydantic import AwareDatetime, BaseModel
from sse_starlette.sse import EventSourceResponse
from starlette.staticfiles import StaticFiles

from avdetect.events.event import FeedEvent, GapRecord
from avdetect.media.find_sources import MEDIA_SUFFIXES
from avdetect.serve.sinks.base import SetThreshold
from avdetect.serve.store import Answer, Store, StoredEvent
from avdetect.serve.store.labels import labelled_clips
from avdetect.serve.web.auth import SESSION_COOKIE, SESSION_S, GuessLimit, Token, too_many_guesses
from avdetect.serve.web.events_stream import EventStreams
from avdetect.serve.web.metrics import Metrics
from avdetect.serve.web.schemas import (
    AnswerIn,
    ClassOut,
    EventOut,
    EventPage,
    FeedOut,
    ScoreOut,
    ScoresOut,
    SessionOut,
    SignIn,
    ThresholdIn,
)
from avdetect.serve.web.state import ServiceState

__all__ = ["STATIC_FOLDER", "events_router", "feeds_router", "files_router", "page_router", "probes_router"]

_MAX_ROWS = 500

Feed = Annotated[str | None, Query(description="Of this feed only.")]
Since = Annotated[AwareDatetime | None, Query(description="ISO 8601 with its offset from UTC.")]
Limit = Annotated[int, Query(ge=1, le=_MAX_ROWS)]
EventId = Annotated[str, PathParameter(description="As in the list of events.")]
_NO_EVENT: dict[int | str, dict[str, Any]] = {404: {"description": "No such event"}}


def events_router(store: Store, state: ServiceState, clips_folder: Path, clip_margin_s: float) -> APIRouter:
    """Routes that read the store, and the one that writes to it."""
    router = APIRouter(prefix="/api", tags=["events"])

    @router.get("/events")
    def events(
        feed: Feed = None,
        class_name: Annotated[str | None, Query(alias="class", description="Of this class only.")] = None,
        since: Since = None,
        until: Since = None,
        min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
        answer: Annotated[Answer | Literal["unanswered"] | None, Query(description="Answered so, or not yet.")] = None,
        cursor: Annotated[str | None, Query(description="As the page before said.")] = None,
        limit: Limit = 50,
    ) -> EventPage:
        """Events, newest first, page by page; `since` and `until` are about their beginning."""
        found = store.events(
            feed=feed,
            label=class_name,
            since=since,
            until=until,
            min_confidence=min_confidence,
            answer=answer,
            before_id=cursor,
            limit=limit + 1,
        )
        shown = found[:limit]
        if state.unstored():
            wanted = (feed, class_name, since, until, min_confidence)
            shown = _with_unstored(shown, state.unstored(), wanted, is_first=cursor is None, answer=answer)
        return EventPage(
            events=[_event_out(event) for event in shown],
            next_cursor=found[limit - 1].id if len(found) > limit else None,
        )

    @router.get("/events/{event_id}", responses=_NO_EVENT)
    def event(event_id: EventId) -> EventOut:
        """One event."""
        stored, unstored = store.event(event_id), state.unstored().get(event_id)
        return _event_out(_found(stored if unstored is None else _newest(stored, unstored), event_id))

    @router.put("/events/{event_id}/answer", responses=_NO_EVENT)
    def answer(event_id: EventId, said: AnswerIn) -> EventOut:
        """Say that the detector was right, or wrong; the answers are what `/api/labels.jsonl` is made of."""
        event = _found(store.set_answer(event_id, said.answer), event_id)
        state.on_answer(event.feed, event.id, event.answer)
        return _event_out(event)

    @router.get("/gaps")
    def gaps(feed: Feed = None, since: Since = None, limit: Limit = 100) -> list[GapRecord]:
        """Times in which a feed was not seen, newest first; with `since` those that lasted then or began later."""
        return [GapRecord.of(gap) for gap in store.gaps(feed=feed, since=since, limit=limit)]

    @router.get("/labels.jsonl", response_class=Response, responses={200: {"content": {"application/x-ndjson": {}}}})
    def labels() -> Response:
        """The answers as a list for `avdetect train`, to be put into the folder of the clips."""
        return Response(
            labelled_clips(store, clips_folder, margin_s=clip_margin_s).as_jsonl(),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="labels.jsonl"'},
        )

    return router


_Wanted = tuple[str | None, str | None, datetime | None, datetime | None, float | None]
"""Of events: feed, class, begun since, begun until, least confidence."""


def _with_unstored(
    stored: Sequence[StoredEvent],
    unstored: Mapping[str, FeedEvent],
    wanted: _Wanted,
    *,
    is_first: bool,
    answer: str | None,
) -> list[StoredEvent]:
    """A page of events as they are now, though a full disk keeps the store from knowing it."""
    shown = {event.id: _newest(event, unstored[event.id]) if event.id in unstored else event for event in stored}
    if is_first and answer in (None, "unanswered"):
        new = (event for event in unstored.values() if event.id not in shown and _meets(event, wanted))
        shown |= {event.id: _newest(None, event) for event in new}
    return sorted(shown.values(), key=lambda event: event.started_at, reverse=True)


def _newest(stored: StoredEvent | None, unstored: FeedEvent) -> StoredEvent:
    """What was reported last of an event, with what only the store knows."""
    fields = {field.name: getattr(unstored, field.name) for field in dataclasses.fields(FeedEvent)}
    newest = StoredEvent(**fields)
    if stored is None:
        return newest
    known = {name: getattr(stored, name) for name in ("clip", "thumbnail", "answer", "clip_failure")}
    return dataclasses.replace(newest, **known)


def _meets(event: FeedEvent, wanted: _Wanted) -> bool:
    feed, class_name, since, until, min_confidence = wanted
    return (
        (feed is None or event.feed == feed)
        and (class_name is None or event.event.class_name == class_name)
        and (since is None or event.started_at >= since)
        and (until is None or event.started_at < until)
        and (min_confidence is None or event.event.confidence >= min_confidence)
    )


def _event_out(event: StoredEvent) -> EventOut:
    return EventOut.of_feed(event, answer=event.answer, clip_failure=event.clip_failure)


def _found(event: StoredEvent | None, event_id: str) -> StoredEvent:
    if event is None:
        raise HTTPException(404, f"There is no event {event_id}.")
    return event


def feeds_router(state: ServiceState, streams: EventStreams, set_threshold: SetThreshold) -> APIRouter:
    """Routes that read the state, and the one that sets thresholds."""
    router = APIRouter(prefix="/api", tags=["feeds"])

    @router.get("/feeds")
    def feeds() -> list[FeedOut]:
        """All feeds, in the order of the configuration."""
        return [FeedOut.model_validate(feed.as_dict()) for feed in state.feeds()]

    @router.get("/feeds/{feed}/scores", responses={404: {"description": "No such feed"}})
    def scores(
        feed: Annotated[str, PathParameter(description="Its name.")],
        since: Annotated[int, Query(ge=0, description="Only rows after this sequence number.")] = 0,
    ) -> ScoresOut:
        """The scores of the last minutes, snippet by snippet."""
        try:
            rows = state.history(feed, after=since)
        except KeyError:
            raise HTTPException(404, f"There is no feed called {feed}.") from None
        return ScoresOut(
            classes=[ClassOut(name=entry.name, title=entry.title) for entry in state.classes],
            scores=[ScoreOut.model_validate(row.as_dict()) for row in rows],
        )

    @router.put(
        "/feeds/{feed}/thresholds/{class_name}",
        responses={404: {"description": "No such feed or class"}, 422: {"description": "No probability"}},
    )
    def threshold(
        feed: Annotated[str, PathParameter(description="Its name.")],
        class_name: Annotated[str, PathParameter(description="As in `classes` of the feed.")],
        chosen: ThresholdIn,
    ) -> FeedOut:
        """Choose a threshold, which then goes before the configuration; the connection to the feed stays."""
        known = {snapshot.status.feed: snapshot for snapshot in state.feeds()}
        if feed not in known or class_name not in {entry.name for entry in known[feed].classes}:
            raise HTTPException(404, f"There is no feed {feed} with a class {class_name}.")
        set_threshold(feed, class_name, chosen.threshold)
        return FeedOut.model_validate(next(s for s in state.feeds() if s.status.feed == feed).as_dict())

    @router.get(
        "/stream",
        response_class=EventSourceResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"},
            503: {"description": "Too many clients"},
        },
    )
    async def stream() -> EventSourceResponse:
        """What changes, as it changes: `score`, `event`, `gap`, `state`, `clip`; and every five seconds all `feeds`.

        The data of a change are those of the other routes, with the name of the `feed`. A client that does not keep
        up is dropped; it may connect again and ask the other routes for what it missed.
        """
        if streams.is_full():
            raise HTTPException(503, "Too many clients follow the changes already.")
        return streams.response()

    return router


_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


def files_router(clips_folder: Path) -> APIRouter:
    """Routes of files. ``StaticFiles`` keeps to the folder, follows no link out of it, and answers range requests."""
    router = APIRouter(tags=["files"])
    files = StaticFiles(directory=clips_folder, check_dir=False)  # the folder is made with the first clip

    async def serve(name: str, suffixes: frozenset[str], request: Request) -> Response:
        if name.startswith(".") or Path(name).suffix.lower() not in suffixes:  # a dot: half-written files
            raise HTTPException(404)
        return await files.get_response(name, request.scope)

    @router.get("/clips/{file}", response_class=FileResponse, responses={404: {"description": "No such clip"}})
    async def clip(file: str, request: Request) -> Response:
        """The clip of an event; ranges can be asked for."""
        return await serve(file, MEDIA_SUFFIXES, request)

    @router.get("/thumbnails/{file}", response_class=FileResponse, responses={404: {"description": "No such picture"}})
    async def thumbnail(file: str, request: Request) -> Response:
        """The picture of an event."""
        return await serve(file, _PICTURE_SUFFIXES, request)

    return router


STATIC_FOLDER = Path(__file__).parents[2] / "assets" / "live"


def page_router(token: Token | None, guesses: GuessLimit) -> APIRouter:
    """Routes that are open to all."""
    router = APIRouter(tags=["session"])

    @router.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC_FOLDER / "page.html")

    @router.get("/api/session")
    def session(request: Request) -> SessionOut:
        """Whether a token is needed, and whether this caller has given it."""
        return SessionOut(
            token_needed=token is not None, signed_in=token is None or token.knows_session(request.headers)
        )

    @router.post(
        "/api/session",
        status_code=204,
        responses={403: {"description": "Not the token"}, 429: {"description": "Too many wrong tokens"}},
    )
    def sign_in(given: SignIn, request: Request) -> Response:
        """Give the token once, and get a cookie that stands for it."""
        response = Response(status_code=204)
        if token is None:
            return response
        client = request.client.host if request.client else ""
        wait_s = guesses.wait_s(client)
        if wait_s > 0:
            return too_many_guesses(wait_s)
        if not token.matches(given.token):
            guesses.was_wrong(client)
            raise HTTPException(403, "That is not the token.")
        guesses.was_right(client)
        response.set_cookie(
            SESSION_COOKIE,
            token.new_session(),
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    @router.delete("/api/session", status_code=204)
    def sign_out(response: Response) -> None:
        """Forget the cookie."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")

    return router


class Probe(BaseModel):
    """A word for people; programs look at the status code."""

    status: str


def probes_router(state: ServiceState, metrics: Metrics) -> APIRouter:
    """Routes of probes; health and readiness are open to all and tell nothing else."""
    router = APIRouter(tags=["probes"])

    @router.get("/healthz", responses={503: {"model": Probe}})
    def healthy(response: Response) -> Probe:
        """200 while the engine turns; 503 once it has hung for ten seconds."""
        return _probe(response, state.healthy(), "alive", "the engine has stopped turning")

    @router.get("/readyz", responses={503: {"model": Probe}})
    def ready(response: Response) -> Probe:
        """200 once the model is loaded and the feeds have been started, and while what they report can be kept."""
        return _probe(response, state.ready(), "ready", state.trouble() or "starting or stopping")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def prometheus() -> Response:
        """For Prometheus."""
        body, content_type = metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    return router


def _probe(response: Response, good: bool, yes: str, no: str) -> Probe:
    response.status_code = 200 if good else 503
    return Probe(status=yes if good else no)
