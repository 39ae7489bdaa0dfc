"""Each path of a params file as missing, a file, a folder, a dangling link, unreadable, unwritable, empty and too long.

The paths are those that the schema marks as such, so that a new one has to be added to `USES` and is then tested too.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from pydantic import BaseModel

from audiocls.augmentation.recordings import read_recordings
from audiocls.errors import UserMistake
from audiocls.params.run import RunParams
from audiocls.params.strict import check_path_text
from audiocls.params_file import reading as params_file
from audiocls.params_file.reading import load_params
from audiocls.params_file.writable import check_writable
from audiocls.sources.manifest import list_clips


class Use(NamedTuple):
    """How a run uses a path: the sections of a params file that hold it, what is done, and which states are wrong."""

    sections: Any  # the path -> the sections
    do: Any  # (params, an empty folder) -> None
    wrong: set[str]
    named: str  # how a message begins


def list_source(params: RunParams, workspace: Path) -> None:
    list_clips(params.data, workspace)


def check(params: RunParams, _: Path) -> None:
    check_writable(params)


def read_folder(params: RunParams, _: Path) -> None:
    read_recordings(params.augmentation[0].folder, 16_000)


SAMPLE = {"source": "sample"}
TO_READ = {"missing", "file", "unwritable", "dangling link", "unreadable", "below a file", "too long"}
TO_WRITE = {"file", "dangling link", "unreadable", "unwritable", "below a file", "too long"}
USES = {
    "RunParams.workspace": Use(lambda path: {"workspace": path, "data": SAMPLE}, check, TO_WRITE, "workspace = "),
    "AudioParams.store": Use(
        lambda path: {"audio": {"store": path}, "data": SAMPLE}, check, TO_WRITE, "audio.store = "
    ),
    "TrackingParams.uri": Use(
        lambda path: {"tracking": {"uri": path and f"sqlite:///{path}"}, "data": SAMPLE},
        check, TO_WRITE | {"folder"}, "tracking.uri = ",
    ),
    "FolderData.path": Use(
        lambda path: {"data": {"source": "folder", "path": path}}, list_source, TO_READ | {"folder"}, "data.path"
    ),
    "TableData.path": Use(
        lambda path: {"data": {"source": "table", "path": path}}, list_source, TO_READ | {"folder"}, "data.path = "
    ),
    "HubData.name": Use(
        lambda path: {"data": {"source": "hub", "name": path}}, list_source, TO_READ | {"folder"}, "data.name = "
    ),
    "Background.folder": Use(
        lambda path: {"data": SAMPLE, "augmentation": [{"kind": "background", "folder": path}]},
        read_folder, TO_READ | {"folder"}, "",
    ),
    "ImpulseResponse.folder": Use(
        lambda path: {"data": SAMPLE, "augmentation": [{"kind": "impulse_response", "folder": path}]},
        read_folder, TO_READ | {"folder"}, "",
    ),
    # Where it lies is looked at with the model; here, that it is a text which can name something.
    "ModelParams.pretrained": Use(
        lambda path: {"data": SAMPLE, "model": {"pretrained": path}}, lambda params, _: None, set(), ""
    ),
}  # fmt: skip
STATES = ("missing", "file", "folder", "dangling link", "below a file", "unreadable", "unwritable", "too long")


def marked_fields(model: type[BaseModel], seen: set[type]) -> set[str]:
    """`Model.field` for every field that holds a path, in a model and in what it is made of."""
    if model in seen:
        return set()
    seen.add(model)
    found = set()
    for name, field in model.model_fields.items():
        marks = repr(field.metadata) + repr(field.annotation)
        if "Path" in marks or "_check_text" in marks or check_path_text.__name__ in marks:
            found.add(f"{model.__name__}.{name}")
        for inner in params_file._models(field.annotation):
            found |= marked_fields(inner, seen)
    return found


def test_every_path_of_the_schema_is_tested():
    assert marked_fields(RunParams, set()) == set(USES)


def test_no_text_that_speaks_of_a_folder_or_a_uri_is_left_unmarked():
    seen: set[type] = set()
    marked = marked_fields(RunParams, seen)
    spoken_of = {
        f"{model.__name__}.{name}"
        for model in seen
        for name, field in model.model_fields.items()
        if str in (field.annotation, *getattr(field.annotation, "__args__", ()))
        and any(word in (field.description or "") for word in ("older", "URI", "file"))
    }
    of_paths_in_the_source = {"FolderData.pattern", "FolderData.include", "FolderData.exclude"}
    # Names below a folder that is marked; one that is not there ends the run (tests/audiocls/augmentation).
    of_paths_in_the_source |= {"Background.leave_out", "ImpulseResponse.leave_out"}
    columns = {f"TableData.{name}_column" for name in ("path", "group", "start", "end")}
    assert spoken_of - of_paths_in_the_source - columns <= marked


class Capabilities(ctypes.Structure):
    """What Linux's capget and capset take: the rights of a thread, 64 bits of each kind in two halves."""

    _fields_ = [
        (f"{kind}_{half}", ctypes.c_uint32) for half in (0, 1) for kind in ("effective", "permitted", "inherit")
    ]


