"""Models that cannot be trained as configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from audiocls.params import RAW_WAVEFORM_FAMILIES, RunParams
from audiocls.params_file.conflicts.conflict import Conflict

RESERVED_CONFIG_FIELDS = ("num_labels", "id2label", "label2id", "model_type", "problem_type")


def _family_can_be_frozen(params: RunParams) -> Iterator[Conflict]:
    model = params.model
    if model.freeze == "feature_encoder" and model.family not in RAW_WAVEFORM_FAMILIES:
        yield (
            "model.freeze",
            f"= 'feature_encoder': model.family={model.family} has no convolutional front end; "
            "use encoder to train only the head, freeze_layers to train the upper layers, or none",
        )
    if model.freeze != "none" and model.freeze_layers is not None:
        yield (
            "model.freeze_layers",
            f"= {model.freeze_layers}: also freezes what is below these layers; leave out model.freeze={model.freeze}",
        )


def _family_fuses(params: RunParams) -> Iterator[Conflict]:
    if params.audio.truncate == "fusion" and params.model.family != "clap":
        yield (
            "audio.truncate",
            f"= 'fusion': only model.family=clap can fuse long clips, and it is {params.model.family}; "
            "use random, head or center",
        )
    elif params.audio.truncate == "fusion" and params.audio.cache_features == "always":
        yield "audio.cache_features", "= 'always': fused clips have other crops in every epoch; leave it out"


def _family_supports_lora(params: RunParams) -> Iterator[Conflict]:
    model = params.model
    if model.lora is None:
        return
    if model.family == "logmel-resnet":
        yield "model.lora", "= ...: model.family=logmel-resnet is small and has no attention; train all of it"
    elif find_spec("peft") is None:
        yield "model.lora", "= ...: needs pip install 'audiocls[lora]'"
    for key, value in (("freeze", model.freeze), ("freeze_layers", model.freeze_layers)):
        if value not in ("none", None):
            yield f"model.{key}", f"= {value!r}: model.lora already freezes the whole encoder; leave out one of them"


def _family_can_checkpoint(params: RunParams) -> Iterator[Conflict]:
    if params.training.gradient_checkpointing and params.model.family == "logmel-resnet":
        yield (
            "training.gradient_checkpointing",
            "= True: the batch norms of model.family=logmel-resnet would count every batch twice; leave it out",
        )


def _config_leaves_labels_to_the_data(params: RunParams) -> Iterator[Conflict]:
    for name in RESERVED_CONFIG_FIELDS:
        if name in params.model.config:
            value = params.model.config[name]
            yield f"model.config.{name}", f"= {value!r}: comes from the data and the family; leave it out"


def _config_fields_are_known(params: RunParams) -> Iterator[Conflict]:
    config = {name: value for name, value in params.model.config.items() if name not in RESERVED_CONFIG_FIELDS}
    if config:
        # Imported late: it loads transformers, which takes seconds.
        from audiocls.models import config_mistakes

        yield from config_mistakes(params.model.family, config)


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _family_can_be_frozen,
    _family_fuses,
    _family_supports_lora,
    _family_can_checkpoint,
    _config_leaves_labels_to_the_data,
    _config_fields_are_known,
)
