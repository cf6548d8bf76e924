"""Reports to a URL, signed and with an idempotency key."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from avdetect.errors import UsageError
from avdetect.serve.sinks.base import Delivery, DeliveryError, StatelessSink
from avdetect.serve.sinks.settings import WebhookSettings

__all__ = ["SIGNATURE_HEADER", "WebhookSink", "is_signed", "signature"]

SIGNATURE_HEADER = "X-Avdetect-Signature"
_TRY_AGAIN = frozenset({408, 425, 429})
"""The only refusals (4xx) that another attempt may turn: timeout, too early, too many."""
_LONGEST_WAIT_S = 3600.0
"""A receiver that asks for more is not believed: nothing would be delivered to it for days."""


class WebhookSink(StatelessSink):
    """POST of ``Delivery.document()`` as JSON.

    ``Idempotency-Key`` is the report's key: a receiver that keeps the keys it has seen takes every report once.
    ``X-Avdetect-Signature`` is there with a secret; ``signature.is_signed`` shows how to check it. Any 2xx takes the
    report. 408, 425, 429 (whose ``Retry-After`` is obeyed), 5xx, redirections and everything that happens to the
    connection is tried again; any other 4xx refuses the report for good.
    """

    def __init__(self, name: str, settings: WebhookSettings) -> None:
        """Read the credentials.

        Raises:
            UsageError: one is missing, or the URL or a header cannot be used.
        """
        super().__init__(name)
        self._secret = None if settings.secret is None else settings.secret.reveal()
        self._url = _checked(name, settings.url.reveal())
        headers = {key: value.reveal() for key, value in settings.headers.items()}
        try:
            self._client = httpx.Client(headers=headers, timeout=settings.timeout_s)
        except (UnicodeEncodeError, ValueError) as error:
            raise UsageError(f"sink {name}: a header can hold ASCII characters only.") from error
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, with their tokens

    def deliver(self, delivery: Delivery) -> None:
        """Send it once.

        Raises:
            DeliveryError: it was not taken.
        """
        body = json.dumps(delivery.document()).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": delivery.key}
        if self._secret is not None:
            headers[SIGNATURE_HEADER] = signature(body, self._secret, int(time.time()))
        try:
            # Streamed, so that an answer without end is not read.
            with self._client.stream("POST", self._url, content=body, headers=headers) as response:
                pass
        except httpx.HTTPError as error:
            raise DeliveryError(f"{self._url.host}: {error or type(error).__name__}") from error
        if not response.is_success:
            raise self._refusal(response)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _refusal(self, response: httpx.Response) -> DeliveryError:
        status = response.status_code
        said = f"{self._url.host} answered {status} {response.reason_phrase}".rstrip()
        if response.is_redirect:
            said += ", a redirection, which is not followed: put its target into the configuration"
        return DeliveryError(
            said,
            permanent=400 <= status < 500 and status not in _TRY_AGAIN,
            retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")),
        )


def _checked(name: str, text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise UsageError(f"sink {name}: its URL cannot be read ({error}).") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"sink {name}: its URL must begin with http:// or https:// and name a host.")
    return url


def _retry_after_s(value: str) -> float | None:
    """Seconds, or a date; nothing of what cannot be read, has passed, or is too far away to be meant."""
    try:
        if value.isascii() and value.isdigit():
            seconds = float(value)
        else:
            at = parsedate_to_datetime(value)
            seconds = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):  # whatever the standard library makes of a wild one
        return None
    return seconds if 0 < seconds <= _LONGEST_WAIT_S else None


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
