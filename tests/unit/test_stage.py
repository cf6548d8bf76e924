from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from avdetect.stage import Ahead, through


class Pairs:
    def __init__(self) -> None:
        self.kept: list[int] = []

    def push(self, item: int) -> Iterable[tuple[int, ...]]:
        self.kept.append(item)
        return self.flush() if len(self.kept) == 2 else ()

    def flush(self) -> Iterable[tuple[int, ...]]:
        kept, self.kept = self.kept, []
        return [tuple(kept)] if kept else []


def test_a_stage_is_flushed_once_after_the_last_item() -> None:
    assert list(through(range(5), Pairs())) == [(0, 1), (2, 3), (4,)]


def test_items_made_ahead_come_in_order_and_end() -> None:
    with Ahead(range(1000), max_items=3, name="test") as items:
        assert list(items) == list(range(1000))
        assert list(items) == []


def test_no_more_than_the_bound_is_made_ahead() -> None:
    made: list[int] = []

    def source() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with Ahead(source(), max_items=4, name="test") as items:
        next(items)
        time.sleep(0.1)
        assert len(made) <= 1 + 4 + 1  # taken, queued, and one in the producer's hand


def test_an_error_is_raised_in_its_place_in_the_stream() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise RuntimeError("the third wheel came off")

    with Ahead(source(), max_items=8, name="test") as items:
        assert next(items) == 1
        with pytest.raises(RuntimeError, match="third wheel"):
            next(items)
        with pytest.raises(StopIteration):
            next(items)


@pytest.mark.parametrize("taken", [0, 1, 10])
def test_closing_early_ends_the_thread(taken: int) -> None:
    before = set(threading.enumerate())

    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    items = Ahead(endless(), max_items=2, name="test")
    for _ in range(taken):
        next(items)
    items.close()
    assert set(threading.enumerate()) == before
    assert list(items) == []


def test_closing_a_chain_of_threads_ends_all_of_them() -> None:
    before = set(threading.enumerate())
    first = Ahead(iter(int, 1), max_items=2, name="first")
    second = Ahead(through(first, Pairs()), max_items=2, name="second")
    next(second)
    second.close()
    first.close()
    assert set(threading.enumerate()) == before
