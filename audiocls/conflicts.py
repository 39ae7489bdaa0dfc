"""Params that are each right and cannot stand together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from audiocls.balance_params import (
    Decoupled,
    EmbeddingBalance,
    Focal,
    Ldam,
    Oversample,
    Resampled,
    Undersample,
    WeightedLoss,
)
from audiocls.errors import UserMistake
from audiocls.params import (
    RAW_WAVEFORM_FAMILIES,
    DataParams,
    FolderData,
    HubData,
    PoolData,
    RunParams,
    SingleSource,
    TableData,
)
from audiocls.storage import open_place

Conflict = tuple[str, str]
RESERVED_CONFIG_FIELDS = ("num_labels", "id2label", "label2id", "model_type", "problem_type")


def find_conflicts(params: RunParams) -> list[Conflict]:
    """Return every impossible combination as (key, message); an empty list when there is none."""
    return [conflict for rule in _RULES for conflict in rule(params)]


def _groups_come_from_one_place(params: RunParams) -> Iterator[Conflict]:
    for key, data in _sources(params):
        if (
            isinstance(data, FolderData)
            and data.group_by == "folder"
            and "group" in re.compile(data.pattern or "").groupindex
        ):
            yield (
                f"{key}.group_by",
                f"= 'folder': {key}.pattern has a group (?P<group>...) already; leave out one of the two",
            )


def _sources(params: RunParams) -> Iterator[tuple[str, DataParams]]:
    """Yield the key and the params of the one source, or of each that is pooled."""
    if isinstance(params.data, PoolData):
        yield from ((f"data.sources.{name}", source) for name, source in params.data.sources.items())
    else:
        yield "data", params.data


def _a_pool_has_one_limit(params: RunParams) -> Iterator[Conflict]:
    if isinstance(params.data, PoolData):
        default = DataParams().max_bad_fraction
        for key, source in _sources(params):
            if source.max_bad_fraction != default:
                yield (
                    f"{key}.max_bad_fraction",
                    f"= {source.max_bad_fraction:g}: is said once, of all sources together: data.max_bad_fraction",
                )


def _split_leaves_training_clips(params: RunParams) -> Iterator[Conflict]:
    held_out = params.split.test_share + params.split.validation_fraction
    if held_out >= 1 and params.split.folds is None:
        yield (
            "split.test_fraction",
            f"= {params.split.test_share} and split.validation_fraction = {params.split.validation_fraction} "
            "leave no clips to train on; their sum must be below 1",
        )


def _folds_are_the_one_split(params: RunParams) -> Iterator[Conflict]:
    split = params.split
    if split.folds is None:
        if split.fold is not None:
            yield "split.fold", f"= {split.fold}: of how many? Give split.folds too, or leave both out"
        return
    if split.fold is None:
        yield "split.folds", f"= {split.folds}: which one is for test? Give split.fold, 0 to {split.folds - 1}"
    elif split.fold >= split.folds:
        yield "split.fold", f"= {split.fold}: with split.folds = {split.folds} it is 0 to {split.folds - 1}"
    if split.test_fraction is not None:
        yield "split.test_fraction", f"= {split.test_fraction}: with split.folds one fold is for test; leave it out"
    for key, data in _single_sources(params):
        if isinstance(data, TableData) and data.split_column is not None:
            value = f"{data.split_column!r}"
            yield f"{key}.split_column", f"= {value}: split.folds makes the split; leave out one of the two"
        if isinstance(data, HubData) and data.splits is not None:
            yield f"{key}.splits", f"= {data.splits}: split.folds makes the split; leave out one of the two"


def _single_sources(params: RunParams) -> Iterator[tuple[str, SingleSource]]:
    if isinstance(params.data, PoolData):
        yield from ((f"data.sources.{name}", source) for name, source in params.data.sources.items())
    else:
        yield "data", params.data


def _lengths_are_ordered(params: RunParams) -> Iterator[Conflict]:
    audio = params.audio
    if audio.min_seconds >= audio.max_file_seconds:
        yield (
            "audio.min_seconds",
            f"= {audio.min_seconds} and audio.max_file_seconds = {audio.max_file_seconds} leave no length allowed",
        )


def _store_has_a_driver(params: RunParams) -> Iterator[Conflict]:
    try:
        open_place(params.audio.store or params.workspace)
    except UserMistake as error:
        yield "audio.store", f"= {params.audio.store!r}: {error}"


def _runner_reaches_what_it_needs(params: RunParams) -> Iterator[Conflict]:
    runner, store = params.runner, params.audio.store or ""
    if runner.address is not None and runner.kind not in ("dask", "ray"):
        yield "runner.address", f"= {runner.address!r}: runner.kind={runner.kind} runs here; only dask and ray have one"
    if runner.address is not None and runner.workers is not None:
        yield "runner.workers", f"= {runner.workers}: the cluster at runner.address has its own; leave out one of them"
    if runner.kind in ("dask", "ray") and find_spec(f"prefect_{runner.kind}") is None:
        yield "runner.kind", f"= {runner.kind!r}: needs pip install 'audiocls[{runner.kind}]'"
    if runner.kind != "thread" and store.startswith("memory:"):
        yield "audio.store", f"= {store!r}: runner.kind={runner.kind} does not share its memory; use a disk or a bucket"


def _family_has_what_is_frozen(params: RunParams) -> Iterator[Conflict]:
    model = params.model
    if model.freeze == "feature_encoder" and model.family not in RAW_WAVEFORM_FAMILIES:
        yield (
            "model.freeze",
            f"= 'feature_encoder': model.family={model.family} has no convolutional front end of its own; "
            "use encoder to train the head alone, freeze_layers to train the upper layers, or none",
        )
    if model.freeze != "none" and model.freeze_layers is not None:
        yield (
            "model.freeze_layers",
            f"= {model.freeze_layers}: freezes what is below the layers too; leave out model.freeze={model.freeze}",
        )


def _lora_has_what_it_adapts(params: RunParams) -> Iterator[Conflict]:
    model = params.model
    if model.lora is None:
        return
    if model.family == "logmel-resnet":
        yield "model.lora", "= ...: model.family=logmel-resnet is small and has no attention; train all of it"
    elif find_spec("peft") is None:
        yield "model.lora", "= ...: needs pip install 'audiocls[lora]'"
    for key, value in (("freeze", model.freeze), ("freeze_layers", model.freeze_layers)):
        if value not in ("none", None):
            yield f"model.{key}", f"= {value!r}: model.lora freezes the whole encoder already; leave out one of them"


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
        from audiocls.models.families import config_mistakes

        yield from config_mistakes(params.model.family, config)


def _augmentation_has_what_it_needs(params: RunParams) -> Iterator[Conflict]:
    for number, section in enumerate(params.augmentation):
        key, values = f"augmentation.{number}", dict(section)
        for name in values:
            highest = "max_" + name.removeprefix("min_")
            if name.startswith("min_") and values[name] > values[highest]:
                yield f"{key}.{name}", f"= {values[name]:g}: is above {highest} = {values[highest]:g}; swap them"
        top_hz = params.audio.sample_rate_hz / 2
        for name in ("max_cutoff_hz", "max_center_hz", "bandwidth_hz"):
            if (values.get(name) or 0) >= top_hz:
                yield f"{key}.{name}", f"= {values[name]:g}: must be below {top_hz:g}, half of audio.sample_rate_hz"
        folder = values.get("folder")
        if folder is not None and not folder.is_dir():
            yield f"{key}.folder", f"= {str(folder)!r}: there is no such folder"
        if section.kind in ("mixup", "cutmix") and params.training.batch_size == 1:
            yield (
                f"{key}.kind",
                f"= {section.kind!r}: mixes clips of a batch, and training.batch_size = 1 has one alone",
            )


def _batches_of_one_length_need_no_groups(params: RunParams) -> Iterator[Conflict]:
    if not params.training.group_by_length:
        return
    if params.model.family != "logmel-resnet":
        yield (
            "training.group_by_length",
            f"= True: batches of model.family={params.model.family} all have the same length; leave it out",
        )
    if params.audio.pad == "repeat":
        yield (
            "training.group_by_length",
            "= True: audio.pad=repeat gives all clips one length; leave out one of the two",
        )


def _beta_belongs_to_effective_number(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if not isinstance(balance, WeightedLoss | Focal) or balance.beta is None:
        return
    if balance.weighting != "effective_number":
        yield "balance.beta", f"= {balance.beta}: only balance.weighting=effective_number has a beta"


def _clips_of_a_class_are_said_once(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if not isinstance(balance, Oversample | Undersample | EmbeddingBalance | Decoupled):
        return
    if balance.counts is not None and balance.ratio is not None:
        yield "balance.ratio", f"= {balance.ratio:g}: balance.counts says it already; leave out one of the two"


def _smoothing_has_a_meaning(params: RunParams) -> Iterator[Conflict]:
    smoothing = params.training.label_smoothing
    if smoothing > 0 and isinstance(params.balance, Focal | Ldam):
        yield (
            "training.label_smoothing",
            f"= {smoothing:g}: balance.method={params.balance.method} looks at the probability of the true class, and "
            "a smoothed target has none; leave out one of the two",
        )


def _blends_have_a_trained_encoder(params: RunParams) -> Iterator[Conflict]:
    balance = params.balance
    if isinstance(balance, EmbeddingBalance) and params.model.pretrained is None:
        yield (
            "balance.method",
            f"= {balance.method!r}: blends what a trained encoder makes of the clips, and model.pretrained is null. "
            f"Name one there, or take {{method: decoupled, resampling: {balance.method}}}, which trains the encoder "
            "first",
        )


def _balance_goes_with_how_clips_come(params: RunParams) -> Iterator[Conflict]:
    balance, method = params.balance, params.balance.method
    mixing = [(i, step.kind) for i, step in enumerate(params.augmentation) if step.kind in ("mixup", "cutmix")]
    if isinstance(balance, Focal | Ldam):
        for i, kind in mixing:
            yield f"augmentation.{i}.kind", f"= {kind!r}: balance.method={method} takes one class a clip, not a mixture"
    if isinstance(balance, EmbeddingBalance) and params.augmentation:
        yield "augmentation", f"= ...: balance.method={method} trains on the embeddings of the clips as they are"
    if isinstance(balance, Resampled) and params.training.group_by_length:
        yield (
            "training.group_by_length",
            f"= True: balance.method={method} draws the clips of each epoch; one of the two",
        )


def _restarts_belong_to_their_schedule(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.restarts is not None and training.schedule != "cosine_with_restarts":
        yield "training.restarts", f"= {training.restarts}: only training.schedule=cosine_with_restarts has restarts"


def _precision_is_the_devices(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.precision != "fp16" and not training.tf32:
        return
    import torch

    has_gpu = training.device != "cpu" and torch.cuda.is_available()
    if training.precision == "fp16" and not has_gpu:
        yield "training.precision", "= 'fp16': is for GPUs alone, and training is on the CPU; use auto, bf16 or fp32"
    if training.tf32 and not (has_gpu and torch.cuda.get_device_capability() >= (8, 0)):
        yield "training.tf32", "= True: needs an NVIDIA GPU of the Ampere generation or later; leave it out"


def _processes_have_their_gpus(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.processes > 1 and training.device != "cpu":
        import torch

        gpus = torch.cuda.device_count()
        if 0 < gpus < training.processes:
            yield (
                "training.processes",
                f"= {training.processes}: each needs a GPU, and {gpus} are here",
            )


def _device_is_there(params: RunParams) -> Iterator[Conflict]:
    if params.training.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "training.device", "= 'cuda': torch sees no GPU here; use auto or cpu"


_RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _groups_come_from_one_place,
    _a_pool_has_one_limit,
    _split_leaves_training_clips,
    _folds_are_the_one_split,
    _lengths_are_ordered,
    _store_has_a_driver,
    _runner_reaches_what_it_needs,
    _family_has_what_is_frozen,
    _lora_has_what_it_adapts,
    _family_can_checkpoint,
    _config_leaves_labels_to_the_data,
    _config_fields_are_known,
    _augmentation_has_what_it_needs,
    _batches_of_one_length_need_no_groups,
    _beta_belongs_to_effective_number,
    _clips_of_a_class_are_said_once,
    _smoothing_has_a_meaning,
    _blends_have_a_trained_encoder,
    _balance_goes_with_how_clips_come,
    _restarts_belong_to_their_schedule,
    _precision_is_the_devices,
    _processes_have_their_gpus,
    _device_is_there,
)
