"""Score test clips again with noise, over a telephone, encoded, louder, quieter and shifted.

A corruption fails if the score falls further than chance explains. If a corruption had no effect, it would not matter
which of its answers and the plain ones are called corrupted. So the two are exchanged for randomly chosen groups, 1,000
times, and the loss must be within what such exchanges give, with a correction for the number of corruptions
(`chance.lowest_by_chance`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from transformers import PreTrainedModel

from audiocls.augmentation import clip_seeds
from audiocls.batches import Collator, WaveformBatch, augment_batch, build_augmenter
from audiocls.evaluation.answers import Answers
from audiocls.evaluation.chance import SIMULATIONS, lowest_by_chance
from audiocls.evaluation.held_out import batch_logits
from audiocls.features import open_clips
from audiocls.metrics import FEWEST_GROUPS, interval, probabilities_of
from audiocls.models import labels_of
from audiocls.params import AnyAugmentation, Codec, Gain, HighPass, LowPass, Noise, Shift
from audiocls.progress import progress_bar
from audiocls.sources import targets_of
from audiocls.splits import PreparedData

CORRUPTIONS: Final[Mapping[str, tuple[AnyAugmentation, ...]]] = {
    **{f"noise_{snr}_db": (Noise(kind="noise", min_snr_db=snr, max_snr_db=snr),) for snr in (20, 10, 0)},
    "telephone_band": (
        HighPass(kind="high_pass", min_cutoff_hz=300, max_cutoff_hz=300, order=8),
        LowPass(kind="low_pass", min_cutoff_hz=3_400, max_cutoff_hz=3_400, order=16),
        # A filter alone leaves faint high frequencies, which a log-mel model still sees.
        Codec(kind="codec", min_bits=8, max_bits=8, bandwidth_hz=None),
    ),
    "low_rate_codec": (Codec(kind="codec", min_bits=4, max_bits=4, bandwidth_hz=3_400),),
    "gain_minus_20_db": (Gain(kind="gain", min_db=-20, max_db=-20),),
    "gain_plus_6_db": (Gain(kind="gain", min_db=6, max_db=6),),
    "shift": (Shift(kind="shift", max_seconds=0.1),),
}
"""The transforms of each corruption; all values but the direction and length of the shift are fixed."""

PLAIN: Final = "none"


@dataclass(frozen=True, slots=True)
class Corruption:
    """The score of test clips with one corruption, against the same clips without it."""

    kind: str
    clips: int
    groups: int
    score: float
    loss: float  # of the score
    low: float  # 95 % interval of the loss over groups; NaN with too few
    high: float
    unchanged: float  # fraction of the clips with the same prediction
    limit: float  # the largest loss that chance explains; NaN: there is no verdict

    @property
    def verdict(self) -> str:
        """`pass`, `fail`, or "" with too few groups."""
        if np.isnan(self.limit):
            return ""
        return "fail" if self.loss > self.limit + 1e-12 else "pass"


@dataclass(frozen=True, slots=True)
class CorruptedAnswers:
    """The answers of a model to some test clips, as they are and with each corruption."""

    clip_ids: NDArray[np.str_]
    plain: Answers
    corrupted: dict[str, Answers]

    def table(self, labels: Sequence[str]) -> pd.DataFrame:
        """Return a row per corruption and clip, with the predicted label, or labels and probabilities."""
        parts = []
        for kind, answers in self.corrupted.items():
            part = pd.DataFrame({"corruption": kind, "clip_id": self.clip_ids})
            if answers.probabilities is None:
                part["predicted"] = [labels[index] for index in answers.predicted]
            else:
                part["predicted"] = [[labels[int(i)] for i in np.flatnonzero(row)] for row in answers.predicted]
                for index, label in enumerate(labels):
                    part[f"probability/{label}"] = answers.probabilities[:, index]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)


def answer_corruptions(
    model: PreTrainedModel,
    extractor: Any,
    clips: pd.DataFrame,
    data: PreparedData,
    thresholds: NDArray[np.float64] | None,
) -> CorruptedAnswers:
    """Answer at most `evaluation.robustness_clips` test clips with each corruption.

    One window of each clip is scored, with and without the corruption: the one that training would see with
    `audio.truncate`, the middle one if it is random.

    Args:
        model: On the device to compute on.
        extractor: Its feature extractor.
        clips: Rows of the clips table.
        data: The run's.
        thresholds: From which on a label is predicted, if clips may have any number of labels.
    """
    params, labels = data.params, labels_of(model)
    rows = np.arange(len(clips))
    if len(clips) > params.evaluation.robustness_clips:
        chosen = np.random.default_rng(params.seed).choice(rows, params.evaluation.robustness_clips, replace=False)
        rows = np.sort(chosen)
    clips = clips.iloc[rows]
    logits = _logits(model, extractor, clips, data)
    targets, groups = targets_of(clips, labels), clips["group"].to_numpy(str)

    def answers(found: NDArray[np.float32]) -> Answers:
        if thresholds is None:
            return Answers(targets, found.argmax(axis=1), groups, len(labels))
        probabilities = probabilities_of(found, multi_label=True)
        return Answers(targets, probabilities >= thresholds, groups, len(labels), probabilities)

    plain = answers(logits.pop(PLAIN))
    corrupted = {kind: answers(found) for kind, found in logits.items()}
    return CorruptedAnswers(clips["clip_id"].to_numpy(str), plain, corrupted)


def compare(plain: Answers, corrupted: Mapping[str, Answers], seed: int) -> list[Corruption]:
    """Compare the answers to corrupted clips with those to the same clips as they are."""
    num_groups, tested = len(np.unique(plain.groups)), plain.tested
    limits = np.full(len(corrupted), np.nan)
    if num_groups >= FEWEST_GROUPS:
        drawn = np.stack(_exchanged(plain, [*corrupted.values()], seed))
        limits = 0.0 - lowest_by_chance(-drawn)[2]
    whole, found = plain.jackknifes()[tested], []
    for (kind, answers), limit in zip(corrupted.items(), limits.tolist(), strict=True):
        other = answers.jackknifes()[tested]
        loss = interval(whole.minus(other))
        same = plain.predicted == answers.predicted
        unchanged = float((same if same.ndim == 1 else same.all(axis=1)).mean())
        value, low, high = (float(np.squeeze(end)) for end in (loss.value, loss.low, loss.high))
        score = float(other.whole[0])
        found.append(Corruption(kind, len(plain), num_groups, score, value, low, high, unchanged, limit))
    return found


def _exchanged(plain: Answers, corrupted: list[Answers], seed: int) -> list[NDArray[np.float64]]:
    """Return the losses of each corruption if answers are exchanged for random groups, each (SIMULATIONS,)."""
    group = np.unique(plain.groups, return_inverse=True)[1]
    of_group = csr_array((np.ones(len(group)), (group, np.arange(len(group)))))
    exchanged = np.random.default_rng(seed).integers(0, 2, (SIMULATIONS, group.max() + 1)).astype(np.float64)
    own = (of_group @ plain.parts()).toarray()
    losses = []
    for answers in corrupted:
        other = (of_group @ answers.parts()).toarray()
        moved = exchanged @ (other - own)
        losses.append(plain.score_sums(own.sum(axis=0) + moved) - plain.score_sums(other.sum(axis=0) - moved))
    return losses


def _logits(
    model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData
) -> dict[str, NDArray[np.float32]]:
    """Return the logits of the clips as they are, under PLAIN, and with each corruption."""
    params = data.params
    dataset = open_clips(clips, labels_of(model), extractor, PreparedData(data.split_clips, data.waveforms, params))
    collator = Collator(extractor, params.audio, leave_to_device=model.device.type != "cpu")
    corrupt = {kind: _corruptor(kind, data, len(labels_of(model))) for kind in (PLAIN, *CORRUPTIONS)}
    logits: dict[str, list[NDArray[np.float32]]] = {kind: [] for kind in corrupt}
    size = params.training.eval_batch_size
    with progress_bar("testing robustness", len(dataset) * len(corrupt), "corrupted windows") as bar:
        for start in range(0, len(dataset), size):
            rows = range(start, min(start + size, len(dataset)))
            batch = dataset.__getitems__(rows)
            assert isinstance(batch, WaveformBatch)  # as no features are stored
            for kind, change in corrupt.items():
                logits[kind].append(batch_logits(model, collator, collator(change(batch, rows))))
                bar.advance(len(rows))
    return {kind: np.concatenate(parts) for kind, parts in logits.items()}


def _corruptor(kind: str, data: PreparedData, num_classes: int) -> Callable[[WaveformBatch, range], WaveformBatch]:
    """Return a function that corrupts the clips of some rows; each clip has a seed of its own."""
    steps = [*CORRUPTIONS.get(kind, ())]
    augmenter = build_augmenter(data.params.model_copy(update={"augmentation": steps}), num_classes)
    if augmenter is None:
        return lambda batch, rows: batch
    return lambda batch, rows: augment_batch(augmenter, batch, clip_seeds(data.params.seed, rows).tolist())[0]


def robustness_table(corruptions: list[Corruption], tested: str) -> pd.DataFrame:
    """Return a row per corruption, the largest loss first."""
    rows = [
        {"corruption": each.kind, "clips": each.clips, "groups": each.groups, tested: each.score, "loss": each.loss}
        | {"loss_low": each.low, "loss_high": each.high, "unchanged": each.unchanged}
        | {"limit": each.limit, "verdict": each.verdict}
        for each in sorted(corruptions, key=lambda each: -each.loss)
    ]
    return pd.DataFrame(rows)
