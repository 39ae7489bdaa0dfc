"""The logits of a split's windows, on disk: what is chosen on validation reads them several times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from audiocls.batches import Collator, Windows, choose_loading, cut_into_windows, place_windows
from audiocls.features import open_clips
from audiocls.models import labels_of
from audiocls.sources import targets_of
from audiocls.splits import PreparedData

_BATCH_WINDOWS: Final = 8_192


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The clips of a split, and the logits of their windows, which are mapped from disk."""

    clips: pd.DataFrame
    targets: NDArray[Any]  # (num_clips,), class indices; or (num_clips, num_classes), see `sources.targets_of`
    windows: Windows
    logits: NDArray[np.float32]  # (num_windows, num_classes)

    @property
    def is_multi_label(self) -> bool:
        """Whether clips may have any number of labels."""
        return self.targets.ndim == 2

    @property
    def per_clip(self) -> NDArray[np.int64]:
        """Number of windows of each clip, (num_clips,)."""
        return np.bincount(self.windows.clip, minlength=len(self.clips))

    def batches(self) -> Iterator[NDArray[np.float32]]:
        """Yield the logits in their order, so that only a part of them is in memory."""
        for start in range(0, len(self.logits), _BATCH_WINDOWS):
            yield np.array(self.logits[start : start + _BATCH_WINDOWS])


def score_windows(
    model: PreTrainedModel,
    extractor: Any,
    clips: pd.DataFrame,
    data: PreparedData,
    file: Path,
    advance: Callable[[float], None],
) -> HeldOut:
    """Score the windows of clips, and keep the logits in a file; `advance` is told of how many windows were scored."""
    labels = labels_of(model)
    with file.open("wb") as out:
        for batch in window_logits(model, extractor, clips, data):
            out.write(batch.astype("<f4").tobytes())
            advance(len(batch))
    targets = targets_of(clips, labels)
    windows = place_windows(clips["num_samples"].to_numpy(np.int64), data.params.audio)
    shape = (len(windows.clip), len(labels))
    # An empty file cannot be mapped.
    logits: Any = np.memmap(file, "<f4", "r", shape=shape) if shape[0] else np.empty(shape, np.float32)
    return HeldOut(clips, targets, windows, logits)


def window_logits(
    model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData
) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of the clips' windows in batches, each (windows, num_classes)."""
    audio, batch_size = data.params.audio, data.params.training.eval_batch_size
    dataset = open_clips(cut_into_windows(clips, audio), labels_of(model), extractor, data)
    options = choose_loading(model.device.type).loader_options()
    collator = Collator(extractor, audio, leave_to_device=model.device.type != "cpu")
    for batch in DataLoader(dataset, batch_size=batch_size, collate_fn=collator, **options):
        yield batch_logits(model, collator, batch)


def batch_logits(model: PreTrainedModel, collator: Collator, batch: dict[str, Any]) -> NDArray[np.float32]:
    """Return the logits of a batch that `collator` made, (clips, classes)."""
    given = {name: tensor.to(model.device, non_blocking=True) for name, tensor in batch.items() if name != "labels"}
    inputs = collator.finish(given)
    # Only around the model: other code must not run in inference mode.
    with torch.inference_mode():
        logits = model(**inputs).logits
    scored: NDArray[np.float32] = logits.float().cpu().numpy()
    return scored
