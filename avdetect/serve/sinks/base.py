"""What the store hands to a sink, and what a sink has to do with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from avdetect.errors import AvdetectError

__all__ = ["Delivery", "DeliveryError", "DeliveryKind", "SetThreshold", "Sink", "StatelessSink"]

SetThreshold = Callable[[str, str, float | None], None]
"""Sets the threshold of a feed and a class, or with ``None`` takes back what was set; raises ``UsageError``."""

DeliveryKind = Literal["event", "clip", "gap"]
"""An event opened, went on or closed; the clip of an event is there; a gap began or ended."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One report for one sink. It comes again if the sink, or this program, failed before the end was noted."""

    seq: int
    """Grows from report to report; never used twice."""
    key: str
    """The same whenever this report comes, and of no other: a receiver that has seen it ignores it."""
    kind: DeliveryKind
    payload: Mapping[str, Any]
    """For JSON: ``FeedEvent.as_dict()``; of a gap ``FeedGap.as_dict()`` and its ``id``."""
    superseded: bool = False
    """Whether a later report of the same event is waiting: this one is history, not the present state."""

    def document(self) -> dict[str, Any]:
        """What goes over the wire, for JSON."""
        return {"kind": self.kind, "key": self.key, **self.payload}


class DeliveryError(AvdetectError):
    """A sink could not take a report."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        """Say why.

        Args:
            message: one sentence, without credentials.
            permanent: whether this report would be refused again; those behind it may be welcome.
            retry_after_s: when the receiver asked to be tried again; ``None`` for the usual backoff.
        """
        super().__init__(message)
        self.permanent = permanent
        self.retry_after_s = retry_after_s


class Sink(Protocol):
    """Takes reports one after the other, from one thread; ``status``, ``announce`` and ``close`` come from others."""

    @property
    def name(self) -> str:
        """As configured: the outbox is kept under it."""
        ...

    def open(self) -> None:
        """Begin to connect, where that is needed; called once, before all that follows."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Return when the receiver has the report for good.

        Raises:
            DeliveryError: it has not.
        """
        ...

    def announce(self, feeds: Mapping[str, Sequence[str]], active: Collection[tuple[str, str]]) -> None:
        """Say which feeds there are, and the classes whose events are wanted of each; must not block.

        ``active`` are the feeds and classes that have an open event.
        """
        ...

    def status(self, feed: str, online: bool) -> None:
        """Say whether a feed is seen at present; must not block."""
        ...

    def level(self, feed: str, dbfs: float) -> None:
        """Say how loud a feed is now, at most 0; must not block."""
        ...

    def thresholds(self, feed: str, values: Mapping[str, float]) -> None:
        """Say from which probability on the classes of a feed are events now; must not block."""
        ...

    def obey(self, set_threshold: SetThreshold) -> None:
        """Take orders, if it is a sink that can, and set thresholds with this; called once, before ``open``."""
        ...

    def close(self) -> None:
        """Let go of connections; a ``deliver`` under way gives up soon."""
        ...


class StatelessSink:
    """For sinks that know reports only, and hold nothing open."""

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None:
        """Nothing to connect to."""

    def announce(self, feeds: Mapping[str, Sequence[str]], active: Collection[tuple[str, str]]) -> None:
        """Nothing to tell."""

    def status(self, feed: str, online: bool) -> None:
        """Nothing to tell."""

    def level(self, feed: str, dbfs: float) -> None:
        """Nothing to tell."""

    def thresholds(self, feed: str, values: Mapping[str, float]) -> None:
        """Nothing to tell."""

    def obey(self, set_threshold: SetThreshold) -> None:
        """Nobody gives orders here."""

    def close(self) -> None:
        """Nothing to let go of."""
