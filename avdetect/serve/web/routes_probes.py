"""For machines that watch the service: health, readiness, metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from avdetect.serve.metrics import Metrics
from avdetect.serve.state import ServiceState

__all__ = ["probes_router"]


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
        """200 once the model is loaded and the feeds have been started, whether they deliver or not."""
        return _probe(response, state.ready(), "ready", "starting or stopping")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def prometheus() -> Response:
        """For Prometheus."""
        body, content_type = metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    return router


def _probe(response: Response, good: bool, yes: str, no: str) -> Probe:
    response.status_code = 200 if good else 503
    return Probe(status=yes if good else no)
