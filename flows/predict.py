"""Classify recordings: `audiocls predict MODEL FILES... [--out FILE]`; --help lists the options.

Needs neither Prefect nor MLflow, unless --runner asks for shards on Prefect's task runners or MODEL is in MLflow.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audiocls.errors import ParamsError, counted
from audiocls.files import is_uri, masked
from audiocls.inference import (
    LabelFormat,
    PartKind,
    PartParams,
    PredictParams,
    PredictSummary,
    RuntimeKind,
    TableParams,
    Tally,
    check_output,
    list_recordings,
    locked_journal,
    plan_predictions,
    predict_rows,
    score_shard,
    show_rows,
    write_predictions,
)
from flows.cli import main
from flows.command_line import exit_status, print_result


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """What the command line asks for."""

    models: Sequence[str]
    files: Sequence[str]
    out: str | None
    path_column: str
    strict: bool
    top: int
    threshold: float | None
    segments: bool
    windows: bool
    label_format: LabelFormat | None
    part_options: Mapping[str, Any]
    """Fields of `PartParams`; None or empty if not given."""
    runtime: RuntimeKind
    device: str
    runner: str | None
    address: str | None
    workers: int | None

    @property
    def table(self) -> TableParams:
        """How answers are written."""
        return TableParams(self.top, self.threshold, self.label_format)

    @property
    def params(self) -> PredictParams:
        """The models, and what they are asked."""
        kind: PartKind | None = "segments" if self.segments else "windows" if self.windows else None
        parts = None if kind is None else PartParams(kind, **self.part_options)
        return PredictParams(tuple(self.models), self.device, runtimes=(self.runtime,), parts=parts)


def predict_command(request: PredictRequest) -> int:
    """Classify recordings as the command line does; return the exit status."""
    summaries: list[PredictSummary] = []

    def work() -> None:
        _check_places(request)
        _check_parts(request)
        try:
            summaries.append(_predict(request))
        except OSError as error:
            if error.filename is None:
                raise
            raise ParamsError(f"{error.filename}: {error.strerror}") from error
        print_result(summaries[0].as_dict())

    status = exit_status(work, interrupted="interrupted; the same command goes on from here")
    return status or int(request.strict and summaries[0].unanswered > 0)


def _predict(request: PredictRequest) -> PredictSummary:
    if request.runner is not None:
        from flows.predict_flow import run_predict_flow

        return run_predict_flow(
            request.params, request.files, str(request.out), request.table, request.path_column, request.runner,
            request.address, request.workers,
        )  # fmt: skip
    found = list_recordings(request.files, request.path_column)
    if request.out is None:
        return _to_stdout(request, found.paths, found.left_out)
    return _to_file(request, found.paths, found.left_out, Path(request.out))


def _check_places(request: PredictRequest) -> None:
    out = request.out
    if request.workers is not None and request.workers < 1:
        raise ParamsError(f"--workers {request.workers}: must be at least 1.")
    if request.runner is not None and out is None:
        raise ParamsError(f"--runner {request.runner} needs --out, as its shards write there.")
    if out is not None and is_uri(out):
        raise ParamsError(f"--out {masked(out)}: must be a path on this machine, as the journal is beside it.")
    if request.label_format is not None and out is None:
        raise ParamsError(f"--format {request.label_format} needs --out, the folder of the label files.")
    if out is not None:
        check_output(Path(out), request.table)


def _check_parts(request: PredictRequest) -> None:
    """Check the options on what is answered, and that each changes something."""
    if request.top < 1:
        raise ParamsError(f"--top {request.top}: must be at least 1.")
    if request.threshold is not None and not 0 <= request.threshold <= 1:
        raise ParamsError(f"--threshold {request.threshold:g}: must be from 0 to 1.")
    if request.segments and request.windows:
        raise ParamsError("--segments and --windows: choose one of them.")
    if request.segments and (request.top > 1 or request.threshold is not None):
        raise ParamsError("--segments has no --top and no --threshold; use --on and --off.")
    given = [name for name, value in request.part_options.items() if value not in (None, ())]
    if "hop_seconds" in given and not (request.segments or request.windows):
        raise ParamsError("--hop needs --segments or --windows.")
    of_segments = [f"--{name.replace('_', '-')}" for name in given if name != "hop_seconds"]
    if request.label_format is not None:
        of_segments.append("--format")
    if of_segments and not request.segments:
        raise ParamsError(f"{of_segments[0]} needs --segments.")


def _to_stdout(request: PredictRequest, paths: list[str], left_out: dict[str, int]) -> PredictSummary:
    tally = Tally()
    rows = predict_rows(paths, request.params, request.table, tally)
    for _ in show_rows(rows, paths, sys.stdout, shutil.get_terminal_size().columns):
        sys.stdout.flush()
    return tally.summary(request.params, left_out)


def _to_file(request: PredictRequest, paths: list[str], left_out: dict[str, int], out: Path) -> PredictSummary:
    with locked_journal(out):
        plan = plan_predictions(paths, left_out, request.params, out)
        with _progress(plan.reused, len(paths)) as advance:
            for shard in plan.shards:
                score_shard(shard, plan.params, advance)
        return write_predictions(plan, request.table)


@contextmanager
def _progress(done: int, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how many files are answered; without rich, which the small installation lacks."""
    is_terminal = sys.stderr.isatty()

    def advance(files: int) -> None:
        nonlocal done
        done += files
        if is_terminal:
            sys.stderr.write(f"\r{done:,} of {counted(total, 'file')}")
            sys.stderr.flush()

    advance(0)
    yield advance
    if is_terminal:
        sys.stderr.write("\n")


if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
