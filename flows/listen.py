"""Classify sound as it comes: `audiocls listen MODEL`; --help lists the options."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Final

from audiocls.errors import ParamsError
from audiocls.inference import UNKNOWN, Classifier, Decision, RuntimeKind, Sound, Stream, record, replay
from flows.command_line import exit_status, print_result

_LINE: Final = "{start_seconds:10.2f} to {end_seconds:.2f} s  {label} {probability:.3f}"


def listen_command(
    model: str,
    *,
    file: str | None,
    microphone: str | None,
    hop: float | None,
    threshold: float | None,
    runtime: RuntimeKind,
    device: str,
) -> int:
    """Print what a model decides on a microphone's sound, or a recording's, as it comes; return the exit status."""

    def work() -> None:
        classifier = Classifier.load(model, device=device, runtime=runtime)
        sound = record(microphone) if file is None else replay(file, classifier.settings.audio)
        try:
            stream = classifier.stream(sound.rate_hz, hop_seconds=hop)
        except ValueError as error:
            raise ParamsError(f"{model}: {error}") from error
        count = _take(sound, stream, threshold, until_interrupted=file is None)
        print_result({"decisions": count, "seconds": stream.received_seconds})

    return exit_status(work)


def _take(sound: Sound, stream: Stream, threshold: float | None, *, until_interrupted: bool) -> int:
    """Show the decisions on all of a sound, and return how many there were."""
    count = 0
    with suppress(*([KeyboardInterrupt] if until_interrupted else [])):
        for block in sound.blocks:
            count += _show(stream.add(block), threshold)
    return count + _show(stream.finish(), threshold)


def _show(decisions: Sequence[Decision], threshold: float | None) -> int:
    for decision in decisions:
        is_known = threshold is None or decision.probability >= threshold
        said = asdict(decision) | {"label": decision.label if is_known else UNKNOWN}
        del said["probabilities"]
        line = _LINE.format(**said) if sys.stdout.isatty() else json.dumps(said, ensure_ascii=False)
        sys.stdout.write(line + "\n")
    sys.stdout.flush()
    return len(decisions)
