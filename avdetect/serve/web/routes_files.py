"""Clips and thumbnails, and nothing else that lies beside them."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from avdetect.media.find_sources import MEDIA_SUFFIXES

__all__ = ["files_router"]

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
