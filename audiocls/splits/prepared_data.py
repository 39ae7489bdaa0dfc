"""The data of a run once its clips are split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from audiocls.params import RunParams


@dataclass(frozen=True, slots=True)
class PreparedData:
    """Where the clips of a run are, with their splits, samples and features, and the params of the run.

    Attributes:
        split_clips: The clips table with its splits.
        waveforms: The waveform store.
        params: Of the whole run.
        features: The feature store; None if no features are kept. Results are the same without it.
        digest: Of the corpus, which the settings of the model name; None if unknown.
    """

    split_clips: Path
    waveforms: Path
    params: RunParams
    features: Path | None = None
    digest: str | None = None
