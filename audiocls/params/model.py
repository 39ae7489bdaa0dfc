"""Which network, where its weights start, and which of them are trained."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field

from audiocls.params.strict import Params, PathText

RawWaveformFamily = Literal[
    "wav2vec2",
    "hubert",
    "data2vec-audio",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "sew",
    "sew-d",
    "wav2vec2-conformer",
]
Family = Literal[
    "logmel-resnet", RawWaveformFamily, "wav2vec2-bert", "audio-spectrogram-transformer", "whisper", "clap"
]
RAW_WAVEFORM_FAMILIES: tuple[RawWaveformFamily, ...] = get_args(RawWaveformFamily)
FAMILIES: tuple[Family, ...] = get_args(Family)


class LoraParams(Params):
    """Small matrices that are trained beside the encoder's frozen ones, and merged into them at the end."""

    rank: int = Field(8, ge=1, description="Of the matrices.")
    alpha: int = Field(16, ge=1, description="What they add is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Of their input.")
    target_modules: list[str] | None = Field(
        None,
        min_length=1,
        description="Ends of the names of the layers that get them, e.g. [q_proj, v_proj]. null: the family's queries "
        "and values; the feed-forward layers of wavlm.",
    )


class ModelParams(Params):
    """Which network, and where its weights start."""

    family: Family = Field("logmel-resnet", description="The transformers model type.")
    pretrained: PathText | None = Field(None, description="A hub id or a local folder. null: from scratch.")
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of the family's config, e.g. hidden_size. A checkpoint's own values of dropout, "
        "layerdrop and SpecAugment are not used: set them here, or the family's defaults apply.",
    )
    freeze: Literal["none", "feature_encoder", "encoder"] = Field(
        "none", description="What keeps its weights: nothing, the convolutional front end, or all but the head."
    )
    freeze_layers: int | None = Field(
        None,
        ge=0,
        description="The lowest layers that keep their weights, with all that stands below them; 0: only the latter. "
        "null: as `freeze` says.",
    )
    lora: LoraParams | None = Field(
        None, description="Train LoRA and the head alone (extra `lora`); the saved model is an ordinary one. null: no."
    )
