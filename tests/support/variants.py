"""Cases of a kind that another case shows: `make test-variants` runs them all, and `make test` some."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

import pytest

QUICK_FAMILIES: Final = (
    "logmel-resnet",
    "wav2vec2",
    "wav2vec2-bert",
    "audio-spectrogram-transformer",
    "whisper",
    "clap",
)
"""One of each kind of input; the other families take waveforms as wav2vec2 does."""


def some(cases: Iterable[Any], quick: Collection[Any]) -> list[Any]:
    """Return all cases, marked unless they are among those that every run of the tests takes."""
    cases = list(cases)
    assert all(case in cases for case in quick)
    return [
        pytest.param(*(case if isinstance(case, tuple) else [case]), marks=() if case in quick else pytest.mark.variant)
        for case in cases
    ]
