"""Batches of windows, scored in threads while the next ones are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import torch
from numpy.typing import NDArray

from audiocls.inference.feeding import Fed
from audiocls.inference.sources import Source

BATCH_WINDOWS: Final = 32
BATCH_SECONDS: Final = 64.0

Rows = NDArray[Any]
Score = Callable[[Sequence[NDArray[Any]]], Rows]
"""Returns a row of each window."""
Closes = Callable[[Fed], bool]
"""Returns whether a batch ends with an item, however few windows it has."""

Answered = TypeVar("Answered")


def never(_: Fed) -> bool:
    """Close no batch before it is full."""
    return False


def batch_windows(window_seconds: float) -> int:
    """Return how many windows are scored at once: fewer of long windows, whose activations take the memory."""
    return max(1, min(BATCH_WINDOWS, int(BATCH_SECONDS / window_seconds)))


def score_in_batches(
    items: Iterable[Fed], score: Score, most: int, threads: int, closes: Closes
) -> Iterator[tuple[Fed, Rows | None]]:
    """Yield every item in its turn, a window with its row.

    Which windows share a batch depends on nothing but the items, and a batch is computed by one thread, so the rows
    are the same, bit for bit, however many threads there are.

    Args:
        items: Windows and ends of recordings.
        score: The model.
        most: Windows in a batch.
        threads: Batches at a time.
        closes: Whether the batch ends with this item, however few windows it has.
    """
    running: deque[tuple[list[Fed], Future[Rows | None]]] = deque()
    configured = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=_compute_alone) as pool:
        try:
            for batch in _batches(items, most, closes):
                running.append((batch, pool.submit(_score, score, batch)))
                if len(running) > threads:
                    yield from _with_rows(*running.popleft())
            while running:
                yield from _with_rows(*running.popleft())
        finally:
            torch.set_num_threads(configured)  # what threads that begin later take over


def _compute_alone() -> None:
    """Let torch use this thread alone for what this thread computes."""
    torch.get_num_threads()  # initialises the thread, which otherwise happens later and undoes the next line
    torch.set_num_threads(1)


def _batches(items: Iterable[Fed], most: int, closes: Closes) -> Iterator[list[Fed]]:
    batch: list[Fed] = []
    windows = 0
    for item in items:
        batch.append(item)
        windows += item.window is not None
        if windows == most or closes(item):
            yield batch
            batch, windows = [], 0
    if batch:
        yield batch


def _score(score: Score, batch: list[Fed]) -> Rows | None:
    windows = [item.window for item in batch if item.window is not None]
    return score(windows) if windows else None


def _with_rows(batch: list[Fed], scored: Future[Rows | None]) -> Iterator[tuple[Fed, Rows | None]]:
    rows = scored.result()
    following = iter(()) if rows is None else iter(rows)
    for item in batch:
        yield item, None if item.window is None else next(following)


def in_groups(
    groups: Iterable[Sequence[Source]], answer: Callable[[Iterator[Source], Closes], Iterator[Answered]]
) -> Iterator[list[Answered]]:
    """Yield the answers of each group of recordings in its turn; no batch holds windows of two groups.

    Args:
        groups: Of recordings; empty ones are left out.
        answer: Yields an answer for each recording, and closes batches where it is told to.
    """
    sizes: deque[int] = deque()
    ends: set[int] = set()  # the last recording of each group

    def flat() -> Iterator[Source]:
        count = 0
        for group in filter(None, groups):
            count += len(group)
            sizes.append(len(group))
            ends.add(count - 1)
            yield from group

    found: list[Answered] = []
    for each in answer(flat(), lambda item: item.window is None and item.index in ends):
        found.append(each)
        if len(found) == sizes[0]:
            yield found
            sizes.popleft()
            found = []
