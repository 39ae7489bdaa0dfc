"""Loads checkpoints: what is read from them, what is overridden and what is rejected.

A checkpoint consists of config, feature extractor and weights. Everything that belongs to the trained encoder is kept:
its sizes, its activations, the normalization of its input (`do_normalize`, mean and deviation, whether it gets a mask),
and `use_weighted_layer_sum`, whose weights are in the checkpoint. Other settings that this library relies on are set:

- Labels, their number and their order come from the data, and so does `problem_type`: `single_label_classification`, or
  `multi_label_classification` if clips have any number of labels.
- Weights are trained as float32, regardless of how they are stored; `training.precision` sets lower precisions.
- Dropout, layer drop and SpecAugment are training settings. They come from `model.config`, and otherwise from the
  defaults of the family's config.
- The form of the output (`return_dict`, `output_attentions`, `output_hidden_states`), the attention implementation,
  `gradient_checkpointing` (see `training.gradient_checkpointing`), and fields that the family's config does not have,
  such as those of text generation, have their defaults.
- The extractor pads at the end of the clip, adds no dither, and returns a mask if the family uses one.

Code in a checkpoint is never run. Quantized weights and separate adapters are rejected. Weights are only read from
safetensors.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    FeatureExtractionMixin,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from audiocls.errors import ParamsError, name_some
from audiocls.models.adapters import ADAPTERS
from audiocls.models.depth import parameter_depths
from audiocls.params import AudioParams, Family, ModelParams

logger = logging.getLogger(__name__)

_SET: Final = frozenset(
    {
        "architectures", "attn_implementation", "dtype", "gradient_checkpointing", "id2label", "label2id", "num_labels",
        "output_attentions", "output_hidden_states", "problem_type", "return_dict", "torch_dtype", "torchscript",
        "transformers_version", "model_type",
    }
)  # fmt: skip
"""Fields of a checkpoint's config that are overridden or reset to their defaults."""

_REGULARISATION: Final = re.compile(r"dropout|layerdrop|drop_path|^mask_(time|feature)_|^apply_spec_augment$")
"""Fields that come from `model.config`, or otherwise from the family's defaults."""

# Errors of transformers and its libraries for files that are damaged or of another format.
_UNREADABLE: Final = (
    OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, StrictDataclassError, SafetensorError,
)  # fmt: skip
_LEARNT_IN_MASKING: Final = "masked_spec_embed"
_PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt")
T = TypeVar("T")


def config_class_of(family: Family) -> type[PreTrainedConfig]:
    """Return the class of the family's config."""
    found: type[PreTrainedConfig] = CONFIG_MAPPING[ADAPTERS[family].config_type or family]
    return found


MULTI_LABEL: Final = "multi_label_classification"
"""`problem_type` of models that score each label on its own; the pipelines of transformers then apply sigmoids."""


def class_fields(labels: Iterable[str], *, multi_label: bool = False) -> dict[str, Any]:
    """Return the config fields for the classes, of which a clip has exactly one, or any number."""
    names = dict(enumerate(labels))
    if multi_label:
        return {"id2label": names, "label2id": {name: i for i, name in names.items()}, "problem_type": MULTI_LABEL}
    # transformers 5.23 rejects this value for a single class; None means the same then.
    kind = "single_label_classification" if len(names) > 1 else None
    return {"id2label": names, "label2id": {name: i for i, name in names.items()}, "problem_type": kind}


def read_checkpoint(params: ModelParams, audio: AudioParams, fields: dict[str, Any]) -> tuple[PreTrainedConfig, Any]:
    """Read a checkpoint's config and feature extractor, and override what is not kept; no weights are read.

    Args:
        params: `pretrained` names the checkpoint, and `config` overrides its fields.
        audio: Sample rate and length of the inputs.
        fields: Output of `class_fields`.

    Raises:
        ParamsError: The checkpoint does not exist, cannot be read, contains code, has another family or sample rate, or
            its files do not match each other.
    """
    source, adapter = str(params.pretrained), ADAPTERS[params.family]
    _check_place(source)
    config = _read_config(params, fields)
    extractor = _read_extractor(params)
    adapter.settle_extractor(extractor)
    if extractor.sampling_rate != audio.sample_rate_hz:
        raise ParamsError(
            f"audio.sample_rate_hz = {audio.sample_rate_hz}, and model.pretrained = {source} was trained at "
            f"{extractor.sampling_rate} Hz; set audio.sample_rate_hz={extractor.sampling_rate}"
        )
    for name, found, field, needed in adapter.sizes(config, extractor):
        if found != needed:
            raise ParamsError(
                f"model.pretrained = {source}: its feature extractor has {name} = {found}, but the model's {field} "
                f"requires {needed}; add the preprocessor_config.json that belongs to the model"
            )
    if adapter.length_field not in params.config:
        adapter.shorten(config, extractor, audio)
    adapter.tune_extractor(extractor, audio)
    return config, extractor


