"""Predict in forked children that are killed with SIGKILL, at random times and in the middle of lines of the journal.

    python disturbed_predictions.py MODEL CLIPS FOLDER RANDOM LINES none|segments

FOLDER/whole.parquet is by an undisturbed run; FOLDER/random-<n>.parquet by runs that are killed up to three times at
random times, and FOLDER/line-<n>.parquet by runs that are killed when half of the n-th line is written. Prints as JSON,
by the name of the output, the summary of the run that came to its end.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from audiocls.inference import groups
from audiocls.inference.journal import JournalWriter, locked_journal
from audiocls.inference.parts import PartParams
from audiocls.inference.prediction import PredictParams, plan_predictions, score_shard, write_predictions
from audiocls.inference.recordings import list_recordings
from audiocls.inference.rows import TableParams

PARTS = PartParams("segments", hop_seconds=0.1, on=0.96, off=0.92) if sys.argv[-1] == "segments" else None


def predict(model: str, clips: str, out: Path) -> None:
    """Write an output, and its summary beside it."""
    found = list_recordings([clips])
    with locked_journal(out):
        plan = plan_predictions(
            found.paths, found.left_out, PredictParams((model,), threads=2, parts=PARTS), out, shard_files=40
        )
        for shard in plan.shards:
            score_shard(shard, plan.params)
        summary = write_predictions(plan, TableParams(top=1 if PARTS else 3))
    out.with_suffix(".json").write_text(json.dumps(summary.as_dict()))


def start(model: str, clips: str, out: Path, kill_at_line: int | None = None) -> int:
    """Predict in a child; return its process id."""
    child = os.fork()
    if not child:
        if kill_at_line is not None:
            kill_in_line(kill_at_line)
        predict(model, clips, out)
        os._exit(0)
    return child


def kill_in_line(number: int) -> None:
    """Kill this process when half of a line of this number is written."""
    add, left = JournalWriter.add, number

    def add_half(writer: JournalWriter, key: str, answers: object) -> None:
        nonlocal left
        if not left:
            line = json.dumps([key, answers]).encode()
            writer._file.write(line[: len(line) // 2])
            writer._file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        add(writer, key, answers)

    JournalWriter.add = add_half


def wait(child: int) -> bool:
    """Wait for a child; return whether it was killed."""
    _, status = os.waitpid(child, 0)
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


def main(model: str, clips: str, folder: Path, randomly: int, in_lines: int) -> None:
    """Write all the outputs."""
    groups.GROUP_FILES = 10  # otherwise it depends on the names how many groups there are
    draw = random.Random(time.time_ns())
    began = time.monotonic()
    assert not wait(start(model, clips, folder / "whole.parquet"))
    seconds = time.monotonic() - began
    for number in range(randomly):
        out = folder / f"random-{number}.parquet"
        for _ in range(draw.randint(1, 3)):
            child = start(model, clips, out)
            time.sleep(draw.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
            wait(child)
        assert not wait(start(model, clips, out))
    for number in range(in_lines):
        out = folder / f"line-{number}.parquet"
        assert wait(start(model, clips, out, kill_at_line=number))
        assert not wait(start(model, clips, out))
    sys.stdout.write(json.dumps({file.stem: json.loads(file.read_text()) for file in folder.glob("*.json")}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
