"""Builds, saves and loads models of any family, with their feature extractors."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from audiocls.errors import ParamsError
from audiocls.models.adapters import ADAPTERS
from audiocls.models.checkpoints import (
    MULTI_LABEL,
    check_weights,
    class_fields,
    config_class_of,
    load_weights,
    read_checkpoint,
)
from audiocls.models.freezing import freeze
from audiocls.models.inputs import model_inputs as model_inputs
from audiocls.models.lora import add_lora
from audiocls.params import AudioParams, Family, ModelParams

logger = logging.getLogger(__name__)

# The fraction of the encoder's layers that each training step skips at random.
_LAYER_DROPS: Final = ("layerdrop", "encoder_layerdrop")


def config_mistakes(family: Family, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every field that the family's config does not have, or whose value it rejects."""
    config_class = config_class_of(family)
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = [name for name in config if name not in known]
    for name in unknown:
        yield f"model.config.{name}", f"= {config[name]!r}: {config_class.__name__} has no such field"
    for name in (name for name in config if name in known and name in ADAPTERS[family].ignored_fields):
        yield f"model.config.{name}", f"= {config[name]!r}: has no effect in the classifier of {family}; leave it out"
    if config.get("use_weighted_layer_sum"):
        yield from _dropped_layers(config)
    try:
        config_class(**{name: value for name, value in config.items() if name in known})
    except (StrictDataclassError, ParamsError, ValueError, TypeError) as error:
        yield "model.config", f"is rejected by {config_class.__name__}: {' '.join(str(error).split())}"


def _dropped_layers(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every field that skips layers of a weighted sum."""
    for name in _LAYER_DROPS:
        if config.get(name):
            yield (
                f"model.config.{name}",
                f"= {config[name]!r}: skips layers at random, and use_weighted_layer_sum sums all of them; leave out "
                "one of the two",
            )


def length_mistakes(params: ModelParams) -> Iterator[tuple[str, str]]:
    """Yield (key, message) if padding only to the longest clip of a batch would change the family's outputs.

    A checkpoint's front end is not known before it is loaded. So only what is impossible for every checkpoint of the
    family is reported here.
    """
    config_class, fields = config_class_of(params.family), dict(params.config)
    if params.pretrained is not None and "feat_extract_norm" in {f.name for f in dataclasses.fields(config_class)}:
        fields["feat_extract_norm"] = "layer"
    try:
        ADAPTERS[params.family].least_length(config_class(**fields))
    except ParamsError as error:
        key, _, message = str(error).partition(": ")
        yield key, f"= True: {message}"
    except (StrictDataclassError, ValueError, TypeError):
        return  # reported by `config_mistakes`


def build_model(
    params: ModelParams, audio: AudioParams, labels: Sequence[str], *, multi_label: bool = False
) -> tuple[PreTrainedModel, Any]:
    """Build the network and its feature extractor, with the labels in the config.

    Args:
        params: Family, checkpoint or config, and what to freeze.
        audio: Sample rate and length of the inputs.
        labels: Class names; the position is the class index.
        multi_label: Whether a clip may have any number of labels; the config says so.

    Raises:
        ParamsError: The checkpoint does not exist or has another family or sample rate, or the config is invalid.
    """
    config, extractor = _config_and_extractor(params, audio, class_fields(labels, multi_label=multi_label))
    model = _new_model(params, audio, config) if params.pretrained is None else load_weights(params, config)
    _prepare(model, params)
    return model, extractor


def check_model(params: ModelParams, audio: AudioParams) -> tuple[PreTrainedModel, Any]:
    """Check what `build_model` checks, without allocating the weights; only their headers are read.

    Returns:
        A model on torch's `meta` device, with two classes, and its feature extractor.

    Raises:
        ParamsError: As in `build_model`, except for faults of the weights themselves.
    """
    if params.pretrained is not None:
        check_weights(params.pretrained)
    config, extractor = _config_and_extractor(params, audio, class_fields(("a", "b")))
    with torch.device("meta"):
        model = _new_model(params, audio, config)
    _prepare(model, params)
    return model, extractor


def _prepare(model: PreTrainedModel, params: ModelParams) -> None:
    freeze(model, params)
    if params.lora is not None:
        add_lora(model, params.lora, ADAPTERS[params.family].lora_targets)


def is_multi_label_model(model: PreTrainedModel) -> bool:
    """Return whether a model scores each label on its own."""
    return bool(model.config.problem_type == MULTI_LABEL)


def load_model(folder: Path) -> tuple[PreTrainedModel, Any]:
    """Load a trained model and its feature extractor from a folder, in evaluation mode."""
    with no_progress_bars():
        model = AutoModelForAudioClassification.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    return model.eval(), AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def labels_of(model: PreTrainedModel) -> list[str]:
    """Return the class names of a model, in the order of its outputs."""
    return [model.config.id2label[i] for i in range(model.config.num_labels)]


def save_model(model: PreTrainedModel, extractor: Any, folder: Path) -> None:
    """Save the model and its extractor for `load_model` and for `from_pretrained` of the Auto classes."""
    with no_progress_bars():
        model.save_pretrained(folder)
    extractor.save_pretrained(folder)


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Disable the progress bars of transformers, one per file."""
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
        ParamsError: As in `build_model`.
    """
    if params.pretrained is not None:
        return read_checkpoint(params, audio, {})[1]
    extractor = ADAPTERS[params.family].new_extractor(_new_config(params, audio, {}), audio)
    ADAPTERS[params.family].tune_extractor(extractor, audio)
    return extractor


def _config_and_extractor(
    params: ModelParams, audio: AudioParams, fields: dict[str, Any]
) -> tuple[PreTrainedConfig, Any]:
    """Return the config and extractor to build the model with, checked to fit `audio`."""
    adapter = ADAPTERS[params.family]
    if params.pretrained is None:
        config = _new_config(params, audio, fields)
        extractor = adapter.new_extractor(config, audio)
        adapter.tune_extractor(extractor, audio)
    else:
        config, extractor = read_checkpoint(params, audio, fields)
    try:
        adapter.check_lengths(config, extractor, audio)
        _keep_summed_layers(config, params.config)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error
    return config, extractor


def _new_model(params: ModelParams, audio: AudioParams, config: PreTrainedConfig) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForAudioClassification.from_config(config, trust_remote_code=False)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error
    return model


def _new_config(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> PreTrainedConfig:
    fields = ADAPTERS[params.family].fields(audio) | params.config
    try:
        return config_class_of(params.family)(**fields, **names)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error


def _cannot_build(params: ModelParams, audio: AudioParams, error: Exception) -> ParamsError:
    return ParamsError(
        f"model.config = {params.config}: {params.family} cannot be built from it with audio.max_seconds = "
        f"{audio.max_seconds:g}: {' '.join(str(error).split())}"
    )


def _keep_summed_layers(config: PreTrainedConfig, given: dict[str, Any]) -> None:
    """Disable layer drop, in place, if the head uses a weighted sum of all layers.

    If a layer is skipped, transformers 5.23 stops training with "The size of tensor a (2) must match the size of tensor
    b (3)": it has one weight per layer, but sums only the layers that ran. Remove once transformers fixes this.

    Raises:
        ParamsError: The params ask for both.
    """
    if not getattr(config, "use_weighted_layer_sum", False):
        return
    for key, message in _dropped_layers(given):
        raise ParamsError(f"{key} {message}")
    for name in _LAYER_DROPS:
        if getattr(config, name, 0):
            logger.info("Setting %s = %g to 0: use_weighted_layer_sum sums all layers.", name, getattr(config, name))
            setattr(config, name, 0.0)
