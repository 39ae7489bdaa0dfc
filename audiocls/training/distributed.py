"""Training in several processes, one per GPU; torchrun starts `python -m audiocls.training.distributed JOB.json`.

Rank 0 writes its metrics, log records and results to stdout, one JSON line each; the parent forwards them. If several
machines train together (`machines`), the joining ones have no job file: rank 0 sends the job through torch's
rendezvous store, and its files are at the same paths on all machines.

Two processes are equivalent to one with twice the batch size, with three differences: mixup and cutmix take partners
from a process's own part of the batch; batch norms see only that part; and an incomplete last batch of an epoch is
filled with clips from its beginning, so that all processes have the same number of clips.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any, Final

from audiocls import errors
from audiocls.params import EmbeddingBalance, RunParams
from audiocls.training.fitting import fit_here
from audiocls.training.job import TrainingJob
from audiocls.training.machines import machines
from audiocls.training.resumption import INTERRUPTED, SaveOnInterrupt
from audiocls.training.torchrun import end_with_the_parent
from audiocls.training.trained_model import TrainedModel
from audiocls.training.trainer import MetricLog

logger = logging.getLogger(__name__)

_MARK: Final = "audiocls-event "
_JOB_KEY: Final = "audiocls/job"
# Until machine 0 starts training: it may have hours of recordings to decode first.
_MEETING_SECONDS: Final = 7 * 24 * 3600


def fit_in_processes(job: TrainingJob, log: MetricLog) -> TrainedModel:
    """Run `fit_here` on this job in `training.processes` processes, on all machines.

    Raises:
        AudioclsError: A process raised it; a TrainingError if one ended without an error.
    """
    made = _run(launch_command(job.data.params.training.processes, str(write_job(job))), log)
    return TrainedModel(**made["model"] | {"folder": Path(made["model"]["folder"])})


def join_training(params: RunParams) -> dict[str, Any]:
    """Join the training of machine 0, which has the same params; return a summary.

    Raises:
        AudioclsError: As `fit_in_processes`; a ParamsError if there is no training to join.
    """
    here = machines()
    if isinstance(params.balance, EmbeddingBalance):
        raise errors.ParamsError(
            f"balance.method = {params.balance.method}: trains only a head, on machine 0; machine "
            f"{here.rank} has nothing to do"
        )
    logger.info("Machine %d of %d: waiting for machine 0 at %s.", here.rank, here.count, here.meeting)
    _run(launch_command(params.training.processes, params.model_dump_json()), lambda metrics, step: None)
    return {"machine": here.rank, "joined": here.meeting}


def launch_command(processes: int, argument: str) -> list[str]:
    """Return the torchrun command that passes an argument to each process; its variables name the meeting point."""
    meeting = ["--standalone"] if machines().count == 1 else ["--rdzv-conf", f"timeout={_MEETING_SECONDS}"]
    launcher = [sys.executable, "-m", "audiocls.training.torchrun", *meeting, "--nproc-per-node", str(processes)]
    return [*launcher, "-m", "audiocls.training.distributed", argument]


def _run(command: list[str], log: MetricLog) -> dict[str, Any]:
    """Run the processes, and return the results of rank 0 if it runs on this machine.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, here or on another machine. The first one writes a checkpoint.
    """
    made: dict[str, Any] = {}
    # In a session of its own: only the parent receives Ctrl-C, and asks the processes for a checkpoint.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None  # for mypy
        assert process.stdout is not None
        try:
            with _asking(process.stdin, made):
                _hand_on(process.stdout, log, made)
        except BaseException:
            process.terminate()
            raise
    if process.returncode or "error" in made:
        raise _error_of(made, process.returncode)
    if made.get("interrupted"):
        raise KeyboardInterrupt
    return made


@contextmanager
def _asking(processes: IO[str], made: dict[str, Any]) -> Iterator[None]:
    """On Ctrl-C, ask the processes for a checkpoint; on a second one, end them. As `SaveOnInterrupt.listening`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if made.get("interrupted"):
            raise KeyboardInterrupt
        made["interrupted"] = True
        logger.warning(INTERRUPTED)
        with suppress(BrokenPipeError):  # the processes have already ended
            os.write(processes.fileno(), b"!")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def write_job(job: TrainingJob) -> Path:
    """Write the job file that the processes read."""
    job_file = job.folder / "job.json"
    job_file.parent.mkdir(parents=True, exist_ok=True)
    job_file.write_text(job.to_json())
    return job_file


def _hand_on(lines: IO[str], log: MetricLog, made: dict[str, Any]) -> None:
    for line in lines:
        if not line.startswith(_MARK):
            sys.stderr.write(line)
            continue
        event = json.loads(line.removeprefix(_MARK))
        match event["kind"]:
            case "metrics":
                log(event["metrics"], event["step"])
            case "log":
                logging.getLogger(event["logger"]).log(event["level"], "%s", event["message"])
            case kind:
                made[kind] = event[kind]


def _error_of(made: dict[str, Any], status: int) -> Exception:
    if "error" not in made:
        return errors.TrainingError(f"training.processes: a process ended with status {status}; see its output above.")
    kind = getattr(errors, made["error"]["type"], errors.AudioclsError)
    return kind(made["error"]["message"])


def _send(kind: str, **facts: Any) -> None:
    sys.stdout.write(_MARK + json.dumps({"kind": kind, **facts}, default=str) + "\n")
    sys.stdout.flush()


class _EventHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _send("log", logger=record.name, level=record.levelno, message=record.getMessage())


def main() -> int:
    """Train as one of several processes."""
    interrupt = SaveOnInterrupt()
    end_with_the_parent(interrupt.ask)
    is_first = os.environ["RANK"] == "0"
    if is_first:
        logging.getLogger("audiocls").addHandler(_EventHandler())
        logging.getLogger("audiocls").setLevel(logging.INFO)
    try:
        model = fit_here(
            _take_job(sys.argv[1]),
            lambda metrics, step: _send("metrics", metrics=metrics, step=step),
            interrupt=interrupt,
        )
    except KeyboardInterrupt:
        # Return 0: on a failure, torchrun would end the other processes while they still report.
        _send("interrupted", interrupted=True)
        return 0
    except errors.AudioclsError as error:
        _send("error", error={"type": type(error).__name__, "message": str(error)})
        return 1
    if is_first:
        _send("model", model=dataclasses.asdict(model))
    return 0


def _take_job(argument: str) -> TrainingJob:
    """Read the job from its file, or on a joining machine, which has the params, from rank 0.

    Raises:
        ParamsError: The params or the paths differ from those of machine 0.
    """
    if machines().count == 1:
        return TrainingJob.from_json(Path(argument).read_text())
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not list it

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    if machines().rank == 0:
        store.set(_JOB_KEY, Path(argument).read_text())
        return TrainingJob.from_json(Path(argument).read_text())
    job = TrainingJob.from_json(store.get(_JOB_KEY).decode())
    own = RunParams.model_validate_json(argument)
    if _without_processes(own) != _without_processes(job.data.params):
        raise errors.ParamsError("machine 0 has other params; give all machines the same file and overrides")
    if not job.data.split_clips.exists():
        raise errors.ParamsError(
            f"workspace = {own.workspace}: {job.data.split_clips} of machine 0 is missing here; the workspace must be "
            "on a disk that all machines share, at the same path"
        )
    return job


def _without_processes(params: RunParams) -> dict[str, Any]:
    return params.model_dump() | {"training": params.training.model_dump(exclude={"processes"})}


if __name__ == "__main__":
    sys.exit(main())
