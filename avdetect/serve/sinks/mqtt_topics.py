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
_ANY, _LEVEL, _THRESHOLD = "_any", "_sound_level", "_threshold_"
"""Parts of identifiers that no class has: theirs do not begin with "_" and a word."""
_ALL = "all"
"""In place of a class: any of them."""


class Topics:
    """Names of topics and contents of discovery.

        <prefix>/availability                  online | offline, of the service; retained
        <prefix>/installation                  whose topics these are, as JSON; retained
        <prefix>/events                        every report of an event, and of its clip, as JSON
        <prefix>/gaps                          every gap when it begins and when it ends, as JSON
        <prefix>/<feed>/availability           online | offline; retained
        <prefix>/<feed>/sound_level            dBFS, every few seconds
        <prefix>/<feed>/all/state              ON | OFF: whether there is an event of any class now; retained
        <prefix>/<feed>/<class>/state          ON | OFF: whether there is an event now; retained
        <prefix>/<feed>/<class>/event          its last report as JSON; retained
        <prefix>/<feed>/<class>/threshold      from which probability on it is an event; retained
        <prefix>/<feed>/<class>/threshold/set  sets it, where that is allowed: a number, or "reset"

    In names of feeds and classes, what has a meaning in topics is written as in URLs: ``%2F`` for a slash.
    """

    def __init__(self, prefix: str, discovery_prefix: str, identity: str) -> None:
        self.prefix = prefix
        self.availability = f"{prefix}/availability"
        self.claim = f"{prefix}/installation"
        self.echo = f"{prefix}/installation/{identity}"
        self.events = f"{prefix}/events"
        self.gaps = f"{prefix}/gaps"
        self._discovery = discovery_prefix
        self._node = self._node_of(identity)
        self._former_nodes = [_identifier(prefix)]  # of versions in which installations had no identity

    def feed_availability(self, feed: str) -> str:
        """Of one feed."""
        return f"{self.prefix}/{_level(feed)}/availability"

    def sound_level(self, feed: str) -> str:
        """Of one feed."""
        return f"{self.prefix}/{_level(feed)}/sound_level"

    def any_state(self, feed: str) -> str:
        """Of all classes of a feed together."""
        return f"{self.prefix}/{_level(feed)}/{_ALL}/state"

    def state(self, feed: str, label: str) -> str:
        """Of one class of a feed."""
        return f"{self.prefix}/{_level(feed)}/{_class_level(label)}/state"

    def last_event(self, feed: str, label: str) -> str:
        """Of one class of a feed."""
        return f"{self.prefix}/{_level(feed)}/{_class_level(label)}/event"

    def threshold(self, feed: str, label: str) -> str:
        """Of one class of a feed."""
        return f"{self.prefix}/{_level(feed)}/{_class_level(label)}/threshold"

    def set_threshold(self, feed: str, label: str) -> str:
        """Where orders come in."""
        return f"{self.threshold(feed, label)}/set"

    @property
    def orders(self) -> str:
        """A subscription to all of ``set_threshold``."""
        return f"{self.prefix}/+/+/threshold/set"

    def discovery(self, feed: str, labels: Sequence[str], *, control: bool) -> dict[str, str]:
        """What Home Assistant finds of a feed: JSON, by topic."""
        found = {
            self._config("binary_sensor", feed, _ANY): self._entity(
                feed,
                _ANY,
                "Any event",
                {"state_topic": self.any_state(feed), "payload_on": ON, "payload_off": OFF},
            ),
            self._config("sensor", feed, _LEVEL): self._entity(
                feed,
                _LEVEL,
                "Sound level",
                {
                    "state_topic": self.sound_level(feed),
                    "unit_of_measurement": "dBFS",
                    "state_class": "measurement",
                    "icon": "mdi:volume-high",
                },
            ),
        }
        for label in labels:
            part = _identifier(label)
            title = label.replace("_", " ").capitalize()
            found[self._config("binary_sensor", feed, part)] = self._entity(
                feed,
                part,
                title,
                {
                    "state_topic": self.state(feed, label),
                    "json_attributes_topic": self.last_event(feed, label),
                    "payload_on": ON,
                    "payload_off": OFF,
                },
            )
            if control:
                found[self._config("number", feed, part)] = self._entity(
                    feed,
                    f"{_THRESHOLD}{part}",
                    f"{title} threshold",
                    {
                        "state_topic": self.threshold(feed, label),
                        "command_topic": self.set_threshold(feed, label),
                        "min": 0,
                        "max": 1,
                        "step": 0.01,
                        "mode": "box",
                        "entity_category": "config",
                    },
                )
        return found

    def retained(self, feeds: Mapping[str, Sequence[str]], *, discovery: bool, control: bool) -> set[str]:
        """All topics of feeds and their classes that a broker may keep something under."""
        kept: set[str] = set()
        for feed, labels in feeds.items():
            kept |= {self.feed_availability(feed), self.any_state(feed)}
            for label in labels:
                kept |= {self.state(feed, label), self.last_event(feed, label), self.threshold(feed, label)}
            if discovery:
                kept |= set(self.discovery(feed, labels, control=control))
        return kept

    def retained_filters(self) -> list[str]:
        """Subscriptions that find such topics, of any feed and class."""
        return [
            f"{self.prefix}/+/availability",
            *(f"{self.prefix}/+/+/{last}" for last in ("state", "event", "threshold")),
            *(
                f"{self._discovery}/{kind}/{node}/+/config"
                for kind in ("binary_sensor", "sensor", "number")
                for node in (self._node, *self._former_nodes)
            ),
        ]

    def take_over(self, identity: str) -> None:
        """The topics were another installation's, which is no more: what it left is ours to clear."""
        self._former_nodes.append(self._node_of(identity))

    def _node_of(self, identity: str) -> str:
        return "_".join(part for part in (_identifier(self.prefix), _identifier(identity[:8])) if part)

    def _config(self, kind: str, feed: str, part: str) -> str:
        return f"{self._discovery}/{kind}/{self._node}/{_identifier(feed)}__{part}/config"

    def _entity(self, feed: str, part: str, name: str, more: Mapping[str, object]) -> str:
        return json.dumps(
            {
                "name": name,
                "unique_id": f"{self._node}_{_identifier(feed)}__{part}",
                **more,
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


def _class_level(label: str) -> str:
    """Of a class; one that is called like the level of all classes is written in another way."""
    return f"%{ord(_ALL[0]):02X}{_ALL[1:]}" if label == _ALL else _level(label)


def _level(name: str) -> str:
    """One level of a topic; different names stay different."""
    return re.sub(r"[%/+#\0]", lambda match: f"%{ord(match[0]):02X}", name)


def _identifier(name: str) -> str:
    """Letters, digits and "_", as Home Assistant wants them; different names stay different."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return plain if plain == name else f"{plain}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"
