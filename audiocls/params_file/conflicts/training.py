"""Training and augmentation that conflict with each other or with this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from audiocls.params import RunParams
from audiocls.params_file.conflicts.conflict import Conflict


def _augmentation_is_possible(params: RunParams) -> Iterator[Conflict]:
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
                f"= {str(folder)!r}: {'is not a folder' if folder.exists() else 'does not exist'}",
            )
        if section.kind in ("mixup", "cutmix") and params.training.batch_size == 1:
            yield (
                f"{key}.kind",
                f"= {section.kind!r}: mixes the clips of a batch, and training.batch_size is 1; raise it",
            )


def _clips_can_be_grouped_by_length(params: RunParams) -> Iterator[Conflict]:
    if not params.training.group_by_length:
        return
    if params.model.family != "logmel-resnet":
        # Imported late: it loads transformers, which takes seconds.
        from audiocls.models import length_mistakes

        yield from length_mistakes(params.model)
    if params.audio.pad == "repeat":
        yield (
            "training.group_by_length",
            "= True: audio.pad=repeat gives all clips the same length; leave out one of the two",
        )


def _restarts_have_their_schedule(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.restarts is not None and training.schedule != "cosine_with_restarts":
        yield "training.restarts", f"= {training.restarts}: only training.schedule=cosine_with_restarts has restarts"


def _device_supports_precision(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.precision not in ("fp16", "bf16") and not training.tf32:
        return
    import torch

    has_gpu = training.device != "cpu" and torch.cuda.is_available()
    if training.precision == "fp16" and not has_gpu:
        yield "training.precision", "= 'fp16': needs a GPU, and training is on the CPU; use auto, bf16 or fp32"
    if training.precision == "bf16" and has_gpu and not torch.cuda.is_bf16_supported():
        yield "training.precision", "= 'bf16': this GPU does not support it; use auto, fp16 or fp32"
    if training.tf32 and not (has_gpu and torch.cuda.get_device_capability() >= (8, 0)):
        yield "training.tf32", "= True: needs an NVIDIA GPU of the Ampere generation or later; leave it out"


def _processes_have_gpus(params: RunParams) -> Iterator[Conflict]:
    training = params.training
    if training.processes > 1 and training.device != "cpu":
        import torch

        gpus = torch.cuda.device_count()
        if 0 < gpus < training.processes:
            yield (
                "training.processes",
                f"= {training.processes}: each process needs a GPU, and this machine has {gpus}; lower it",
            )


def _device_is_available(params: RunParams) -> Iterator[Conflict]:
    if params.training.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "training.device", "= 'cuda': torch sees no GPU here; use auto or cpu"


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _augmentation_is_possible,
    _clips_can_be_grouped_by_length,
    _restarts_have_their_schedule,
    _device_supports_precision,
    _processes_have_gpus,
    _device_is_available,
)
