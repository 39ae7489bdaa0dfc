"""The model families: how each is built from a config or a checkpoint, and how waveforms become its inputs."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from huggingface_hub.errors import StrictDataclassError
from numpy.typing import NDArray
from transformers import (
    CONFIG_MAPPING,
    ASTFeatureExtractor,
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)
from transformers.utils import logging as transformers_logging

from audiocls.errors import ParamsError
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params import RAW_WAVEFORM_FAMILIES, AudioParams, ModelParams

logger = logging.getLogger(__name__)

# What 25 ms windows every 10 ms leave of a clip is `1 + (samples - 400) // 160` frames at 16 kHz, as Kaldi counts.
_WINDOW_SECONDS: Final = 0.025
_HOP_SECONDS: Final = 0.010


def config_mistakes(family: str, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every field that the family's config does not have, or whose value it refuses."""
    config_class = CONFIG_MAPPING[family]
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = [name for name in config if name not in known]
    for name in unknown:
        yield f"model.config.{name}", f"= {config[name]!r}: {config_class.__name__} has no such field"
    try:
        config_class(**{name: value for name, value in config.items() if name in known})
    except (StrictDataclassError, ParamsError, ValueError, TypeError) as error:
        yield "model.config", f"is refused by {config_class.__name__}: {' '.join(str(error).split())}"


def build_model(params: ModelParams, audio: AudioParams, labels: Sequence[str]) -> tuple[PreTrainedModel, Any]:
    """Build the network and its feature extractor, with the labels in the config.

    Args:
        params: Family, checkpoint or config, and what is frozen.
        audio: Rate and length of the inputs.
        labels: Class names; the position is the class index.

    Raises:
        ParamsError: The checkpoint is not there, is of another family or rate, or the config cannot be built.
    """
    names = {"id2label": dict(enumerate(labels)), "label2id": {name: i for i, name in enumerate(labels)}}
    if params.pretrained is None:
        model, extractor = _from_scratch(params, audio, names)
    else:
        model, extractor = _from_checkpoint(params, audio, names)
    _freeze(model, params)
    return model, extractor


