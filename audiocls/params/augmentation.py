"""Transforms of training clips: one section per transform, applied in the order of the list.

A value with a minimum and a maximum is drawn uniformly between them for every clip in every epoch. Frequencies are
drawn on a logarithmic scale.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from audiocls.params.strict import LocalPath, Params


class Augmentation(Params):
    """Keys of every transform."""

    probability: float = Field(1.0, gt=0, le=1, description="Fraction of the clips to transform.")


class Gain(Augmentation):
    """Make clips louder or quieter."""

    kind: Literal["gain"]
    min_db: float = Field(-6.0, ge=-80, le=80, description="Minimum gain.")
    max_db: float = Field(6.0, ge=-80, le=80, description="Maximum gain.")


class Noise(Augmentation):
    """Add synthetic noise, white or pink."""

    kind: Literal["noise"]
    colour: Literal["white", "pink"] = Field("white", description="Equal power per hertz (white) or per octave (pink).")
    min_snr_db: float = Field(10.0, ge=-60, le=120, description="Minimum level of the clip above the noise.")
    max_snr_db: float = Field(40.0, ge=-60, le=120, description="Maximum level of the clip above the noise.")


class Background(Augmentation):
    """Add part of a background recording: a street, a machine, other voices."""

    kind: Literal["background"]
    folder: LocalPath = Field(description="Folder of recordings, at any depth. One is drawn for each clip.")
    leave_out: list[str] = Field(default_factory=list, description="Files to exclude, relative to the folder.")
    min_snr_db: float = Field(5.0, ge=-60, le=120, description="Minimum level of the clip above the recording.")
    max_snr_db: float = Field(30.0, ge=-60, le=120, description="Maximum level of the clip above the recording.")


class Shift(Augmentation):
    """Shift the sound earlier or later within its clip."""

    kind: Literal["shift"]
    max_seconds: float = Field(0.1, gt=0, description="Maximum shift in either direction.")
    wrap: bool = Field(False, description="Wrap the sound around the ends of the clip. false: fill with silence.")


class Speed(Augmentation):
    """Change the playback speed: pitch and length change together."""

    kind: Literal["speed"]
    min_factor: float = Field(0.9, ge=0.25, le=4, description="Minimum factor. Below 1 the clip becomes longer.")
    max_factor: float = Field(1.1, ge=0.25, le=4, description="Maximum factor.")


class Pitch(Augmentation):
    """Shift the pitch and keep the length."""

    kind: Literal["pitch"]
    min_semitones: float = Field(-2.0, ge=-24, le=24, description="Minimum shift; 12 semitones are an octave.")
    max_semitones: float = Field(2.0, ge=-24, le=24, description="Maximum shift.")


class Reverb(Augmentation):
    """Add synthetic reverberation: convolve with decaying noise."""

    kind: Literal["reverb"]
    min_rt60_seconds: float = Field(
        0.1, gt=0, le=10, description="Minimum reverberation time: the time in which the level decays by 60 dB."
    )
    max_rt60_seconds: float = Field(0.8, gt=0, le=10, description="Maximum reverberation time.")
    direct_to_reverberant_db: float = Field(
        0.0, ge=-40, le=60, description="Level of the direct sound above the reverberation."
    )


class ImpulseResponse(Augmentation):
    """Convolve with a measured room impulse response."""

    kind: Literal["impulse_response"]
    folder: LocalPath = Field(description="Folder of impulse responses, at any depth. One is drawn for each clip.")
    leave_out: list[str] = Field(default_factory=list, description="Files to exclude, relative to the folder.")


class LowPass(Augmentation):
    """Attenuate frequencies above a cutoff."""

    kind: Literal["low_pass"]
    min_cutoff_hz: float = Field(1_500.0, gt=0, description="Minimum cutoff, at which the filter attenuates by 3 dB.")
    max_cutoff_hz: float = Field(7_000.0, gt=0, description="Maximum cutoff.")
    order: int = Field(4, ge=1, le=16, description="Order of the Butterworth filter, 6 dB per octave each.")


class HighPass(Augmentation):
    """Attenuate frequencies below a cutoff."""

    kind: Literal["high_pass"]
    min_cutoff_hz: float = Field(50.0, gt=0, description="Minimum cutoff, at which the filter attenuates by 3 dB.")
    max_cutoff_hz: float = Field(600.0, gt=0, description="Maximum cutoff.")
    order: int = Field(4, ge=1, le=16, description="Order of the Butterworth filter, 6 dB per octave each.")


class BandPass(Augmentation):
    """Keep frequencies around a center."""

    kind: Literal["band_pass"]
    min_center_hz: float = Field(500.0, gt=0, description="Minimum center frequency.")
    max_center_hz: float = Field(2_000.0, gt=0, description="Maximum center frequency.")
    width_octaves: float = Field(3.0, gt=0, le=12, description="Width of the band between its -3 dB edges.")
    order: int = Field(
        4, ge=1, le=16, description="Order of the Butterworth filter at each edge, 6 dB per octave each."
    )


class Codec(Augmentation):
    """Simulate a lossy codec: coarse quantization and a limited bandwidth."""

    kind: Literal["codec"]
    companding: Literal["mu_law", "none"] = Field(
        "mu_law", description="mu_law: quantization steps are finer at low levels. none: all steps are equal."
    )
    min_bits: int = Field(6, ge=2, le=16, description="Minimum bits per sample.")
    max_bits: int = Field(8, ge=2, le=16, description="Maximum bits per sample.")
    bandwidth_hz: float | None = Field(3_400.0, gt=0, description="Remove higher frequencies. null: keep all.")


class TimeMask(Augmentation):
    """Silence spans of the clip."""

    kind: Literal["time_mask"]
    max_seconds: float = Field(0.1, gt=0, description="Maximum length of a span.")
    count: int = Field(1, ge=1, le=50, description="Number of spans.")


class FrequencyMask(Augmentation):
    """Silence frequency bands of the clip."""

    kind: Literal["frequency_mask"]
    max_fraction: float = Field(
        0.15, gt=0, lt=1, description="Maximum width of a band, as a fraction of the mel scale."
    )
    count: int = Field(1, ge=1, le=50, description="Number of bands.")


class Mixup(Augmentation):
    """Mix a clip and its label with another clip of the batch (Zhang et al. 2018, arXiv:1710.09412)."""

    kind: Literal["mixup"]
    alpha: float = Field(
        0.2, gt=0, le=100, description="Parameter of the Beta distribution of the mixing weight; 1 is uniform."
    )


class Cutmix(Augmentation):
    """Replace a span of a clip by one of another clip of the batch; mix labels by length (after arXiv:1905.04899)."""

    kind: Literal["cutmix"]
    alpha: float = Field(
        1.0, gt=0, le=100, description="Parameter of the Beta distribution of the span's fraction; 1 is uniform."
    )


AnyAugmentation = (
    Gain | Noise | Background | Shift | Speed | Pitch | Reverb | ImpulseResponse | LowPass | HighPass | BandPass
    | Codec | TimeMask | FrequencyMask | Mixup | Cutmix
)  # fmt: skip
AugmentationParams = Annotated[AnyAugmentation, Field(discriminator="kind")]
