from __future__ import annotations

import errno
import io
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile

from audiocls import tracking
from audiocls.params.data import TableData
from audiocls.params.run import AudioParams, RunParams
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


def make_tone(hz=440.0, seconds=0.2, rate_hz=16_000, peak=0.5):
    times = np.arange(round(seconds * rate_hz)) / rate_hz
    return (peak * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def encode_as(signal, rate_hz=16_000, container="WAV", subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, signal, rate_hz, format=container, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="session")
def tone():
    """A function that returns a tone, (samples,) float32."""
    return make_tone


@pytest.fixture(scope="session")
def encode():
    """A function that returns the bytes of an audio file."""
    return encode_as


@pytest.fixture(scope="session")
def write_tone():
    """A function that writes a tone to a file, making its folders, and may set the file's time of change."""

    def write(path, hz=440.0, seconds=0.1, modified_ns=None, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_as(make_tone(hz, seconds, **options), options.get("rate_hz", 16_000)))
        if modified_ns is not None:
            os.utime(path, ns=(modified_ns, modified_ns))
        return path

    return write


@pytest.fixture(scope="session")
def list_table():
    """A function that writes a table of (path, label) and optionally more, and returns the manifest made from it."""

    def listed(workspace, rows, columns=("path", "label")):
        table = workspace / "clips.csv"
        table.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows, columns=list(columns)).to_csv(table, index=False)
        group, split = ("group" if "group" in columns else None), ("split" if "split" in columns else None)
        params = TableData(source="table", path=table, group_column=group, split_column=split)
        return list_clips(params, workspace)

    return listed


@pytest.fixture(scope="session")
def fill_store():
    """A function that plans a store and writes its shards, and returns the plan."""

    def fill(manifest, workspace, params=None, order=1):
        params = params or AudioParams()
        plan = plan_store(manifest, params, workspace)
        for shard in plan.shards[::order]:
            write_shard(shard, params)
        return plan

    return fill


@pytest.fixture
def root(tmp_path):
    """An empty folder of recordings."""
    (tmp_path / "recordings").mkdir()
    return tmp_path / "recordings"


@pytest.fixture
def list_rows(tmp_path):
    """A function that lists a source and returns the manifest's rows as dicts."""

    def rows(params):
        return pq.read_table(list_clips(params, tmp_path / "workspace")).to_pylist()

    return rows


@pytest.fixture(scope="session")
def touch():
    """A function that makes empty files below a folder."""

    def touched(root, *names):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()

    return touched


@pytest.fixture
def forbid(monkeypatch):
    """A function that takes the permission to read a file or a directory away, from root too."""

    def forbidden(path):
        for name in ("open", "scandir"):
            monkeypatch.setattr(os, name, refusing(getattr(os, name), path))

    def refusing(call, path):
        def refused(asked, *arguments, **options):
            if os.fspath(asked) == str(path):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(asked, *arguments, **options)

        return refused

    return forbidden


@pytest.fixture(scope="session")
def write_csv():
    """A function that writes a text file, UTF-8."""

    def written(root, text, name="clips.csv"):
        (root / name).write_text(text, encoding="utf-8")
        return root / name

    return written


@pytest.fixture(scope="session")
def tracked_workspace(tmp_path_factory):
    """A function that makes a folder a workspace whose MLflow database is there: its migrations take seconds."""
    folder = tmp_path_factory.mktemp("tracked")
    params = RunParams.model_validate({"workspace": str(folder), "data": {"source": "sample"}})
    tracking.start_run(params.model_copy(update={"experiment": "made by the fixture"}), "first", {})

    def make(workspace):
        workspace.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "mlflow.db", workspace / "mlflow.db")
        return workspace

    return make
