"""Signatures of web hook requests: the receiver knows that a request is ours, unchanged and fresh."""

from __future__ import annotations

import hashlib
import hmac
import re

__all__ = ["SIGNATURE_HEADER", "is_signed", "signature"]

SIGNATURE_HEADER = "X-Avdetect-Signature"


def signature(body: bytes, secret: str, at_unix_s: int) -> str:
    """Value of the header: ``t=<seconds since 1970>,v1=<hex>``, an HMAC-SHA256 of "<t>.<body>" under the secret."""
    signed = hmac.new(secret.encode(), b"%d.%s" % (at_unix_s, body), hashlib.sha256)
    return f"t={at_unix_s},v1={signed.hexdigest()}"


def is_signed(body: bytes, header: str, secret: str, now_unix_s: float, *, tolerance_s: float = 300.0) -> bool:
    """What a receiver checks, over the bytes of the body as they came.

    Args:
        body: of the request.
        header: its ``X-Avdetect-Signature``.
        secret: the one both sides know.
        now_unix_s: the receiver's clock.
        tolerance_s: how old a request may be, so that one that somebody recorded is of no use later on.
    """
    time_part, _, _ = header.partition(",")
    at = time_part.removeprefix("t=")
    if not re.fullmatch("[0-9]{1,12}", at) or abs(now_unix_s - int(at)) > tolerance_s:
        return False
    return hmac.compare_digest(header.encode(), signature(body, secret, int(at)).encode())
