"""Events, what people say of them, and gaps."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Query, Response
from pydantic import AwareDatetime

from avdetect.serve.labels import labelled_clips
from avdetect.serve.state import ServiceState
from avdetect.serve.store import Answer, Store, StoredEvent
from avdetect.serve.web.schemas import AnswerIn, EventOut, EventPage, GapOut

__all__ = ["events_router"]

_MAX_ROWS = 500

Feed = Annotated[str | None, Query(description="Of this feed only.")]
Since = Annotated[AwareDatetime | None, Query(description="ISO 8601 with its offset from UTC.")]
Limit = Annotated[int, Query(ge=1, le=_MAX_ROWS)]
EventId = Annotated[str, Path(description="As in the list of events.")]
_NO_EVENT: dict[int | str, dict[str, Any]] = {404: {"description": "No such event"}}


def events_router(store: Store, state: ServiceState, clips_folder: FilePath, clip_margin_s: float) -> APIRouter:
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
        return EventPage(
            events=[_event_out(event) for event in shown],
            next_cursor=shown[-1].id if len(found) > limit else None,
        )

    @router.get("/events/{event_id}", responses=_NO_EVENT)
    def event(event_id: EventId) -> EventOut:
        """One event."""
        return _event_out(_found(store.event(event_id), event_id))

    @router.put("/events/{event_id}/answer", responses=_NO_EVENT)
    def answer(event_id: EventId, said: AnswerIn) -> EventOut:
        """Say that the detector was right, or wrong; the answers are what `/api/labels.jsonl` is made of."""
        event = _found(store.set_answer(event_id, said.answer), event_id)
        state.on_answer(event.feed, event.id, event.answer)
        return _event_out(event)

    @router.get("/gaps")
    def gaps(feed: Feed = None, since: Since = None, limit: Limit = 100) -> list[GapOut]:
        """Times in which a feed was not seen, newest first; with `since` those that lasted then or began later."""
        return [GapOut.model_validate(gap.as_dict()) for gap in store.gaps(feed=feed, since=since, limit=limit)]

    @router.get("/labels.jsonl", response_class=Response, responses={200: {"content": {"application/x-ndjson": {}}}})
    def labels() -> Response:
        """The answers as a manifest for `avdetect train`, to be put into the folder of the clips."""
        return Response(
            labelled_clips(store, clips_folder, margin_s=clip_margin_s).as_jsonl(),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="labels.jsonl"'},
        )

    return router


def _event_out(event: StoredEvent) -> EventOut:
    return EventOut.model_validate(event.as_dict())


def _found(event: StoredEvent | None, event_id: str) -> StoredEvent:
    if event is None:
        raise HTTPException(404, f"There is no event {event_id}.")
    return event
