"""Training in several processes, one a GPU, by torchrun: `python -m audiocls.distributed JOB.json` is what it starts.

The process with rank 0 says what it measures, logs and makes on its stdout, a JSON line each; the parent hands that on.
More machines than one take part by torchrun's own variables (PET_NNODES, PET_NODE_RANK, PET_RDZV_BACKEND,
PET_RDZV_ENDPOINT), set for the flow and, on every other machine, for this module with the run's job file.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

from audiocls import errors
from audiocls.balance import Balanced
from audiocls.params import RunParams
from audiocls.trainer import MetricLog
from audiocls.training import TrainedModel, fit_here

logger = logging.getLogger(__name__)

_MARK: Final = "audiocls-event "
_PATHS: Final = ("split_clips", "store", "folder", "features", "checkpoint")


def fit_in_processes(log: MetricLog, **job: Any) -> TrainedModel:
    """Run `training.fit_here` with these arguments in `training.processes` processes.

    Raises:
        AudioclsError: What a process raised; a TrainingError, where one ended without a word.
    """
    job_file = write_job(**job)
    made: dict[str, Any] = {}
    # A session of its own: Ctrl-C ends the parent, which ends the processes; their last checkpoint stays.
    with subprocess.Popen(
        launch_command(job_file, job["params"].training.processes), stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # for mypy: PIPE was asked for
        try:
            _hand_on(process.stdout, log, made)
        except BaseException:
            process.terminate()
            raise
    if "model" not in made:
        raise _error_of(made, process.returncode)
    return TrainedModel(**made["model"] | {"folder": Path(made["model"]["folder"])})


def launch_command(job_file: Path, processes: int) -> list[str]:
    """Return the torchrun command; where its variables name other machines, it is left to them how to meet."""
    meeting = [] if "PET_NNODES" in os.environ else ["--standalone"]
    launcher = [sys.executable, "-m", "torch.distributed.run", *meeting, "--nproc-per-node", str(processes)]
    return [*launcher, "-m", "audiocls.distributed", str(job_file)]


def write_job(**job: Any) -> Path:
    """Write what the processes need to know."""
    balanced = dataclasses.asdict(job["balanced"]) | {"rows": str(job["balanced"].rows)}
    plain = {name: None if job[name] is None else str(job[name]) for name in _PATHS}
    job_file: Path = job["folder"] / "job.json"
    job_file.parent.mkdir(parents=True, exist_ok=True)
    job_file.write_text(json.dumps(plain | {"balanced": balanced, "params": job["params"].model_dump(mode="json")}))
    return job_file


def read_job(job_file: Path) -> dict[str, Any]:
    """Read what `write_job` wrote: the arguments of `training.fit_here`."""
    job = json.loads(job_file.read_text())
    balanced = Balanced(**job["balanced"] | {"rows": Path(job["balanced"]["rows"])})
    paths = {name: None if job[name] is None else Path(job[name]) for name in _PATHS}
    return paths | {"balanced": balanced, "params": RunParams.model_validate_json(json.dumps(job["params"]))}


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
    """Train as one of several processes, or start those of this machine."""
    job_file = Path(sys.argv[1])
    job = read_job(job_file)
    if "RANK" not in os.environ:
        return subprocess.run(launch_command(job_file, job["params"].training.processes), check=False).returncode
    is_first = os.environ["RANK"] == "0"
    if is_first:
        logging.getLogger("audiocls").addHandler(_Teller())
        logging.getLogger("audiocls").setLevel(logging.INFO)
    try:
        model = fit_here(log=lambda metrics, step: _tell("metrics", metrics=metrics, step=step), **job)
    except errors.AudioclsError as error:
        _tell("error", error={"type": type(error).__name__, "message": str(error)})
        return 1
    if is_first:
        _tell("model", model=dataclasses.asdict(model))
    return 0


if __name__ == "__main__":
    sys.exit(main())
