"""Training in several processes, one a GPU; torchrun starts `python -m audiocls.training.distributed JOB.json`.

The process with rank 0 says what it measures, logs and makes on its stdout, a JSON line each; the parent hands that on.
Where machines train together (`machines`), those that join have no job file: rank 0 gives them the job by the store at
which they meet, and they find its files at the same paths.

What two processes see is what one sees with the doubled batch, with three differences: mixup and cutmix take partners
from a process's own share of the batch; batch norms see that share alone; and the last batch of a pass, where it is not
full, is filled from the pass's beginning, so that all processes have as many clips.
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
# For machine 0 to come to its training: it may have hours of recordings to decode first.
_MEETING_SECONDS: Final = 7 * 24 * 3600


def fit_in_processes(job: TrainingJob, log: MetricLog) -> TrainedModel:
    """Run `training.fit_here` on this job in `training.processes` processes, on all machines.

    Raises:
        AudioclsError: What a process raised; a TrainingError, where one ended without a word.
    """
    made = _run(launch_command(job.data.params.training.processes, str(write_job(job))), log)
    return TrainedModel(**made["model"] | {"folder": Path(made["model"]["folder"])})


def join_training(params: RunParams) -> dict[str, Any]:
    """Train along in the run of machine 0, which has the same params; return what to say of it.

    Raises:
        AudioclsError: As `fit_in_processes`; a ParamsError, where there is no training to join.
    """
    here = machines()
    if isinstance(params.balance, EmbeddingBalance):
        raise errors.ParamsError(
            f"balance.method = {params.balance.method}: trains a head alone, on machine 0; nothing is left for machine "
            f"{here.rank} to do"
        )
    logger.info("Machine %d of %d: waits for machine 0 at %s.", here.rank, here.count, here.meeting)
    _run(launch_command(params.training.processes, params.model_dump_json()), lambda metrics, step: None)
    return {"machine": here.rank, "joined": here.meeting}


def launch_command(processes: int, argument: str) -> list[str]:
    """Return the torchrun command that gives each process an argument; its variables say where machines meet."""
    meeting = ["--standalone"] if machines().count == 1 else ["--rdzv-conf", f"timeout={_MEETING_SECONDS}"]
    launcher = [sys.executable, "-m", "audiocls.training.torchrun", *meeting, "--nproc-per-node", str(processes)]
    return [*launcher, "-m", "audiocls.training.distributed", argument]


def _run(command: list[str], log: MetricLog) -> dict[str, Any]:
    """Run the processes to their end, and return what rank 0 has made, if it is here.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed, here or at another machine; at the first, a checkpoint was written.
    """
    made: dict[str, Any] = {}
    # A session of its own: Ctrl-C comes to the parent alone, which asks the processes for a checkpoint.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdin is not None  # for mypy: PIPE was asked for
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
    """On Ctrl-C, ask the processes for a checkpoint; a second one ends them. As `SaveOnInterrupt.listening`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if made.get("interrupted"):
            raise KeyboardInterrupt
        made["interrupted"] = True
        logger.warning(INTERRUPTED)
        with suppress(BrokenPipeError):  # they have ended already
            os.write(processes.fileno(), b"!")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def write_job(job: TrainingJob) -> Path:
    """Write the job into its folder, for the processes to read."""
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
        return errors.TrainingError(
            f"training.processes: a process ended with status {status}; what it said stands above."
        )
    kind = getattr(errors, made["error"]["type"], errors.AudioclsError)
    return kind(made["error"]["message"])


def _tell(kind: str, **facts: Any) -> None:
    sys.stdout.write(_MARK + json.dumps({"kind": kind, **facts}, default=str) + "\n")
    sys.stdout.flush()


class _Teller(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _tell("log", logger=record.name, level=record.levelno, message=record.getMessage())


def main() -> int:
    """Train as one of several processes."""
    interrupt = SaveOnInterrupt()
    end_with_the_parent(interrupt.ask)
    is_first = os.environ["RANK"] == "0"
    if is_first:
        logging.getLogger("audiocls").addHandler(_Teller())
        logging.getLogger("audiocls").setLevel(logging.INFO)
    try:
        model = fit_here(
            _take_job(sys.argv[1]),
            lambda metrics, step: _tell("metrics", metrics=metrics, step=step),
            interrupt=interrupt,
        )
    except KeyboardInterrupt:
        # No failure: torchrun would end the others, who may still be at work on what they have to say.
        _tell("interrupted", interrupted=True)
        return 0
    except errors.AudioclsError as error:
        _tell("error", error={"type": type(error).__name__, "message": str(error)})
        return 1
    if is_first:
        _tell("model", model=dataclasses.asdict(model))
    return 0


def _take_job(argument: str) -> TrainingJob:
    """Read the job from its file, or, with the params of a machine that joins, from the first process.

    Raises:
        ParamsError: The params, or the paths, are not those of machine 0.
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
        raise errors.ParamsError("machine 0 trains with other params; give all machines the same file and overrides")
    if not job.data.split_clips.exists():
        raise errors.ParamsError(
            f"workspace = {own.workspace}: {job.data.split_clips} of machine 0 is not here; the workspace must be on a "
            "disk that all machines share, at one path"
        )
    return job


def _without_processes(params: RunParams) -> dict[str, Any]:
    return params.model_dump() | {"training": params.training.model_dump(exclude={"processes"})}


if __name__ == "__main__":
    sys.exit(main())
