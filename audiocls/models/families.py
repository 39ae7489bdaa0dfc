"""Models of any family: built from a config or a checkpoint, saved and loaded, with their feature extractors."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CONFIG_MAPPING,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from audiocls.errors import ParamsError, name_some
from audiocls.model_params import Family, ModelParams
from audiocls.models.adapters import ADAPTERS
from audiocls.models.depth import parameter_depths
from audiocls.models.freezing import freeze
from audiocls.models.inputs import model_inputs as model_inputs
from audiocls.models.lora import add_lora
from audiocls.params import AudioParams

logger = logging.getLogger(__name__)

# The share of the encoder's layers that each training step leaves out at random.
_LAYER_DROPS: Final = ("layerdrop", "encoder_layerdrop")


def config_mistakes(family: Family, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every field that the family's config does not have, or whose value it refuses."""
    config_class = _config_class(family)
    known = {field.name for field in dataclasses.fields(config_class)}
    unknown = [name for name in config if name not in known]
    for name in unknown:
        yield f"model.config.{name}", f"= {config[name]!r}: {config_class.__name__} has no such field"
    for name in (name for name in config if name in known and name in ADAPTERS[family].ignored_fields):
        yield f"model.config.{name}", f"= {config[name]!r}: does nothing in the classifier of {family}; leave it out"
    if config.get("use_weighted_layer_sum"):
        yield from _dropped_layers(config)
    try:
        config_class(**{name: value for name, value in config.items() if name in known})
    except (StrictDataclassError, ParamsError, ValueError, TypeError) as error:
        yield "model.config", f"is refused by {config_class.__name__}: {' '.join(str(error).split())}"


def _dropped_layers(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every field that leaves out layers of a weighted sum."""
    for name in _LAYER_DROPS:
        if config.get(name):
            yield (
                f"model.config.{name}",
                f"= {config[name]!r}: leaves out layers at random, and use_weighted_layer_sum sums all of them; leave "
                "out one of the two",
            )


def length_mistakes(params: ModelParams) -> Iterator[tuple[str, str]]:
    """Yield (key, message) where batches as long as their longest clip would change what the family makes of them.

    What a checkpoint's front end is, is known once it is loaded; here only what no checkpoint of the family could do.
    """
    config_class, fields = _config_class(params.family), dict(params.config)
    if params.pretrained is not None and "feat_extract_norm" in {f.name for f in dataclasses.fields(config_class)}:
        fields["feat_extract_norm"] = "layer"
    try:
        ADAPTERS[params.family].least_length(config_class(**fields))
    except ParamsError as error:
        key, _, message = str(error).partition(": ")
        yield key, f"= True: {message}"
    except (StrictDataclassError, ValueError, TypeError):
        return  # `config_mistakes` says it


def _config_class(family: Family) -> type[PreTrainedConfig]:
    found: type[PreTrainedConfig] = CONFIG_MAPPING[ADAPTERS[family].config_type or family]
    return found


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
    freeze(model, params)
    if params.lora is not None:
        add_lora(model, params.lora, ADAPTERS[params.family].lora_targets)
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
        extractor = ADAPTERS[params.family].new_extractor(_new_config(params, audio, {}), audio)
        ADAPTERS[params.family].tune_extractor(extractor, audio)
        return extractor
    try:
        extractor = AutoFeatureExtractor.from_pretrained(params.pretrained)
    except (OSError, ValueError) as error:
        raise _cannot_load(params.pretrained, error) from error
    _check_rate(extractor, audio, params.pretrained)
    ADAPTERS[params.family].tune_extractor(extractor, audio)
    return extractor


def _from_scratch(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    config = _new_config(params, audio, names)
    extractor = ADAPTERS[params.family].new_extractor(config, audio)
    ADAPTERS[params.family].tune_extractor(extractor, audio)
    try:
        ADAPTERS[params.family].check_lengths(config, extractor, audio)
        _keep_summed_layers(config, params.config)
        model = AutoModelForAudioClassification.from_config(config)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error
    return model, extractor


def _new_config(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> PreTrainedConfig:
    fields = ADAPTERS[params.family].fields(audio) | params.config
    try:
        return _config_class(params.family)(**fields, **names)
    except (StrictDataclassError, ValueError, TypeError, RuntimeError) as error:
        raise _cannot_build(params, audio, error) from error


def _cannot_build(params: ModelParams, audio: AudioParams, error: Exception) -> ParamsError:
    return ParamsError(
        f"model.config = {params.config}: no {params.family} can be built from it with audio.max_seconds = "
        f"{audio.max_seconds:g}: {' '.join(str(error).split())}"
    )


def _cannot_load(source: str, error: Exception) -> ParamsError:
    return ParamsError(f"model.pretrained = {source}: cannot be loaded: {' '.join(str(error).split())}")


def _from_checkpoint(params: ModelParams, audio: AudioParams, names: dict[str, Any]) -> tuple[PreTrainedModel, Any]:
    source = str(params.pretrained)
    try:
        config = ADAPTERS[params.family].checkpoint_config(source, params.config | names)
        if not isinstance(config, _config_class(params.family)):
            raise ParamsError(
                f"model.pretrained = {source}: the checkpoint is a {config.model_type}, "
                f"and model.family is {params.family}"
            )
        extractor = AutoFeatureExtractor.from_pretrained(source)
        _check_rate(extractor, audio, source)
        ADAPTERS[params.family].tune_extractor(extractor, audio)
        ADAPTERS[params.family].check_lengths(config, extractor, audio)
        _keep_summed_layers(config, params.config)
        # A head of another number of classes is made anew.
        model, report = AutoModelForAudioClassification.from_pretrained(
            source, config=config, ignore_mismatched_sizes=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise _cannot_load(source, error) from error
    _check_encoder_fits(model, report["mismatched_keys"], source)
    return model, extractor


def _keep_summed_layers(config: PreTrainedConfig, given: dict[str, Any]) -> None:
    """Leave out no layer where the head stands on a weighted sum of all, in place.

    With one left out, transformers 5.23 ends training with "The size of tensor a (2) must match the size of tensor b
    (3)": it has a weight for each layer, and sums those that ran. It goes when transformers sums all of them.

    Raises:
        ParamsError: The params ask for both.
    """
    if not getattr(config, "use_weighted_layer_sum", False):
        return
    for key, message in _dropped_layers(given):
        raise ParamsError(f"{key} {message}")
    for name in _LAYER_DROPS:
        if getattr(config, name, 0):
            logger.info("%s = %g is set to 0, as use_weighted_layer_sum sums all layers.", name, getattr(config, name))
            setattr(config, name, 0.0)


def _check_encoder_fits(model: PreTrainedModel, mismatched: Iterable[Any], source: str) -> None:
    """Refuse a config under which weights of the encoder would be drawn at random and not be the checkpoint's."""
    depths = parameter_depths(model)
    names = sorted(key if isinstance(key, str) else key[0] for key in mismatched)
    lost = [name for name in names if depths.get(name, 0) < max(depths.values())]
    if lost:
        raise ParamsError(
            f"model.config: does not fit the weights of model.pretrained = {source}: {name_some(lost, 3)} have another "
            "shape there; leave out the fields that change the encoder's size"
        )


def _check_rate(extractor: Any, audio: AudioParams, source: str | None) -> None:
    if extractor.sampling_rate != audio.sample_rate_hz:
        raise ParamsError(
            f"audio.sample_rate_hz = {audio.sample_rate_hz}, and model.pretrained = {source} was trained at "
            f"{extractor.sampling_rate} Hz; set audio.sample_rate_hz={extractor.sampling_rate}"
        )