def load_weights(params: ModelParams, config: PreTrainedConfig) -> PreTrainedModel:
    """Load the checkpoint's weights as float32 into a model of this config; a head of other classes is initialized.

    Raises:
        ParamsError: The weights cannot be read, are not finite, or do not cover the encoder.
    """
    source, adapter = str(params.pretrained), ADAPTERS[params.family]
    whole = copy.deepcopy(config)
    if adapter.length_field is not None:  # the length of the checkpoint, whose embeddings are fitted below
        setattr(whole, adapter.length_field, _stored_length(params, adapter.length_field))

    def load() -> Any:
        return AutoModelForAudioClassification.from_pretrained(
            source,
            config=whole,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )

    model, report = _reading(source, load)
    _check_encoder(model, report, source)
    _initialize_missing(model, report)
    broken = [name for name, weight in model.named_parameters() if not weight.isfinite().all()]
    if broken:
        raise ParamsError(
            f"model.pretrained = {source}: {name_some(broken, 3)} have non-finite weights; use another checkpoint"
        )
    if adapter.length_field is not None and whole.to_dict() != config.to_dict():
        adapter.resize_positions(model, config)
        setattr(model.config, adapter.length_field, getattr(config, adapter.length_field))
    return model


def _stored_length(params: ModelParams, field: str) -> int:
    """Return the number of positions that the checkpoint has weights for, unless the params say another."""
    stored, _ = PreTrainedConfig.get_config_dict(str(params.pretrained))
    default = getattr(config_class_of(params.family)(), field)
    return int(params.config.get(field, stored.get(field, default)))


def _initialize_missing(model: PreTrainedModel, report: dict[str, Any]) -> None:
    """Initialize weights that are missing in the checkpoint and that transformers 5.23 leaves uninitialized.

    These are the weights of a sum of layers, in most families, and SEW-D's vector for masked frames. Remove once
    transformers initializes them.
    """
    drawn = {*report["missing_keys"], *(key if isinstance(key, str) else key[0] for key in report["mismatched_keys"])}
    for name in drawn:
        if name == "layer_weights":
            nn.init.constant_(model.layer_weights, 1 / len(model.layer_weights))
        elif name.endswith(_LEARNT_IN_MASKING) and model.config.model_type == "sew-d":
            nn.init.uniform_(model.get_parameter(name))


