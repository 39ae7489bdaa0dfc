"""Check before any decoding that everything the params name exists and fits together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import torch

from audiocls.augmentation import read_recordings
from audiocls.batches import Collator
from audiocls.errors import ParamsError, UserMistake
from audiocls.models import ADAPTERS, check_layer, check_model
from audiocls.params import Background, HeadOnly, ImpulseResponse, RunParams
from audiocls.training.arguments import choose_device

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def check_run(params: RunParams) -> None:
    """Check the model, the folders of the augmentation and the requirements of training on this machine.

    Reads the config and the feature extractor of a checkpoint, and the headers of local weights. Builds the network on
    the meta device, which finds an invalid config, invalid frozen layers or an invalid LoRA.

    Raises:
        ParamsError: Something is wrong; the message lists every mistake.
    """
    mistakes = [str(error) for check in _CHECKS for error in check(params)]
    if mistakes:
        raise ParamsError("\n".join(mistakes))


def _model_mistakes(params: RunParams) -> Iterator[UserMistake]:
    try:
        model, extractor = check_model(params.model, params.audio)
        if isinstance(params.balance, HeadOnly):
            check_layer(model, params.balance.layer)
        if params.training.group_by_length:
            Collator(extractor, params.audio, ADAPTERS[params.model.family].least_length(model.config))
    except UserMistake as error:
        yield error


def _augmentation_mistakes(params: RunParams) -> Iterator[UserMistake]:
    """Decode the recordings that are mixed into clips, as training does; their number is bounded."""
    for number, section in enumerate(params.augmentation):
        if isinstance(section, Background | ImpulseResponse):
            try:
                read_recordings(section.folder, params.audio.sample_rate_hz)
            except UserMistake as error:
                yield ParamsError(f"augmentation.{number}.folder: {error}")


def _compiler_mistakes(params: RunParams) -> Iterator[UserMistake]:
    """Compile a small function: otherwise torch reports a missing compiler only at the first training step."""
    if not params.training.compile:
        return
    try:
        torch.compile(lambda values: (values * 2).sin())(torch.ones(8, device=choose_device(params.training)))
    except Exception as error:  # a missing compiler raises various types
        why = next((line for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()), type(error).__name__)
        yield ParamsError(
            f"training.compile = True: torch cannot compile on this machine: {why}; install a C++ compiler, and for a "
            "GPU Triton, or remove the param"
        )


_CHECKS: Final[tuple[Callable[[RunParams], Iterator[UserMistake]], ...]] = (
    _model_mistakes,
    _augmentation_mistakes,
    _compiler_mistakes,
)
