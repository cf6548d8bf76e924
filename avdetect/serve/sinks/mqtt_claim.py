"""Whose topics these are: two installations below one prefix would undo each other's sensors; the second is refused."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from avdetect.serve.sinks.mqtt_topics import OFFLINE, Topics

__all__ = ["Claim"]


class Claim:
    """What is known of who uses a prefix, from what the broker retains.

    The claim of an installation that is offline lapses. Of two that claim at the same moment the earlier one stays.

    Args:
        topics: below the prefix.
        identity: of this installation; empty for none, which never claims.
    """

    def __init__(self, topics: Topics, identity: str) -> None:
        self._topics = topics
        self._identity = identity
        self._since = 0.0
        self.is_ours = False
        """Whether the topics are ours, from ``take`` on."""
        self._other: dict[str, Any] | None = None
        self._availability = OFFLINE
        self.last_refusal = ""
        """What ``refusal`` said last."""

    def forget(self) -> None:
        """The connection is new: nothing is known."""
        self.is_ours, self._other, self._availability = False, None, OFFLINE

    def see_claim(self, payload: bytes) -> None:
        """The broker tells a claim."""
        try:
            claim = json.loads(payload) if payload else None
        except ValueError:
            claim = None
        is_other = isinstance(claim, dict) and claim.get("id") not in (None, self._identity)
        if is_other or not payload:
            self._other = claim if is_other else None

    def see_availability(self, payload: bytes) -> None:
        """The broker tells whether whoever owns the topics is there."""
        self._availability = payload.decode("utf-8", "replace")

    @property
    def refusal(self) -> str:
        """Why the topics cannot be taken, in a sentence; empty where they can."""
        if not self._identity or self._other is None or self.is_offline:
            return ""
        host = self._other.get("host") or "an unknown machine"
        self.last_refusal = (
            f"another avdetect, on {host}, uses the topics below {json.dumps(self._topics.prefix)} on this broker: "
            "give each service a `prefix` of its own"
        )
        return self.last_refusal

    @property
    def is_offline(self) -> bool:
        """Whether nobody says that the topics' owner is there."""
        return self._availability == OFFLINE

    @property
    def is_contested(self) -> bool:
        """Whether another one has claimed what is ours."""
        return self.is_ours and self._other is not None

    def wins(self) -> bool:
        """Whether the other one has to give way."""
        other = self._other or {}
        since = other.get("since")
        return not isinstance(since, int | float) or (self._since, self._identity) < (since, str(other.get("id")))

    def take(self) -> str:
        """The topics are ours from here on; returns what to retain under ``Topics.claim``."""
        former = (self._other or {}).get("id")
        if isinstance(former, str):
            self._topics.take_over(former)
        self.is_ours, self._other = True, None
        self._since = self._since or time.time()
        return json.dumps({"id": self._identity, "host": socket.gethostname(), "since": self._since})

    def give_way(self) -> None:
        """They are the other's."""
        self.is_ours, self._availability = False, "online"