def check_weights(source: str) -> None:
    """Check that a local folder has readable safetensors, by their headers; hub ids are not checked.

    Raises:
        ParamsError: There are no safetensors, or they are damaged or quantized.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    files = _weight_files(folder)
    if not files:
        pickles = sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern))
        found = f"; {name_some(pickles, 3)} may hold pickles, which are never loaded" if pickles else ""
        raise _cannot_load(
            source, f"the folder has no {SAFE_WEIGHTS_NAME}{found}; save it with safe serialization (safetensors)"
        )
    for path in files:
        try:
            with safe_open(path, framework="pt") as weights:
                kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise _cannot_load(source, f"{path.name} cannot be read ({_one_line(error)}); fetch it again") from error
        if any(kind.startswith(("F8", "F4", "I8", "U8")) for kind in kinds):
            raise _cannot_load(source, f"{path.name} has quantized weights; use the checkpoint in full precision")


def _weight_files(folder: Path) -> list[Path]:
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if (folder / SAFE_WEIGHTS_NAME).is_file() or not index.is_file():
        return [folder / SAFE_WEIGHTS_NAME] if (folder / SAFE_WEIGHTS_NAME).is_file() else []
    names = _reading(str(folder), lambda: set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    return [folder / name for name in sorted(names)]


def _check_place(source: str) -> None:
    """Check a path: transformers would only report that it is not a name on the hub."""
    path = Path(source)
    if path.is_file():
        raise _cannot_load(source, "it is a file; name the folder that holds config.json")
    if not path.is_dir():
        if path.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
            raise _cannot_load(source, "the folder does not exist")
        return
    if (path / "adapter_config.json").is_file():
        raise _cannot_load(source, "it is an adapter for another model; merge it into that model and save the result")
    if not (path / "config.json").is_file():
        raise _cannot_load(source, "the folder has no config.json, which defines the model")


def _read_config(params: ModelParams, fields: dict[str, Any]) -> PreTrainedConfig:
    source, config_class = str(params.pretrained), config_class_of(params.family)
    stored, _ = _reading(source, lambda: PreTrainedConfig.get_config_dict(source))
    _refuse_code(source, "config.json", stored)
    stored = ADAPTERS[params.family].classifier_fields(stored)
    if stored.get("model_type") != config_class.model_type:
        raise ParamsError(
            f"model.pretrained = {source}: the checkpoint is a {stored.get('model_type', 'model of unknown type')}, "
            f"and model.family is {params.family}; change one of the two"
        )
    if stored.get("quantization_config"):
        raise _cannot_load(source, "its weights are quantized; use the checkpoint in full precision")
    known = {field.name for field in dataclasses.fields(config_class)} - _SET
    kept = {name: value for name, value in stored.items() if name in known and not _REGULARISATION.search(name)}
    config = _reading(source, lambda: config_class(**kept | params.config | fields))
    _log_dropped_fields(source, stored, config, params.config)
    return config


def _log_dropped_fields(source: str, stored: dict[str, Any], config: PreTrainedConfig, given: dict[str, Any]) -> None:
    dropped = [
        f"{name} = {getattr(config, name)} (stored: {value})"
        for name, value in stored.items()
        if _REGULARISATION.search(name) and name not in given and getattr(config, name, value) != value
    ]
    if dropped:
        logger.info(
            "%s: using the family's defaults %s; to change them, set them in model.config.",
            source, ", ".join(dropped),
        )  # fmt: skip


def _read_extractor(params: ModelParams) -> Any:
    source, needed = str(params.pretrained), ADAPTERS[params.family].extractor_class
    try:
        stored, _ = FeatureExtractionMixin.get_feature_extractor_dict(source)
    except _UNREADABLE as error:
        what = "it has no readable feature extractor (preprocessor_config.json); add that of its model"
        raise _cannot_load(source, f"{what}: {_one_line(error)}" if not Path(source).is_dir() else what) from error
    _refuse_code(source, "preprocessor_config.json", stored)
    extractor = _reading(source, lambda: AutoFeatureExtractor.from_pretrained(source, trust_remote_code=False))
    if not isinstance(extractor, needed):
        raise ParamsError(
            f"model.pretrained = {source}: its feature extractor is a {type(extractor).__name__}, and "
            f"model.family={params.family} needs a {needed.__name__}; add the model's preprocessor_config.json"
        )
    return extractor


def _refuse_code(source: str, file: str, stored: Any) -> None:
    if not isinstance(stored, dict):
        raise _cannot_load(source, f"{file} holds a {type(stored).__name__}, and must hold a mapping")
    if stored.get("auto_map"):
        raise _cannot_load(
            source,
            f"it contains Python code ({file}: auto_map), which is never run; use a checkpoint of a model that is part "
            "of transformers",
        )


def _check_encoder(model: PreTrainedModel, report: dict[str, Any], source: str) -> None:
    """Check that no weights of the encoder would be initialized at random."""
    depths = parameter_depths(model)

    def inside(keys: Iterable[Any]) -> list[str]:
        names = sorted(key if isinstance(key, str) else key[0] for key in keys)
        return [name for name in names if depths.get(name, 0) < max(depths.values())]

    lost = inside(report["mismatched_keys"])
    if lost:
        raise ParamsError(
            f"model.config: does not fit the weights of model.pretrained = {source}: {name_some(lost, 3)} have other "
            "shapes; leave out the fields that change the encoder's size"
        )
    # A checkpoint that was not trained with SpecAugment has no vector for masked frames.
    missing = [name for name in inside(report["missing_keys"]) if not name.endswith(_LEARNT_IN_MASKING)]
    if missing:
        raise ParamsError(
            f"model.pretrained = {source}: has no weights for {name_some(missing, 3)} of the encoder, which would be "
            "initialized at random; use the checkpoint of a complete encoder"
        )


def _reading(source: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except _UNREADABLE as error:
        raise _cannot_load(source, _one_line(error)) from error


def _cannot_load(source: str, why: str) -> ParamsError:
    return ParamsError(f"model.pretrained = {source}: cannot be loaded: {why}")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
