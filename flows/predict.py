"""Classify recordings: `audiocls predict MODEL FILES... [--out FILE]`; `python -m flows.predict` has more options.

Needs neither Prefect nor MLflow, unless --runner asks for shards on Prefect's task runners or MODEL is in MLflow.
Progress goes to stderr; the last line on stdout is one JSON object: how many files were answered, how many not and why,
how many were left out, and where the output is. Exit status 0: done, files that cannot be used included; 1: a stage
failed, or with --strict a file was not answered; 2: a mistake in the arguments, the files or the model, or a full disk;
130: interrupted; 143: terminated.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from audiocls.errors import AudioclsError, FullDiskError, ParamsError, UserMistake, counted
from audiocls.files import is_uri, masked
from audiocls.inference import (
    PredictParams,
    PredictSummary,
    TableParams,
    check_output,
    list_recordings,
    locked_journal,
    plan_predictions,
    predict_rows,
    score_shard,
    show_rows,
    summarise,
    write_predictions,
)

RUNNERS: Final = ("thread", "process", "dask", "ray")


def predict_command(
    models: Sequence[str],
    files: Sequence[str],
    *,
    out: str | None = None,
    top: int = 1,
    threshold: float | None = None,
    path_column: str = "path",
    device: str = "auto",
    runner: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    strict: bool = False,
) -> int:
    """Classify recordings as the command line does; return the exit status.

    Args:
        models: Each a folder, a run, an MLflow URI or a name on the hub; several are averaged.
        files: Files, folders, globs, tables and URIs.
        out: A Parquet, CSV or JSON lines file; None writes to stdout.
        top: How many labels a row tells.
        threshold: Answers of a lower probability get the label "unknown".
        path_column: Of tables among the files.
        device: "auto", "cpu", "cuda" or another of torch's names.
        runner: One of RUNNERS; None: in this process, without Prefect.
        address: Of a Dask scheduler or a Ray cluster.
        workers: Shards at a time of the runner.
        strict: Return 1 if a file was not answered.
    """
    try:
        _check(top, threshold, out, runner, workers)
        params, table = PredictParams(tuple(models), device), TableParams(top, threshold)
        if runner is not None:
            from flows.predict_flow import run_predict_flow

            summary = run_predict_flow(params, files, str(out), table, path_column, runner, address, workers)
        else:
            found = list_recordings(files, path_column)
            summary = (
                _to_stdout(params, found.paths, found.left_out, table)
                if out is None
                else _to_file(params, found.paths, found.left_out, Path(out), table)
            )
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on from here", 130)
    except (UserMistake, FullDiskError) as error:
        return _fail(str(error), 2)
    except AudioclsError as error:
        return _fail(str(error), 1)
    except OSError as error:
        return _fail(f"{error.filename or out}: {error.strerror}", 2)
    sys.stderr.flush()
    sys.stdout.write(json.dumps(summary.as_dict()) + "\n")
    sys.stdout.flush()
    return int(strict and summary.unanswered > 0)


def _check(top: int, threshold: float | None, out: str | None, runner: str | None, workers: int | None) -> None:
    if top < 1:
        raise ParamsError(f"--top {top}: must be at least 1.")
    if workers is not None and workers < 1:
        raise ParamsError(f"--workers {workers}: must be at least 1.")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ParamsError(f"--threshold {threshold:g}: must be from 0 to 1.")
    if runner is not None and out is None:
        raise ParamsError(f"--runner {runner} needs --out, as its shards write there.")
    if out is not None and is_uri(out):
        raise ParamsError(f"--out {masked(out)}: must be a path on this machine, as the journal is beside it.")
    if out is not None:
        check_output(Path(out))


def _to_stdout(params: PredictParams, paths: list[str], left_out: dict[str, int], table: TableParams) -> PredictSummary:
    counts: Counter[str | None] = Counter()
    rows = predict_rows(paths, params, table, counts)
    for _ in show_rows(rows, paths, sys.stdout, shutil.get_terminal_size().columns):
        sys.stdout.flush()
    return summarise(counts, left_out)


def _to_file(
    params: PredictParams, paths: list[str], left_out: dict[str, int], out: Path, table: TableParams
) -> PredictSummary:
    with locked_journal(out):
        plan = plan_predictions(paths, left_out, params, out)
        with _progress(plan.reused, len(paths)) as advance:
            for shard in plan.shards:
                score_shard(shard, plan.params, advance)
        return write_predictions(plan, table)


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


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {masked(message)}\n")
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = _parser().parse_args(argv)
    if threading.current_thread() is threading.main_thread():
        # Without a handler it ends Python on the spot.
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    given = vars(arguments)
    models = [given.pop("first_model"), *given.pop("models")]
    return predict_command(models, given.pop("files"), **given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flows.predict", description="Classify recordings.")
    parser.add_argument("first_model", metavar="MODEL", help="folder, run, MLflow URI or hub name; several with commas")
    parser.add_argument("files", nargs="+", metavar="FILES", help="files, folders, globs, tables of paths, URIs")
    parser.add_argument(
        "--model", dest="models", action="append", default=[], metavar="MODEL", help="another model; all are averaged"
    )
    parser.add_argument("--out", metavar="FILE", help=".parquet, .csv or .jsonl; a killed run goes on where it was")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="columns for the K most probable labels")
    parser.add_argument("--threshold", type=float, metavar="P", help='below it, the label is "unknown"')
    parser.add_argument("--path-column", default="path", metavar="NAME", help="of tables; default: path")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--runner", choices=RUNNERS, help="score shards on a task runner of Prefect")
    parser.add_argument("--address", help="of a Dask scheduler or a Ray cluster")
    parser.add_argument("--workers", type=int, metavar="N", help="shards at a time of the runner")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a file was not answered")
    return parser


if __name__ == "__main__":
    sys.exit(main())
