from __future__ import annotations

import subprocess
import sys

from audiocls.tracking.unfinished import claim

HOLD = """
import sys, time
from pathlib import Path
from audiocls.tracking.unfinished import claim
with claim(Path(sys.argv[1]), "train phrases") as claimed:
    claimed.write("abc")
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_its_run_to_the_next_one_with_the_same_command(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with claim(tmp_path, "train phrases") as claimed:
        assert claimed is None  # a living process works on it
    with claim(tmp_path, "train letters") as claimed:
        assert claimed is not None
        assert claimed.read() is None
    holder.kill()
    holder.wait()
    with claim(tmp_path, "train phrases") as claimed:
        assert claimed is not None
        assert claimed.read() == "abc"


def test_a_run_that_has_ended_is_forgotten(tmp_path):
    with claim(tmp_path, "train") as claimed:
        claimed.write("abc")
        claimed.clear()
    with claim(tmp_path, "train") as claimed:
        assert claimed.read() is None
