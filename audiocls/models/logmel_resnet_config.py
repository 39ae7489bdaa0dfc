"""The config of `logmel-resnet` and the checks of its values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedConfig

from audiocls.errors import ParamsError


class LogmelResnetConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers has no types
    """Sizes of the log-mel frames and of the network.

    `mask_time_prob` and `mask_feature_prob` are the expected fractions of frames and of mel bins that training masks,
    in spans of `mask_time_length` frames and `mask_feature_length` bins; 0 masks nothing.

    Short windows and few mel bins make a step cheaper at the lowest cost in validation scores; fewer frames cost most.
    `input_affine` gives each mel bin a learned scale and offset: without it a step is a few percent cheaper, but some
    trainings confuse rare classes.
    """

    model_type = "logmel-resnet"

    sampling_rate: int = 16_000
    num_mel_bins: int = 32
    window_ms: float = 16.0
    hop_ms: float = 10.0
    fft_size: int | None = None  # None: the smallest power of two that holds a window
    min_frequency_hz: float = 20.0
    max_frequency_hz: float | None = None  # None: half the sampling rate
    input_affine: bool = True
    stem_channels: int = 16
    channels: Sequence[int] = (32, 64, 128)  # per stage
    blocks_per_stage: int = 1
    dropout: float = 0.1
    mask_time_prob: float = 0.0
    mask_time_length: int = 10
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 8
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.channels, tuple):
            self.channels = list(self.channels)  # as read back from JSON
        super().__post_init__(**kwargs)
        mistakes = _find_mistakes(self)
        if mistakes:
            raise ParamsError("logmel-resnet cannot be built: " + "; ".join(mistakes) + ".")

    @property
    def window_samples(self) -> int:
        """Samples per window."""
        return round(self.sampling_rate * self.window_ms / 1000)

    @property
    def hop_samples(self) -> int:
        """Samples from one frame to the next."""
        return round(self.sampling_rate * self.hop_ms / 1000)

    @property
    def resolved_fft_size(self) -> int:
        """`fft_size`, or its default if null."""
        return self.fft_size or 2 ** math.ceil(math.log2(self.window_samples))

    @property
    def top_frequency_hz(self) -> float:
        """`max_frequency_hz`, or its default if null."""
        return self.max_frequency_hz or self.sampling_rate / 2

    @property
    def hidden_size(self) -> int:
        """Size of the embedding: the mean and the maximum of each channel."""
        return 2 * self.channels[-1]


_MINIMUMS = {
    "sampling_rate": 1_000,
    "num_mel_bins": 1,
    "stem_channels": 1,
    "blocks_per_stage": 1,
    "mask_time_length": 1,
    "mask_feature_length": 1,
}
_FRACTIONS = ("dropout", "mask_time_prob", "mask_feature_prob")
_FLAGS = ("input_affine",)
_POSITIVE = ("window_ms", "hop_ms", "initializer_range")


def _find_mistakes(config: LogmelResnetConfig) -> list[str]:
    needs = _find_single_mistakes(config) or _find_conflicts(config)
    return [f"{name} is {getattr(config, name)!r}, and must be {need}" for name, need in needs.items()]


def _find_single_mistakes(config: LogmelResnetConfig) -> dict[str, str]:
    """Return the requirement of each field that is invalid by itself."""
    needs = {}
    for name, least in _MINIMUMS.items():
        if not _whole(getattr(config, name)) >= least:
            needs[name] = f"a whole number, {least} or more"
    for name in _FRACTIONS:
        if not 0 <= _number(getattr(config, name)) < 1:
            needs[name] = "a number from 0 to below 1"
    for name in _POSITIVE:
        if not 0 < _number(getattr(config, name)) < math.inf:
            needs[name] = "a number above 0"
    for name in _FLAGS:
        if not isinstance(getattr(config, name), bool):
            needs[name] = "true or false"
    widths = config.channels
    if not (isinstance(widths, list) and widths and all(_whole(width) >= 1 for width in widths)):
        needs["channels"] = "a list of whole numbers above 0, one per stage"
    return needs


def _find_conflicts(config: LogmelResnetConfig) -> dict[str, str]:
    """Return the requirement of each field that conflicts with others."""
    needs = {}
    nyquist_hz = config.sampling_rate / 2
    if not 1 <= config.hop_samples <= config.window_samples:
        needs["hop_ms"] = f"one sample or more, and not above window_ms, which is {config.window_ms}"
    if config.fft_size is not None and not _whole(config.fft_size) >= config.window_samples:
        needs["fft_size"] = f"null, or a whole number not below the window's {config.window_samples} samples"
    if config.max_frequency_hz is not None and not 0 < _number(config.max_frequency_hz) <= nyquist_hz:
        needs["max_frequency_hz"] = f"null, or above 0 and at most {nyquist_hz:g}, half the sampling rate"
    elif not 0 <= _number(config.min_frequency_hz) < config.top_frequency_hz:
        needs["min_frequency_hz"] = f"0 or more, and below the highest frequency, {config.top_frequency_hz:g}"
    return needs


def _whole(value: object) -> float:
    """Return the value if it is a whole number, otherwise nan, which fails every comparison."""
    return value if isinstance(value, int) and not isinstance(value, bool) else math.nan


def _number(value: object) -> float:
    """Return the value if it is a number, otherwise nan, which fails every comparison."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
