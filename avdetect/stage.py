"""Streaming steps and how they are joined: push items in, take items out, flush at the end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
A = TypeVar("A")
B = TypeVar("B")


class Stage(Protocol[In, Out]):
    """A step of the stream that keeps whatever state it needs between items."""

    def push(self, item: In) -> Iterable[Out]:
        """Take one item; give back none, one or many."""
        ...

    def flush(self) -> Iterable[Out]:
        """The stream has ended: give back the rest."""
        ...


def through(items: Iterable[A], stage: Stage[A, B]) -> Iterator[B]:
    """Run ``items`` through ``stage``, lazily, and flush it after the last one."""
    for item in items:
        yield from stage.push(item)
    yield from stage.flush()


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None = None


class Ahead(Iterator[A], Generic[A]):
    """Iterates over ``items`` that a thread of its own makes, at most ``max_items`` ahead of the consumer.

    The thread starts at once, not at the first ``next``. An exception in it is raised in the consumer, in its place
    in the stream. ``close`` (or leaving the ``with`` block) ends the thread after the item it is at, and waits for it.
    """

    def __init__(self, items: Iterable[A], *, max_items: int, name: str) -> None:
        self._queue: queue.Queue[A | _End] = queue.Queue(max_items)
        self._abandoned = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._produce, args=(items,), name=name, daemon=True)
        self._thread.start()

    def __next__(self) -> A:
        if self._ended:
            raise StopIteration
        item = self._queue.get()
        if not isinstance(item, _End):
            return item
        self._ended = True
        self._thread.join()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """Stop making items and wait for the thread."""
        self._ended = True
        self._abandoned.set()
        while self._thread.is_alive():
            with suppress(queue.Empty):  # makes room for a producer that waits for it; it sees that it was abandoned
                self._queue.get(timeout=0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _produce(self, items: Iterable[A]) -> None:
        try:
            for item in items:
                self._queue.put(item)
                if self._abandoned.is_set():
                    return
        except BaseException as error:  # whatever it is, it is the consumer's to handle
            self._queue.put(_End(error))
        else:
            self._queue.put(_End())
