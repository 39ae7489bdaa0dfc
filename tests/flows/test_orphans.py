from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

HOME = Path(__file__).resolve().parents[2]
COMMAND = """
import os, time
from audiocls.params import RunnerParams
from tasks.runners import make_runner

if __name__ == "__main__":
    with make_runner(RunnerParams(kind="process", workers=1)) as started:
        print(started._executor.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""
PATIENCE_SECONDS = 30


def test_workers_end_when_their_command_is_killed(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(COMMAND)
    command = [sys.executable, script]
    with subprocess.Popen(
        command, cwd=HOME, env={"PYTHONPATH": str(HOME)}, stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.ppid() == parent.pid
        parent.kill()
    end = time.monotonic() + PATIENCE_SECONDS
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < end:
        time.sleep(0.1)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
