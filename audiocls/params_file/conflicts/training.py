"""Training and augmentation that do not go with each other or with this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from audiocls.params import RunParams
from audiocls.params_file.conflicts.conflict import Conflict


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
            yield (
                f"{key}.folder",
                f"= {str(folder)!r}: {'is no folder' if folder.exists() else 'there is no such folder'}",
            )
        if section.kind in ("mixup", "cutmix") and params.training.batch_size == 1:
            yield (
                f"{key}.kind",
                f"= {section.kind!r}: mixes clips of a batch, and training.batch_size = 1 has one alone",
            )


def _batches_of_one_length_need_no_groups(params: RunParams) -> Iterator[Conflict]:
    if not params.training.group_by_length:
        return
    if params.model.family != "logmel-resnet":
        # Imported late: it loads transformers, which takes seconds.
        from audiocls.models import length_mistakes

        yield from length_mistakes(params.model)
    if params.audio.pad == "repeat":
        yield (
            "training.group_by_length",
            "= True: audio.pad=repeat gives all clips one length; leave out one of the two",
        )


def _restarts_belong_to_their_schedule(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.restarts is not None and training.schedule != "cosine_with_restarts":
        yield "training.restarts", f"= {training.restarts}: only training.schedule=cosine_with_restarts has restarts"


def _precision_is_the_devices(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.precision not in ("fp16", "bf16") and not training.tf32:
        return
    import torch

    has_gpu = training.device != "cpu" and torch.cuda.is_available()
    if training.precision == "fp16" and not has_gpu:
        yield "training.precision", "= 'fp16': is for GPUs alone, and training is on the CPU; use auto, bf16 or fp32"
    if training.precision == "bf16" and has_gpu and not torch.cuda.is_bf16_supported():
        yield "training.precision", "= 'bf16': this GPU has none; use auto, fp16 or fp32"
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


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _augmentation_has_what_it_needs,
    _batches_of_one_length_need_no_groups,
    _restarts_belong_to_their_schedule,
    _precision_is_the_devices,
    _processes_have_their_gpus,
    _device_is_there,
)
