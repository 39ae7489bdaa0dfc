"""Thresholds of segments, tuned on whole validation recordings whose events the data give, and measured on test.

The events of a recording are the clips that are cut out of it. Between them there is nothing to be found.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from audiocls.batches import hop_samples, place_windows
from audiocls.evaluation.held_out import window_logits
from audiocls.inference import Segment, SegmentParams, WindowScores, find_segments, tune_segments
from audiocls.metrics import event_f1, probabilities_of
from audiocls.models import labels_of
from audiocls.sources import is_multi_label
from audiocls.splits import PreparedData
from audiocls.waveforms import recording_keys, whole_recordings

logger = logging.getLogger(__name__)

COLLAR_SECONDS = 0.2

Recording = tuple[WindowScores, list[Segment]]
"""The scores of a recording's windows, and its events."""


@dataclass(frozen=True, slots=True)
class TunedSegments:
    """The tuned params, None if the defaults are kept, and the event scores of validation and test."""

    params: SegmentParams | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def tune_on_events(
    model: PreTrainedModel,
    extractor: Any,
    table: pd.DataFrame,
    data: PreparedData,
    temperature: float = 1.0,
    fixed: SegmentParams | None = None,
) -> TunedSegments:
    """Tune the thresholds of segments on validation, and measure the events that they find in test.

    Clips with any number of labels are windows and not events, so there is nothing to tune by.

    The resolution is the distance of the windows, as in `Classifier.segments`. Only recordings are used whose clips are
    all segments of one split, and at most `evaluation.segment_minutes` of each split.

    Args:
        model: On the device to compute on.
        extractor: Its feature extractor.
        table: The clips with their splits.
        data: The run's.
        temperature: That logits are divided by.
        fixed: Nothing is tuned, and these are measured on test.
    """
    audio, minutes = data.params.audio, data.params.evaluation.segment_minutes
    if minutes == 0 or audio.truncate == "fusion" or "recording_hash" not in table or is_multi_label(table):
        return TunedSegments()
    if fixed is not None:
        return TunedSegments(fixed, _measured(fixed, model, extractor, table, data, temperature))
    recordings = _recordings(table, "validation", data)
    if recordings.empty:
        return TunedSegments()
    labels, hop, rate_hz = labels_of(model), hop_samples(audio), audio.sample_rate_hz
    validation = _scored(model, extractor, recordings, table, data, temperature)
    params, f1 = tune_segments(validation, labels, hop, rate_hz, collar_seconds=COLLAR_SECONDS)
    if f1 == 0:
        logger.warning(
            "No segment on %d validation recordings agrees with their events within %g s, so the default thresholds of "
            "segments are kept. Windows start every %.3g s; a shorter audio.chunk.hop gives a finer resolution.",
            len(validation), COLLAR_SECONDS, hop / rate_hz,
        )  # fmt: skip
        return TunedSegments(None, {"validation/event_f1": 0.0})
    logger.info("Tuned the thresholds of segments on %d validation recordings: event F1 %.3f.", len(validation), f1)
    measured = _measured(params, model, extractor, table, data, temperature)
    return TunedSegments(params, {"validation/event_f1": f1} | measured)


def _measured(
    params: SegmentParams,
    model: PreTrainedModel,
    extractor: Any,
    table: pd.DataFrame,
    data: PreparedData,
    temperature: float,
) -> dict[str, float]:
    """Measure the events that are found in the recordings of test; empty if there are none."""
    recordings = _recordings(table, "test", data)
    if recordings.empty:
        return {}
    labels, audio = labels_of(model), data.params.audio
    test = _scored(model, extractor, recordings, table, data, temperature)
    found = [find_segments(scores, labels, params, hop_samples(audio), audio.sample_rate_hz) for scores, _ in test]
    scores = event_f1([events for _, events in test], found, COLLAR_SECONDS)
    return {"test/event_f1": scores.f1, "test/event_precision": scores.precision, "test/event_recall": scores.recall}


def _recordings(table: pd.DataFrame, split: str, data: PreparedData) -> pd.DataFrame:
    """Return a row per recording of a split, with the samples of the whole; in an order that is no one's choice."""
    keys = recording_keys(table)
    # A clip that is a whole file has no start, and says nothing of when its sound is there.
    usable = ((table["split"] == split) & table["start_seconds"].notna()).groupby(keys).all()
    clips = table[keys.isin(usable.index[usable])]
    if clips.empty:
        return clips
    whole = whole_recordings(clips, data.waveforms).sort_values("recording_hash", kind="stable")
    minutes = (whole["num_samples"] / data.params.audio.sample_rate_hz / 60).cumsum()
    most = data.params.evaluation.segment_minutes
    taken = whole[minutes <= most]
    if len(taken) < len(whole):
        logger.info(
            "Segments are compared with the events of %d of %d %s recordings, as evaluation.segment_minutes is %g.",
            len(taken), len(whole), split, most,
        )  # fmt: skip
    return taken


def _scored(
    model: PreTrainedModel,
    extractor: Any,
    recordings: pd.DataFrame,
    table: pd.DataFrame,
    data: PreparedData,
    temperature: float,
) -> list[Recording]:
    """Score the windows of whole recordings, and add the events that the table has of them."""
    lengths = recordings["num_samples"].to_numpy(np.int64)
    windows = place_windows(lengths, data.params.audio)
    # The feature store has no windows of whole recordings.
    logits = np.concatenate(list(window_logits(model, extractor, recordings, replace(data, features=None))))
    probabilities = probabilities_of(logits, temperature)
    keys = recording_keys(table)
    scored = []
    for position, (key, length) in enumerate(zip(recordings.index, lengths, strict=True)):
        own = windows.clip == position
        scores = WindowScores(windows.start[own], windows.length[own], probabilities[own], int(length))
        scored.append((scores, _events(table[keys == key], data.params.audio.sample_rate_hz)))
    return scored


def _events(clips: pd.DataFrame, rate_hz: int) -> list[Segment]:
    starts: Sequence[float] = (clips["start_sample"] / rate_hz).tolist()
    ends: Sequence[float] = ((clips["start_sample"] + clips["num_samples"]) / rate_hz).tolist()
    # The same recording may be listed under two paths.
    spans = sorted(set(zip(clips["label"], starts, ends, strict=True)))
    return [Segment(label, start, end, 1.0) for label, start, end in spans]
