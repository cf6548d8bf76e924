"""What a broker keeps for us: topics, and how Home Assistant learns of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

import avdetect

__all__ = ["OFF", "OFFLINE", "ON", "ONLINE", "Topics"]

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"


class Topics:
    """Names of topics and contents of discovery.

        <prefix>/availability              online | offline, of the service; retained
        <prefix>/events                    every report of an event, and of its clip, as JSON
        <prefix>/gaps                      every gap when it begins and when it ends, as JSON
        <prefix>/<feed>/availability       online | offline; retained
        <prefix>/<feed>/<class>/state      ON | OFF: whether there is an event now; retained
        <prefix>/<feed>/<class>/event      its last report as JSON; retained

    In names of feeds and classes, what has a meaning in topics is written as in URLs: ``%2F`` for a slash.
    """

    def __init__(self, prefix: str, discovery_prefix: str) -> None:
        self.prefix = prefix
        self.availability = f"{prefix}/availability"
        self.events = f"{prefix}/events"
        self.gaps = f"{prefix}/gaps"
        self._node = _identifier(prefix)
        self._discovery = f"{discovery_prefix}/binary_sensor/{self._node}"

    def feed_availability(self, feed: str) -> str:
        """Of one feed."""
        return f"{self.prefix}/{_level(feed)}/availability"

    def state(self, feed: str, label: str) -> str:
        """Of one class of a feed."""
        return f"{self.prefix}/{_level(feed)}/{_level(label)}/state"

    def last_event(self, feed: str, label: str) -> str:
        """Of one class of a feed."""
        return f"{self.prefix}/{_level(feed)}/{_level(label)}/event"

    def discovery(self, feed: str, label: str) -> str:
        """Where Home Assistant looks for the sensor of one class of a feed."""
        return f"{self._discovery}/{_identifier(feed)}_{_identifier(label)}/config"

    def sensor(self, feed: str, label: str) -> str:
        """What it finds there: JSON."""
        return json.dumps(
            {
                "name": label.replace("_", " ").capitalize(),
                "unique_id": f"{self._node}_{_identifier(feed)}_{_identifier(label)}",
                "state_topic": self.state(feed, label),
                "json_attributes_topic": self.last_event(feed, label),
                "payload_on": ON,
                "payload_off": OFF,
                "availability": [{"topic": self.availability}, {"topic": self.feed_availability(feed)}],
                "availability_mode": "all",
                "device": {
                    "identifiers": [f"{self._node}_{_identifier(feed)}"],
                    "name": feed,
                    "manufacturer": "avdetect",
                },
                "origin": {"name": "avdetect", "sw_version": avdetect.__version__},
            }
        )

    def retained(self, feeds: Mapping[str, Sequence[str]], *, discovery: bool) -> set[str]:
        """All topics of feeds and their classes that a broker may keep something under."""
        kept = {self.feed_availability(feed) for feed in feeds}
        for feed, labels in feeds.items():
            for label in labels:
                kept |= {self.state(feed, label), self.last_event(feed, label)}
                if discovery:
                    kept.add(self.discovery(feed, label))
        return kept

    def retained_filters(self) -> list[str]:
        """Subscriptions that find such topics, of any feed and class."""
        return [
            f"{self.prefix}/+/availability",
            f"{self.prefix}/+/+/state",
            f"{self.prefix}/+/+/event",
            f"{self._discovery}/+/config",
        ]


def _level(name: str) -> str:
    """One level of a topic; different names stay different."""
    return re.sub(r"[%/+#\0]", lambda match: f"%{ord(match[0]):02X}", name)


def _identifier(name: str) -> str:
    """Letters, digits and "_", as Home Assistant wants them; different names stay different."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
