"""How training clips are changed before the model hears them: one section a transform, applied in the list's order.

What two numbers bound is drawn evenly between them, anew for every clip in every epoch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from audiocls.params.strict import LocalPath, Params


class Augmentation(Params):
    """What every transform has."""

    probability: float = Field(1.0, gt=0, le=1, description="Share of the clips that are changed.")


class Gain(Augmentation):
    """Make clips louder or quieter."""

    kind: Literal["gain"]
    min_db: float = Field(-6.0, ge=-80, le=80, description="Least gain.")
    max_db: float = Field(6.0, ge=-80, le=80, description="Greatest gain.")


class Noise(Augmentation):
    """Add noise that is made, white or pink."""

    kind: Literal["noise"]
    colour: Literal["white", "pink"] = Field("white", description="Power alike in every hertz, or in every octave.")
    min_snr_db: float = Field(10.0, ge=-60, le=120, description="Least level of the clip above the noise.")
    max_snr_db: float = Field(40.0, ge=-60, le=120, description="Greatest level of the clip above the noise.")


class Background(Augmentation):
    """Add a part of a recording: a street, a machine, other voices."""

    kind: Literal["background"]
    folder: LocalPath = Field(description="Recordings at any depth, of which one is drawn for each clip.")
    leave_out: list[str] = Field(default_factory=list, description="Files not to use, relative to the folder.")
    min_snr_db: float = Field(5.0, ge=-60, le=120, description="Least level of the clip above the recording.")
    max_snr_db: float = Field(30.0, ge=-60, le=120, description="Greatest level of the clip above the recording.")


class Shift(Augmentation):
    """Move the sound within its clip, to either side."""

    kind: Literal["shift"]
    max_seconds: float = Field(0.1, gt=0, description="Longest way.")
    wrap: bool = Field(False, description="What leaves at one end comes in at the other; otherwise it is silence.")


class Speed(Augmentation):
    """Play faster or slower, as a tape does: pitch and length change together."""

    kind: Literal["speed"]
    min_factor: float = Field(0.9, ge=0.25, le=4, description="Slowest; below 1 the clip becomes longer.")
    max_factor: float = Field(1.1, ge=0.25, le=4, description="Fastest.")


class Pitch(Augmentation):
    """Shift the pitch and keep the length."""

    kind: Literal["pitch"]
    min_semitones: float = Field(-2.0, ge=-24, le=24, description="Lowest; 12 are an octave.")
    max_semitones: float = Field(2.0, ge=-24, le=24, description="Highest.")


class Reverb(Augmentation):
    """Put the sound into a room that is made of noise that decays."""

    kind: Literal["reverb"]
    min_rt60_seconds: float = Field(0.1, gt=0, le=10, description="Shortest time in which the room falls by 60 dB.")
    max_rt60_seconds: float = Field(0.8, gt=0, le=10, description="Longest such time.")
    direct_to_reverberant_db: float = Field(0.0, ge=-40, le=60, description="Level of the sound above the room's.")


class ImpulseResponse(Augmentation):
    """Put the sound into a room that was measured."""

    kind: Literal["impulse_response"]
    folder: LocalPath = Field(description="Impulse responses at any depth, of which one is drawn for each clip.")
    leave_out: list[str] = Field(default_factory=list, description="Files not to use, relative to the folder.")


class LowPass(Augmentation):
    """Take away what is above a frequency."""

    kind: Literal["low_pass"]
    min_cutoff_hz: float = Field(1_500.0, gt=0, description="Lowest frequency at which 3 dB are lost.")
    max_cutoff_hz: float = Field(7_000.0, gt=0, description="Highest such frequency.")
    order: int = Field(4, ge=1, le=16, description="Of a Butterworth filter: 6 dB an octave each.")


class HighPass(Augmentation):
    """Take away what is below a frequency."""

    kind: Literal["high_pass"]
    min_cutoff_hz: float = Field(50.0, gt=0, description="Lowest frequency at which 3 dB are lost.")
    max_cutoff_hz: float = Field(600.0, gt=0, description="Highest such frequency.")
    order: int = Field(4, ge=1, le=16, description="Of a Butterworth filter: 6 dB an octave each.")


class BandPass(Augmentation):
    """Keep what is about a frequency."""

    kind: Literal["band_pass"]
    min_center_hz: float = Field(500.0, gt=0, description="Lowest centre.")
    max_center_hz: float = Field(2_000.0, gt=0, description="Highest centre.")
    width_octaves: float = Field(3.0, gt=0, le=12, description="From edge to edge, where 3 dB are lost.")
    order: int = Field(4, ge=1, le=16, description="Of a Butterworth filter at either edge: 6 dB an octave each.")


class Codec(Augmentation):
    """Lose what a poor codec loses: fine steps, and high frequencies."""

    kind: Literal["codec"]
    companding: Literal["mu_law", "none"] = Field("mu_law", description="Steps finer at low levels, or all alike.")
    min_bits: int = Field(6, ge=2, le=16, description="Fewest bits a sample.")
    max_bits: int = Field(8, ge=2, le=16, description="Most bits a sample.")
    bandwidth_hz: float | None = Field(3_400.0, gt=0, description="What is above is lost. null: nothing is.")


class TimeMask(Augmentation):
    """Silence spans of the clip."""

    kind: Literal["time_mask"]
    max_seconds: float = Field(0.1, gt=0, description="Longest span.")
    count: int = Field(1, ge=1, le=50, description="Spans.")


class FrequencyMask(Augmentation):
    """Silence bands of the clip."""

    kind: Literal["frequency_mask"]
    max_fraction: float = Field(0.15, gt=0, lt=1, description="Widest band, as a share of the mel scale up to the top.")
    count: int = Field(1, ge=1, le=50, description="Bands.")


class Mixup(Augmentation):
    """Mix a clip with another of its batch, and their labels alike (Zhang et al. 2018, arXiv:1710.09412)."""

    kind: Literal["mixup"]
    alpha: float = Field(0.2, gt=0, le=100, description="Of the Beta distribution of the share; 1: all alike.")


class Cutmix(Augmentation):
    """Put a span of another clip of the batch into a clip, and its label by length (after arXiv:1905.04899)."""

    kind: Literal["cutmix"]
    alpha: float = Field(1.0, gt=0, le=100, description="Of the Beta distribution of the span's share; 1: all alike.")


AnyAugmentation = (
    Gain | Noise | Background | Shift | Speed | Pitch | Reverb | ImpulseResponse | LowPass | HighPass | BandPass
    | Codec | TimeMask | FrequencyMask | Mixup | Cutmix
)  # fmt: skip
AugmentationParams = Annotated[AnyAugmentation, Field(discriminator="kind")]
