"""The feeds: how they are, their scores, and everything that changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query
from starlette.responses import StreamingResponse

from avdetect.serve.state import ServiceState
from avdetect.serve.web.events_stream import EventStreams
from avdetect.serve.web.schemas import ClassOut, FeedOut, ScoreOut, ScoresOut

__all__ = ["feeds_router"]


def feeds_router(state: ServiceState, streams: EventStreams) -> APIRouter:
    """Routes that read the state."""
    router = APIRouter(prefix="/api", tags=["feeds"])

    @router.get("/feeds")
    def feeds() -> list[FeedOut]:
        """All feeds, in the order of the configuration."""
        return [FeedOut.model_validate(feed.as_dict()) for feed in state.feeds()]

    @router.get("/feeds/{feed}/scores", responses={404: {"description": "No such feed"}})
    def scores(
        feed: Annotated[str, Path(description="Its name.")],
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

    @router.get(
        "/stream",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "Server-sent events"},
            503: {"description": "Too many clients"},
        },
    )
    async def stream() -> StreamingResponse:
        """What changes, as it changes: `score`, `event`, `gap`, `state`, `clip`; and every five seconds all `feeds`.

        The data of a change are those of the other routes, with the name of the `feed`. A client that does not keep
        up is dropped; it may connect again and ask the other routes for what it missed.
        """
        if streams.is_full():
            raise HTTPException(503, "Too many clients follow the changes already.")
        return streams.response()

    return router
