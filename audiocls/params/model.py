"""Which network to use, its initial weights, and which of them are trained."""

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
    """Low-rank matrices that are trained next to the encoder's frozen weights, and merged into them at the end."""

    rank: int = Field(8, ge=1, description="Rank of the matrices.")
    alpha: int = Field(16, ge=1, description="Their output is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout on their input.")
    target_modules: list[str] | None = Field(
        None,
        min_length=1,
        description="Suffixes of the names of the layers to adapt, e.g. [q_proj, v_proj]. null: the query and value "
        "projections; for wavlm the feed-forward layers.",
    )


class ModelParams(Params):
    """The network and its initial weights."""

    family: Family = Field("logmel-resnet", description="The transformers model type.")
    pretrained: PathText | None = Field(
        None, description="Checkpoint to start from: a hub id or a local folder. null: train from scratch."
    )
    config: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of the family's config, e.g. hidden_size. A checkpoint's values of dropout, layerdrop and "
        "SpecAugment are not used: set them here, or the family's defaults apply.",
    )
    freeze: Literal["none", "feature_encoder", "encoder"] = Field(
        "none", description="What to freeze: nothing, the convolutional front end, or everything except the head."
    )
    freeze_layers: int | None = Field(
        None,
        ge=0,
        description="Number of lowest layers to freeze, together with everything below them; 0: only what is below the "
        "first layer. null: as `freeze`.",
    )
    lora: LoraParams | None = Field(
        None,
        description="Train only LoRA matrices and the head (needs the extra `lora`). They are merged: the saved model "
        "is an ordinary one. null: no LoRA.",
    )
