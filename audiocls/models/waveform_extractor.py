"""The feature extractor of models on raw waveforms: it pads, and checks sample rate and shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import logging

from audiocls.errors import DataError

logger = logging.get_logger(__name__)


class WaveformFeatureExtractor(SequenceFeatureExtractor):  # type: ignore[misc]  # transformers has no types
    """Pad mono waveforms to one length, with a mask of the real samples."""

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012  # the base class's way to declare it

    def __init__(
        self,
        feature_size: int = 1,
        sampling_rate: int = 16_000,
        padding_value: float = 0.0,
        return_attention_mask: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            return_attention_mask=return_attention_mask,
            **kwargs,
        )

    def __call__(
        self,
        raw_speech: Any,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Turn one waveform or a list of them into `input_values` and `attention_mask`.

        Args:
            raw_speech: One mono waveform of shape (samples,), or a list of them; floats in [-1, 1]. transformers uses
                this name in all extractors.
            sampling_rate: Rate of the waveforms in hertz, checked against the model's.
            padding: As in `pad`: True pads to the longest, "max_length" to `max_length`, False does not pad.
            max_length: Samples to pad or truncate to.
            truncation: Whether to truncate longer waveforms to `max_length`.
            pad_to_multiple_of: Pad to a multiple of this many samples.
            return_attention_mask: Whether to return the mask; None uses the extractor's setting.
            return_tensors: "pt" or "np"; None returns a list of arrays.

        Returns:
            `input_values` float32 (batch, samples) and `attention_mask` int32 (batch, samples), 1 where real.

        Raises:
            DataError: The rate is not the model's, or a waveform is empty, not mono or not of floats.
        """
        self._check_rate(sampling_rate)
        batch = BatchFeature({"input_values": [_as_waveform(clip) for clip in _as_list(raw_speech)]})
        return self.pad(
            batch,
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )

    def _check_rate(self, sampling_rate: int | None) -> None:
        if sampling_rate is None:
            logger.warning(
                f"{type(self).__name__} was called without `sampling_rate`, so it cannot check that the audio is at "
                f"the {self.sampling_rate} Hz that its model was trained on. Pass it."
            )
        elif sampling_rate != self.sampling_rate:
            raise DataError(
                f"the audio is at {sampling_rate} Hz and the model was trained on {self.sampling_rate} Hz. "
                f"Resample it to {self.sampling_rate} Hz first."
            )


def _as_list(raw_speech: Any) -> list[Any]:
    """Return a list of waveforms; a single waveform can itself be a list of floats."""
    is_batch = isinstance(raw_speech, (list, tuple)) and (len(raw_speech) == 0 or np.ndim(raw_speech[0]) > 0)
    clips = list(raw_speech) if is_batch else [raw_speech]
    if not clips:
        raise DataError("the list of waveforms is empty. Pass at least one.")
    return clips


def _as_waveform(clip: Any) -> NDArray[np.float32]:
    waveform = np.asarray(clip)
    if waveform.ndim != 1:
        raise DataError(
            f"a waveform has shape {waveform.shape}, and must have shape (samples,). Mix channels to mono; "
            "pass several clips as a list of waveforms, not as one array."
        )
    if waveform.size == 0:
        raise DataError("a waveform has no samples. Drop empty clips first.")
    if waveform.dtype.kind != "f":
        raise DataError(
            f"a waveform has type {waveform.dtype}, and must have floats in [-1, 1]. Divide int16 samples by 32768."
        )
    return waveform.astype(np.float32, copy=False)
