"""The page, and signing in."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from avdetect.serve.web.auth import SESSION_COOKIE, Token
from avdetect.serve.web.schemas import SessionOut, SignIn

__all__ = ["STATIC_FOLDER", "page_router"]

STATIC_FOLDER = Path(__file__).parents[2] / "assets" / "live"
SESSION_S = 90 * 24 * 3600


def page_router(token: Token | None) -> APIRouter:
    """Routes that are open to all."""
    router = APIRouter(tags=["session"])

    @router.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC_FOLDER / "page.html")

    @router.get("/api/session")
    def session(request: Request) -> SessionOut:
        """Whether a token is needed, and whether this caller has given it."""
        return SessionOut(token_needed=token is not None, signed_in=token is None or token.admits(request.headers))

    @router.post("/api/session", status_code=204, responses={403: {"description": "Not the token"}})
    def sign_in(given: SignIn, request: Request, response: Response) -> None:
        """Give the token once, and get a cookie that stands for it."""
        if token is None:
            return
        if not token.matches(given.token):
            raise HTTPException(403, "That is not the token.")
        response.set_cookie(
            SESSION_COOKIE,
            token.session,
            max_age=SESSION_S,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )

    @router.delete("/api/session", status_code=204)
    def sign_out(response: Response) -> None:
        """Forget the cookie."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")

    return router
