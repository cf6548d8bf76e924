"""From the store to the sinks: in order, at least once, each sink at its own pace."""

from __future__ import annotations

import logging
import math
import threading
import time
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, Self

from avdetect.backoff import Backoff
from avdetect.errors import AvdetectError
from avdetect.redaction import redacted
from avdetect.serve.sinks.base import Delivery, DeliveryError, SetThreshold, Sink
from avdetect.serve.store import Store

__all__ = ["DeliveryObserver", "Dispatcher"]

_LOG = logging.getLogger(__name__)
_BATCH = 100
"""Reports read from the store at once."""
_CLOSE_WITHIN_S = 2.0
"""For the attempts under way; as long again where their sink has been closed under them."""
_LOG_INTERVAL_S = 60.0
"""Between two lines of the log that say the same of a sink."""


class DeliveryObserver(Protocol):
    """Counts; called from the threads of the sinks."""

    def count_delivered(self, sink: str) -> None:
        """A sink has taken a report."""
        ...

    def count_failed(self, sink: str) -> None:
        """An attempt failed."""
        ...


class Dispatcher:
    """Delivers what the store holds for each sink, one thread per sink; a context manager.

    A report is tried until its sink takes it, refuses it for good, or retention makes room; those behind it wait, so
    that the order holds. What was not delivered when the program ended is delivered by the next.
    """

    def __init__(
        self,
        store: Store,
        sinks: Sequence[Sink],
        *,
        first_retry_s: float = 1.0,
        max_retry_s: float = 60.0,
        observer: DeliveryObserver | None = None,
        set_threshold: SetThreshold | None = None,
    ) -> None:
        """Begin to deliver.

        Args:
            store: what to deliver. What waits there for sinks that are not among these is given up.
            sinks: opened here, and closed by ``close``.
            first_retry_s: how long to wait after the first failure, where the sink does not say so itself.
            max_retry_s: the longest such wait, however many failures there were.
            observer: told of every attempt.
            set_threshold: what sinks that take orders set thresholds with.
        """
        self._store = store
        self._first_retry_s, self._max_retry_s = first_retry_s, max_retry_s
        self._observer = observer
        self._set_threshold = set_threshold
        self._workers: tuple[_Worker, ...] = ()  # never changed, only replaced: other threads go through it
        self.replace((), sinks)

    def replace(self, names: Collection[str], sinks: Sequence[Sink]) -> None:
        """Close the sinks of these names, then deliver to others; those that are neither do not notice.

        New sinks have to be told by ``announce`` and ``status`` what there is.

        Args:
            names: of sinks that are closed; what waits for them is given up, unless there is one of that name again.
            sinks: opened here, and closed by ``close``.
        """
        closed = [worker for worker in self._workers if worker.sink.name in names]
        self._workers = tuple(worker for worker in self._workers if worker not in closed)
        _close(closed)  # first: two connections to a broker would tell opposite things
        kept = [worker.sink.name for worker in self._workers]
        if num_given_up := self._store.give_up_all_but([*kept, *(sink.name for sink in sinks)]):
            _LOG.warning("reports given up, as their sinks are not configured any more: %d", num_given_up)
        if self._set_threshold is not None:
            for sink in sinks:
                sink.obey(self._set_threshold)
        self._workers += tuple(
            _Worker(self._store, sink, Backoff(first_s=self._first_retry_s, max_s=self._max_retry_s), self._observer)
            for sink in sinks
        )

    def wake(self) -> None:
        """Something was recorded."""
        for worker in self._workers:
            worker.wake()

    def announce(self, feeds: Mapping[str, Sequence[str]]) -> None:
        """Tell the sinks which feeds there are, and which classes of each."""
        active = self._store.active()
        for worker in self._workers:
            worker.sink.announce(feeds, active)

    def status(self, feed: str, online: bool) -> None:
        """Tell the sinks whether a feed is seen at present."""
        for worker in self._workers:
            worker.sink.status(feed, online)

    def level(self, feed: str, dbfs: float) -> None:
        """Tell the sinks how loud a feed is."""
        for worker in self._workers:
            worker.sink.level(feed, dbfs)

    def thresholds(self, feed: str, values: Mapping[str, float]) -> None:
        """Tell the sinks from which probability on the classes of a feed are events."""
        for worker in self._workers:
            worker.sink.thresholds(feed, values)

    def backlog(self) -> dict[str, int]:
        """How many reports wait, for each sink."""
        waiting = self._store.backlog()
        return {worker.sink.name: waiting.get(worker.sink.name, 0) for worker in self._workers}

    def drain(self, timeout_s: float) -> int:
        """Deliver what is there, as far as it can be done in this time; waits for a backoff are cut short.

        Returns:
            How many reports are still waiting.
        """
        deadline = time.monotonic() + timeout_s
        for worker in self._workers:
            worker.hurry()
        for worker in self._workers:
            worker.wait_until_idle(max(0.0, deadline - time.monotonic()))
        return sum(self.backlog().values())

    def close(self) -> None:
        """Stop delivering and close the sinks; attempts under way have a few seconds."""
        _close(self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close(workers: Sequence[_Worker]) -> None:
    """Close sinks, also under their threads where those take long; a thread that hangs all the same is left behind."""
    for worker in workers:
        worker.stop()
    _join(workers)
    for worker in workers:
        worker.sink.close()
    _join(workers)


def _join(workers: Sequence[_Worker]) -> None:
    deadline = time.monotonic() + _CLOSE_WITHIN_S
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))