def load_model(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Load a trained model and its feature extractor from a folder, in evaluation mode."""
    with no_progress_bars():
        model = AutoModelForAudioClassification.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    return model.eval(), AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)


def save_model(model: PreTrainedModel, extractor: Any, folder: Path) -> None:
    """Write what `load_model`, and `from_pretrained` of any Auto class, read back."""
    with no_progress_bars():
        model.save_pretrained(folder)
    extractor.save_pretrained(folder)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for each file that it writes in an instant."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def build_extractor(params: ModelParams, audio: AudioParams) -> Any:
    """Build the feature extractor that `build_model` returns, without the network.

    Raises:
        ParamsError: As `build_model`.
    """
    if params.pretrained is None:
        return _new_extractor(_new_config(params, audio, {}), audio)
    try:
        extractor = AutoFeatureExtractor.from_pretrained(params.pretrained)
    except (OSError, ValueError) as error:
        raise _cannot_load(params.pretrained, error) from error
    _check_rate(extractor, audio, params.pretrained)
    return extractor


def _from_scratch(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    config = _new_config(params, audio, names)
    try:
        _limit_time_masks(config, audio)
        model = AutoModelForAudioClassification.from_config(config)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error
    return model, _new_extractor(config, audio)


def _new_config(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> PreTrainedConfig:
    fields = dict(params.config)
    if params.family == "logmel-resnet":
        fields.setdefault("sampling_rate", audio.sample_rate_hz)
    if params.family == "audio-spectrogram-transformer":
        fields.setdefault("max_length", _num_frames(audio))
    try:
        return CONFIG_MAPPING[params.family](**fields, **names)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error


def _cannot_build(params: ModelParams, audio: AudioParams, error: Exception) -> ParamsError:
    return ParamsError(
        f"model.config = {params.config}: no {params.family} can be built from it with audio.max_seconds = "
        f"{audio.max_seconds:g}: {' '.join(str(error).split())}"
    )


def _cannot_load(source: str, error: Exception) -> ParamsError:
    return ParamsError(f"model.pretrained = {source}: cannot be loaded: {' '.join(str(error).split())}")


def _new_extractor(config: PreTrainedConfig, audio: AudioParams) -> Any:
    rate_hz = audio.sample_rate_hz
    if config.model_type == "logmel-resnet":
        return WaveformFeatureExtractor(sampling_rate=rate_hz)
    if config.model_type == "audio-spectrogram-transformer":
        return ASTFeatureExtractor(
            sampling_rate=rate_hz, num_mel_bins=config.num_mel_bins, max_length=config.max_length
        )
    # A front end that normalises by group sees the padding in its statistics, so that a mask would promise too much:
    # wav2vec2-base was trained without one, and inputs of one length are what keeps its logits the same.
    by_layer = getattr(config, "feat_extract_norm", "layer") == "layer"
    return Wav2Vec2FeatureExtractor(sampling_rate=rate_hz, do_normalize=True, return_attention_mask=by_layer)


def _from_checkpoint(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    source = params.pretrained
    try:
        config = AutoConfig.from_pretrained(source, **params.config, **names)
        if config.model_type != params.family:
            raise ParamsError(
                f"model.pretrained = {source}: the checkpoint is a {config.model_type}, "
                f"and model.family is {params.family}"
            )
        extractor = AutoFeatureExtractor.from_pretrained(source)
        _check_rate(extractor, audio, source)
        _limit_time_masks(config, audio)
        # A head of another number of classes is made anew; whatever else does not fit is an error of torch's.
        model = AutoModelForAudioClassification.from_pretrained(
            source, config=config, ignore_mismatched_sizes=True, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(str(source), error) from error
    return model, extractor


def _check_rate(extractor: Any, audio: AudioParams, source: str | None) -> None:
    if extractor.sampling_rate != audio.sample_rate_hz:
        raise ParamsError(
            f"audio.sample_rate_hz = {audio.sample_rate_hz}, and model.pretrained = {source} was trained at "
            f"{extractor.sampling_rate} Hz; set audio.sample_rate_hz={extractor.sampling_rate}"
        )


def _num_frames(audio: AudioParams) -> int:
    return max(1, 1 + int((audio.max_seconds - _WINDOW_SECONDS) / _HOP_SECONDS + 1e-6))


def _limit_time_masks(config: PreTrainedConfig, audio: AudioParams) -> None:
    """Shorten SpecAugment's spans where the clips are no longer than one.

    With spans at or above the sequence length transformers 5.23 ends training with "mask_length has to be smaller than
    sequence_length"; it goes when transformers caps them itself.
    """
    if not getattr(config, "conv_stride", None) or not getattr(config, "mask_time_prob", 0):
        return
    frames = int(audio.sample_rate_hz * audio.max_seconds)
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        frames = (frames - kernel) // stride + 1
    if frames < 1:
        raise ParamsError(
            f"audio.max_seconds = {audio.max_seconds:g} is too short: "
            f"the {config.model_type} front end makes no frame of it"
        )
    if config.mask_time_length >= frames:
        shorter = max(1, frames // 2)
        logger.warning(
            "mask_time_length %d does not fit into %d frames; using %d.", config.mask_time_length, frames, shorter
        )
        config.mask_time_length = shorter


def _freeze(model: PreTrainedModel, params: ModelParams) -> None:
    match params.freeze:
        case "feature_encoder":
            model.freeze_feature_encoder()
        case "encoder" if params.family == "logmel-resnet":
            model.freeze_encoder()
        case "encoder" if params.family in RAW_WAVEFORM_FAMILIES:
            model.freeze_base_model()
        case "encoder":
            model.base_model.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ParamsError(f"model.freeze = {params.freeze} leaves nothing to train in {params.family}")


def model_inputs(waveforms: list[NDArray[np.float32]], extractor: Any, samples: int) -> dict[str, torch.Tensor]:
    """Turn waveforms, none longer than `samples`, into a batch of the model's inputs, zero-padded to one length.

    That length is the longest clip's where padding changes nothing, as the mask keeps `logmel-resnet` from seeing it,
    and `samples` elsewhere, so that a clip's logits do not depend on what else is in its batch.
    """
    match extractor:
        case WaveformFeatureExtractor():
            length: dict[str, Any] = {"padding": True}
        case ASTFeatureExtractor():
            length = {}  # it pads its frames to a length of its own
        case _:
            length = {"padding": "max_length", "max_length": samples}
    batch = extractor(waveforms, sampling_rate=extractor.sampling_rate, return_tensors="pt", **length)
    return dict(batch)