@contextmanager
def bound_by_permissions():
    """Have the bits of files bind root too, in this thread, by giving up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    before, reduced = Capabilities(), Capabilities()
    for found in (before, reduced):
        assert libc.capget(header, ctypes.byref(found)) == 0
    reduced.effective_0 &= ~0b110
    assert libc.capset(header, ctypes.byref(reduced)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, ctypes.byref(before)) == 0


def make(state: str, folder: Path) -> Path:
    """Make a path that is in a state."""
    path = folder / "it"
    match state:
        case "file":
            path.write_text("some text\n")
        case "folder":
            path.mkdir()
        case "dangling link":
            path.symlink_to(folder / "nowhere")
        case "below a file":
            (folder / "file").write_text("some text\n")
            path = folder / "file" / "it"
        case "unreadable":
            path.mkdir()
            path.chmod(0)
        case "unwritable":
            path.mkdir()
            path.chmod(0o555)
        case "too long":
            path = folder / ("long" * 100)
    return path


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("field", USES)
def test_a_path_that_cannot_be_used_is_a_mistake_that_names_it(field, state, tmp_path):
    use = USES[field]
    path = make(state, tmp_path)
    params = RunParams.model_validate({"workspace": str(tmp_path / "new"), **use.sections(str(path))})
    with bound_by_permissions():
        if state in use.wrong:
            with pytest.raises(UserMistake) as raised:
                use.do(params, tmp_path / "workspace")
            message = str(raised.value)
            assert message.startswith(use.named)
            assert str(path)[:100] in message
            assert "\n" not in message
        else:
            use.do(params, tmp_path / "workspace")


@pytest.mark.parametrize("text", ["", " ", "a\0b"])
@pytest.mark.parametrize("field", USES)
def test_a_text_that_names_no_path_is_a_mistake_in_the_params(field, text, tmp_path):
    sections = USES[field].sections(text)
    if field == "TrackingParams.uri":
        sections["tracking"]["uri"] = text
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(sections))
    with pytest.raises(UserMistake, match=rf"{field.split('.')[1]} = .*: must not (be empty|contain a zero byte)"):
        load_params(file)


@pytest.mark.parametrize("state", ["missing", "folder", "dangling link", "below a file", "unreadable", "too long"])
def test_a_params_file_that_cannot_be_read_is_a_mistake_that_names_it(state, tmp_path):
    path = make(state, tmp_path)
    with bound_by_permissions(), pytest.raises(UserMistake, match=r"the params file cannot be read: .*\.$") as raised:
        load_params(path)
    assert str(raised.value).startswith(str(path)[:100])


def test_a_file_system_that_is_mounted_read_only_is_called_so(monkeypatch, tmp_path):
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((*real[:8], real.f_flag | os.ST_RDONLY, real[9])))
    monkeypatch.setattr(os, "access", lambda path, mode, **_: not mode & os.W_OK)
    params = RunParams.model_validate({"workspace": str(tmp_path / "new"), "data": SAMPLE})
    with pytest.raises(
        UserMistake, match=rf"^workspace = .*: {tmp_path} is on a file system that is mounted read-only"
    ):
        check_writable(params)
