"""Params that conflict with `audio.chunk`, which trains on windows of whole files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from audiocls.params import HeadOnly, RunParams
from audiocls.params_file.conflicts.conflict import Conflict
from audiocls.params_file.conflicts.idle import changed_fields


def _chunks_are_the_inputs(params: RunParams) -> Iterator[Conflict]:
    audio = params.audio
    if audio.chunk is None:
        return
    if audio.max_seconds != audio.chunk.seconds:
        yield (
            "audio.max_seconds",
            f"= {audio.max_seconds:g}: the model's input is audio.chunk.seconds = {audio.chunk.seconds:g} long; leave "
            "it out",
        )
    if audio.truncate == "fusion":
        yield "audio.truncate", "= 'fusion': uses clips as a whole, and audio.chunk cuts them; leave out one of the two"
    elif audio.truncate != "random":
        yield (
            "audio.truncate",
            f"= {audio.truncate!r}: has no effect with audio.chunk, which trains on windows of the whole file; leave "
            "it out",
        )
    if "window_overlap" in changed_fields(audio):
        yield (
            "audio.window_overlap",
            f"= {audio.window_overlap:g}: has no effect with audio.chunk, whose hop places the windows; leave it out",
        )


def _chunks_have_one_length(params: RunParams) -> Iterator[Conflict]:
    if params.audio.chunk is not None and params.training.group_by_length:
        yield (
            "training.group_by_length",
            "= True: the windows of audio.chunk have one length; leave out one of the two",
        )


def _heads_are_trained_on_files(params: RunParams) -> Iterator[Conflict]:
    if params.audio.chunk is not None and isinstance(params.balance, HeadOnly):
        yield (
            "balance.method",
            f"= {params.balance.method!r}: trains the head on one embedding of each file, the middle of a long one, "
            "and not on the windows of audio.chunk; leave out one of the two",
        )


RULES: tuple[Callable[[RunParams], Iterator[Conflict]], ...] = (
    _chunks_are_the_inputs,
    _chunks_have_one_length,
    _heads_are_trained_on_files,
)
