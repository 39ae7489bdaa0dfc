"""The windows of many recordings, decoded ahead of the model in threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import hop_samples, input_samples
from audiocls.decoding import UnusableClipError
from audiocls.inference.sources import Source, name_of, stream
from audiocls.inference.windows import WindowCutter
from audiocls.params import AudioParams

_AHEAD_WINDOWS = 64  # decoded before their turn by one task of a thread
_TOGETHER = 8  # recordings that one task decodes; handing over takes a thread as long as decoding a short one
_THREADS = min(4, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Fed:
    """A window of a recording, or its end: then `window` is None."""

    index: int  # of the recording among those given
    name: str
    window: NDArray[np.float32] | None = None
    first_sample: int = 0
    num_samples: int = 0  # of the whole recording, at its end
    windows: int = 0  # of the whole recording, at its end
    reason: str | None = None
    detail: str | None = None


def cut(source: Source, audio: AudioParams, index: int = 0, hop_seconds: float | None = None) -> Iterator[Fed]:
    """Yield the windows of one recording and then its end, which has the reason if it cannot be used."""
    name = name_of(source)
    windows = received = 0
    try:
        if audio.truncate == "fusion":  # the model sees a recording as a whole
            whole = np.concatenate(list(_limited(stream(source, audio), audio)))
            yield Fed(index, name, whole)
            windows, received = 1, len(whole)
        else:
            hop = hop_samples(audio) if hop_seconds is None else round(hop_seconds * audio.sample_rate_hz)
            cutter = WindowCutter(input_samples(audio), hop)
            for block in stream(source, audio):
                for window in cutter.add(block):
                    windows += 1
                    yield Fed(index, name, window.samples, window.first_sample)
            for window in cutter.finish():
                windows += 1
                yield Fed(index, name, window.samples, window.first_sample)
            received = cutter.received
    except UnusableClipError as error:
        yield Fed(index, name, reason=error.reason, detail=error.detail)
        return
    yield Fed(index, name, num_samples=received, windows=windows)


def _limited(blocks: Iterator[NDArray[np.float32]], audio: AudioParams) -> Iterator[NDArray[np.float32]]:
    received = 0
    for block in blocks:
        received += len(block)
        seconds = received / audio.sample_rate_hz
        if seconds > audio.max_file_seconds:
            raise UnusableClipError(
                "too_long", f"over {seconds:.1f} s, and audio.max_file_seconds is {audio.max_file_seconds:g}"
            )
        yield block


def feed(sources: Iterable[Source], audio: AudioParams, hop_seconds: float | None = None) -> Iterator[Fed]:
    """Yield the windows of all recordings in order, the first of the next ones decoded in threads meanwhile.

    Of each recording at most a few windows are held, however long it is.
    """
    pending: deque[Future[_Begun]] = deque()
    numbered = enumerate(sources)
    with ThreadPoolExecutor(_THREADS) as threads:

        def start() -> bool:
            together = list(islice(numbered, _TOGETHER))
            if together:
                items = chain.from_iterable(cut(source, audio, index, hop_seconds) for index, source in together)
                pending.append(threads.submit(_begin, items))
            return bool(together)

        while len(pending) < 2 * _THREADS and start():
            pass
        while pending:
            items, rest = pending.popleft().result()
            start()
            while items:
                following = threads.submit(_begin, rest) if rest is not None else None
                yield from items
                items, rest = following.result() if following else ([], None)


_Begun = tuple[list[Fed], Iterator[Fed] | None]


def _begin(items: Iterator[Fed]) -> _Begun:
    """Take the first windows of some recordings, and return what follows them; None if nothing does."""
    taken = []
    windows = 0
    for item in items:
        taken.append(item)
        windows += not _is_end(item)
        if windows == _AHEAD_WINDOWS:
            return taken, items
    return taken, None


def _is_end(item: Fed) -> bool:
    return item.window is None