class _Worker:
    """The thread of one sink."""

    def __init__(self, store: Store, sink: Sink, backoff: Backoff, observer: DeliveryObserver | None) -> None:
        self._store = store
        self.sink = sink
        self._backoff = backoff
        self._observer = observer
        self._journal = _Journal(sink.name)
        self._taken_seq = -1
        self._changed = threading.Condition()
        self._recorded = False
        self._hurried = False
        self._stopping = False
        self._idle = False
        self._thread = threading.Thread(target=self._run, name=f"deliver {sink.name}", daemon=True)
        sink.open()
        self._thread.start()

    def wake(self) -> None:
        with self._changed:
            self._recorded = True
            self._changed.notify_all()

    def hurry(self) -> None:
        """Do not wait any longer for the next attempt."""
        with self._changed:
            self._hurried = True
            self._recorded = True
            self._changed.notify_all()

    def wait_until_idle(self, timeout_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._idle and not self._recorded, timeout_s)

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping:
            self._recorded = False  # before looking: what is recorded from here on sets it again
            try:
                batch = self._store.next_deliveries(self.sink.name, _BATCH)
                for delivery in batch:
                    if self._stopping:
                        return
                    self._deliver(delivery)
                    self._backoff.reset()
            except Exception as error:  # a mistake of ours, too, must not end the deliveries for good
                if self._stopping:
                    return
                delay_s = self._backoff.next_s()
                self._journal.failed(error)
                asked_s = error.retry_after_s if isinstance(error, DeliveryError) else None
                self._pause(delay_s if asked_s is None else asked_s)
                continue  # read anew: meanwhile a later report may have superseded this one
            if not batch:
                self._rest()

    def _deliver(self, delivery: Delivery) -> None:
        """Deliver once, and note that in the store."""
        if delivery.seq != self._taken_seq:  # else the sink has it, but the store could not note that
            try:
                self.sink.deliver(delivery)
            except DeliveryError as error:
                if self._observer is not None:
                    self._observer.count_failed(self.sink.name)
                if not error.permanent:
                    raise
                self._store.give_up(self.sink.name, delivery.seq, redacted(str(error)))
                self._journal.refused(error)
                return
            self._taken_seq = delivery.seq
            self._journal.succeeded()
            if self._observer is not None:
                self._observer.count_delivered(self.sink.name)
        self._store.delivered(self.sink.name, delivery.seq)

    def _pause(self, delay_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or self._hurried, delay_s)
            self._hurried = False

    def _rest(self) -> None:
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._recorded or self._stopping)
            self._idle = False


class _Journal:
    """What the log says of a sink: when it begins to fail and when it works again, but not every attempt."""

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._failing_since_s: float | None = None
        self._failure_logged_s = -math.inf
        self._refusal_logged_s = -math.inf
        self._num_unlogged_refusals = 0

    def failed(self, error: Exception) -> None:
        now_s = time.monotonic()
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failure_logged_s >= _LOG_INTERVAL_S:
            self._failure_logged_s = now_s
            foreseen = isinstance(error, AvdetectError)
            text = redacted(str(error) if foreseen else "".join(traceback.format_exception(error)))
            _LOG.warning("sink %s fails, it is tried again: %s", self._sink, text)

    def succeeded(self) -> None:
        if self._failing_since_s is None:
            return
        if self._failure_logged_s >= self._failing_since_s:
            _LOG.info("sink %s works again after %.0f s", self._sink, time.monotonic() - self._failing_since_s)
        self._failing_since_s = None

    def refused(self, error: DeliveryError) -> None:
        self._num_unlogged_refusals += 1
        now_s = time.monotonic()
        if now_s - self._refusal_logged_s >= _LOG_INTERVAL_S:
            self._refusal_logged_s = now_s
            text = redacted(str(error))
            _LOG.error("sink %s refuses reports for good (%d): %s", self._sink, self._num_unlogged_refusals, text)
            self._num_unlogged_refusals = 0
