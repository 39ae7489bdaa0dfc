"""What a terminal shows while a flow runs."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console

from audiocls.progress import progress_bar
from audiocls.stopwatch import stage
from flows.screen import Screen, Stage, duration, fitting

HOME = Path(__file__).resolve().parents[2]
CODES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def screen_of(width: int, clock: Clock) -> tuple[Screen, Console]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    return Screen(console, clock), console


def line_of(screen: Screen, console: Console) -> str:
    with console.capture() as captured:
        console.print(screen.render())
    return captured.get()


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.2, "12 s"), (187, "3:07"), (3753, "1:02:33")]
)
def test_durations(seconds, written):
    assert duration(seconds) == written


def test_facts_that_do_not_fit_are_left_out_and_none_is_cut():
    facts = ["33/80 steps", "12 s left", "loss 0.8276", "412 clips/s"]
    assert fitting(facts, 200) == "33/80 steps  12 s left  loss 0.8276  412 clips/s"
    assert fitting(facts, 35) == "33/80 steps  12 s left  loss 0.8276"
    assert fitting(facts, 34) == "33/80 steps  12 s left"
    assert fitting(facts, 5) == ""


def test_the_time_left_goes_by_the_pace_of_this_run_and_not_by_what_a_checkpoint_had():
    training = Stage("Training", begun=0.0, unit="steps", total=100)
    training.advance(60, now=10.0)  # of a checkpoint, at once
    assert training.seconds_left(now=10.0) is None
    training.advance(10, now=20.0)
    assert training.seconds_left(now=20.0) == pytest.approx(30.0)
    training.advance(40, now=30.0)
    assert training.seconds_left(now=30.0) == 0.0


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_live_line_of_a_training_is_one_line_with_the_most_important_facts(width, clock):
    screen, console = screen_of(width, clock)
    screen.began("fit")
    with screen.bar("training", 0, "steps") as bar:
        bar.expect(400)
        bar.advance(0)
        clock.now += 10
        bar.advance(100)
        bar.say("loss 0.7753", "312 clips/s")
        line = line_of(screen, console)
    assert line.count("\n") == 1
    assert len(line.rstrip("\n")) <= width
    assert "Training" in line
    assert "100/400" in line
    assert ("30 s left  loss 0.7753  312 clips/s" in line) == (width >= 80)
    assert ("━" in line) == (width >= 120)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize(
    ("name", "title", "unit"),
    [
        ("find_near_duplicates", "Near-duplicates", "pairs"),
        ("evaluate", "Evaluation", "clips"),
        ("log_results", "Upload", "kB"),
    ],
)
def test_the_other_long_stages_have_a_bar_in_one_line_too(name, title, unit, width, clock):
    screen, console = screen_of(width, clock)
    screen.began(name)
    with screen.bar("working", 2_000_000, unit) as bar:
        bar.advance(0)
        clock.now += 60
        bar.advance(500_000)
        line = line_of(screen, console)
        assert re.search(rf"{title} +━+[╸╺━ ]* +500,000/2,000,000 {unit}  3:00 left\n$", line)
        assert line.count("\n") == 1
        assert len(line.rstrip("\n")) <= width
    clock.now += 12
    assert "1:12" in line_of(screen, console)


def test_a_stage_with_several_bars_names_all_its_work(clock):
    screen, console = screen_of(80, clock)
    screen.began("find_near_duplicates")
    for done, unit in ((1_800, "clips"), (0, "stores"), (400, "pairs"), (12, "pairs")):
        with screen.bar("working", done, unit) as bar:
            bar.advance(done)
    screen.ended("find_near_duplicates", 75)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "  Near-duplicates           1:15  1,800 clips, 412 pairs\n"


def test_a_stage_without_a_total_shows_how_long_it_has_run(clock):
    screen, console = screen_of(80, clock)
    screen.began("audit_corpus")
    clock.now += 12
    assert line_of(screen, console).split()[1:] == ["Audit", "12", "s"]


def test_a_stage_that_is_over_leaves_a_line_and_small_uploads_do_not(clock):
    screen, console = screen_of(80, clock)
    screen.began("cache_waveforms")
    with screen.bar("decoding", 1800, "clips") as bar:
        bar.advance(1800)
    screen.ended("cache_waveforms", 12.3)
    screen.began("log_counts")
    screen.ended("log_counts", 0.2)
    screen.began("log_augmentation")
    screen.ended("log_augmentation", 1.5)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "  Decoding                  12 s  1,800 clips",
        "  Log augmentation         1.5 s",
    ]


def test_stages_and_bars_of_the_library_come_to_the_screen_and_prefects_lines_do_not(clock):
    screen, console = screen_of(80, clock)
    prefects = PrefectConsoleHandler(stream=io.StringIO())
    root = logging.getLogger()
    root.addHandler(prefects)
    try:
        with screen.shown():
            assert prefects not in root.handlers
            with stage("cache_waveforms"), progress_bar("decoding", 2) as bar:
                bar.advance(1)
                assert "1/2 clips" in line_of(screen, console)
            logging.getLogger("prefect.task_runs").warning("a task is late")
            logging.getLogger("prefect.task_runs").info("Finished in state Completed()")
            logging.getLogger("audiocls.tracking").warning("no server at https://me:secret@host/")
        assert prefects in root.handlers
    finally:
        root.removeHandler(prefects)
    assert isinstance(console.file, io.StringIO)
    said = CODES.sub("", console.file.getvalue())
    assert "Decoding" in said
    assert "warning: a task is late" in said
    assert "Completed" not in said
    assert "warning: no server at" in said
    assert "secret" not in said


class Terminal:
    """A command in a terminal of its own; what it writes to stdout goes to a pipe."""

    def __init__(self, columns: int, *arguments: str, home: Path) -> None:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "PREFECT_API_URL")}
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments], cwd=HOME, stdin=theirs, stdout=subprocess.PIPE,
            stderr=theirs, text=True,
            env=environment | {"PREFECT_HOME": str(home), "TERM": "xterm-256color", "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if not select.select([ours], [], [], 0.2)[0]:
                continue
            try:
                shown += os.read(ours, 65_536)
            except OSError:  # nobody has the terminal open any more
                break
        os.close(ours)
        assert process.stdout is not None
        self.out = process.stdout.read()
        self.status = process.wait()
        self.shown = CODES.sub("", shown.decode()).replace("\r", "\n")


def test_a_training_in_a_terminal(tones, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        f"workspace: {tmp_path / 'workspace'}\ndata: {{source: folder, path: {tones}}}\naudio: {{max_seconds: 0.3}}\n"
        "training: {max_steps: 60, batch_size: 4, device: cpu}\n"
    )
    done = Terminal(80, "train", str(file), home=tmp_path / "prefect")
    assert done.status == 0, done.shown
    assert set(json.loads(done.out.splitlines()[-1])) == {
        "run_id",
        "model",
        "metrics",
        "verdict",
        "confounds",
        "seconds",
        "unsent",
    }
    assert "Task run" not in done.shown
    assert "Traceback" not in done.shown
    over = dict(re.findall(r"^  (\S[\w -]+?)  +[\d.:]+(?: s)?(?:  (\S.*))?$", done.shown, re.M))
    shown = ["Starting", "Opening the run", "Decoding", "Near-duplicates", "Training", "Evaluation", "Upload"]
    assert [title for title in over if title in shown] == shown
    assert over["Decoding"] == "48 clips"
    assert re.fullmatch(r"48 clips, [\d,]+ pairs", over["Near-duplicates"])
    assert over["Training"] == "60 steps"
    assert re.fullmatch(r"\d+ windows, \d+ corrupted windows", over["Evaluation"])
    assert re.fullmatch(r"[\d,]+ kB", over["Upload"])
    assert re.search(r"Training +.*\d+/60 steps", done.shown)
    assert "Balanced accuracy" in done.shown
