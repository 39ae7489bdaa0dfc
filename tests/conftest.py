from __future__ import annotations

import os

# Before any import of transformers: no test may depend on what a hub answers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("DO_NOT_TRACK", "1")
# Two processes run the tests, and start others; with a thread per core each, they would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of whole flows first: started last, they would keep one process busy long after the others."""
    items.sort(key=lambda item: "tests/flows/" not in item.path.as_posix())


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A model with its exports to ONNX, in float32 and in int8."""
    pytest.importorskip("onnxscript", reason="NOT TESTED: pip install 'audiocls[onnx]'")
    # Imported late: importing the library takes seconds, and few tests need this.
    from filelock import FileLock
    from tiny_classifiers import save_classifier

    from audiocls.inference import export_onnx

    in_parallel = "PYTEST_XDIST_WORKER" in os.environ  # of the folders of such processes the parent is that of this run
    temporary = tmp_path_factory.getbasetemp()
    folder = (temporary.parent if in_parallel else temporary) / "exported"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            made = save_classifier(tmp_path_factory.mktemp("exporting"))
            for int8 in (False, True):
                export_onnx(made, int8=int8)
            made.rename(folder)
    return folder


RATE_HZ = 16_000
TONES_HZ = {"low": 250.0, "middle": 1_000.0, "high": 3_500.0}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Two OpenMP threads on two busy cores wait for each other ten times longer than they work."""
    torch.set_num_threads(1)


def tone(frequency_hz: float, seconds: float, seed: int, rate_hz: int = RATE_HZ) -> np.ndarray:
    """A tone a little beside its nominal frequency, in faint noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    signal = 0.3 * np.sin(2 * np.pi * frequency_hz * rng.uniform(0.95, 1.05) * time + rng.uniform(0, 6))
    return (signal + rng.normal(0, 0.01, len(time))).astype(np.float32)


def write_tones(folder: Path, clips_per_class: dict[str, int], seconds: float = 0.3) -> Path:
    """A directory a class; clip i of a class is by speaker i % 10, which is the group: `low/speaker-3/low-3.wav`."""
    for label, clips in clips_per_class.items():
        for i in range(clips):
            path = folder / label / f"speaker-{i % 10}" / f"{label}-{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, tone(TONES_HZ[label], seconds + 0.01 * (i % 7), seed=i), RATE_HZ)
    return folder


@pytest.fixture(scope="session")
def tones(tmp_path_factory) -> Path:
    """48 clips of three classes, long-tailed."""
    return write_tones(tmp_path_factory.mktemp("tones"), {"low": 24, "middle": 14, "high": 10})


@pytest.fixture
def full_disk():
    """A context in which no file grows beyond some bytes, as if the disk were full there."""

    @contextmanager
    def full(num_bytes):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    return full


@pytest.fixture
def few_open_files():
    """A context in which this process may open some files more than it has open."""

    @contextmanager
    def few(more):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = {int(entry.name) for entry in Path("/proc/self/fd").iterdir()}
        free = [number for number in range(len(used) + more + 1) if number not in used]
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[more], limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    return few
