"""How every streaming step is joined: push items in, take items out, flush at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

__all__ = ["Stage", "through"]

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
