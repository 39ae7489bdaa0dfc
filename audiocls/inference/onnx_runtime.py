"""An exported model in ONNX Runtime, which needs neither the weights in PyTorch nor the feature extractor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from audiocls.batches import fill, input_samples
from audiocls.errors import MissingExtraError, ParamsError
from audiocls.models import InferenceSettings, read_settings
from audiocls.params import AudioParams

OnnxKind = Literal["onnx", "onnx-int8"]
ONNX_FILES: Final[dict[OnnxKind, str]] = {"onnx": "model.onnx", "onnx-int8": "model.int8.onnx"}
"""The file in a model's folder, by runtime."""

WAVEFORMS, LENGTHS, LOGITS = "waveforms", "lengths", "logits"
"""The graph's inputs, float32 (batch, samples) and int64 (batch,), and its output, float32 (batch, num_classes)."""

_PREFIX: Final = "audiocls."
_MODEL_FILES: Final = ("config.json", "preprocessor_config.json", "*.safetensors")
_BLOCK_BYTES: Final = 1 << 24


@dataclass(frozen=True, slots=True)
class OnnxFacts:
    """What an exported file says about itself, in its metadata."""

    family: str
    precision: str
    labels: list[str]
    sample_rate_hz: int
    samples: int
    """Length of the longest input; shorter ones are padded in the graph."""
    digest: str
    """Of the model folder that was exported."""

    def as_metadata(self) -> dict[str, str]:
        """Return the metadata of an ONNX file; values are JSON."""
        return {_PREFIX + name: json.dumps(value) for name, value in asdict(self).items()}

    @classmethod
    def of_metadata(cls, metadata: Mapping[str, str], file: Path) -> OnnxFacts:
        """Read the metadata of an ONNX file.

        Raises:
            ParamsError: The file was not written by `export_onnx`.
        """
        try:
            return cls(**{name: json.loads(metadata[_PREFIX + name]) for name in cls.__dataclass_fields__})
        except (KeyError, ValueError) as error:
            raise ParamsError(f"{file}: was not exported by audiocls; {_remedy(file.parent)}") from error


class OnnxRuntime:
    """An exported model on the CPU."""

    def __init__(self, file: Path, audio: AudioParams, *, threads: int | None = None) -> None:
        """Open an exported model.

        Args:
            file: From `export_onnx`.
            audio: How windows that are shorter than the input are filled.
            threads: That a batch is computed with; None: as many as PyTorch uses.

        Raises:
            MissingExtraError: ONNX Runtime is not installed.
            ParamsError: The file is missing, damaged, or not from `export_onnx`.
        """
        self._session = _open(file, torch.get_num_threads() if threads is None else threads)
        self.facts = OnnxFacts.of_metadata(self._session.get_modelmeta().custom_metadata_map, file)
        self._uses_lengths = LENGTHS in {each.name for each in self._session.get_inputs()}
        self.audio = audio

    def logits(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits of windows of up to the input's length, shape (num_windows, num_classes)."""
        filled = [fill(window, self.facts.samples, self.audio.pad) for window in windows]
        lengths = np.array([len(window) for window in filled])
        rows = np.zeros((len(filled), lengths.max()), np.float32)
        for row, window in zip(rows, filled, strict=True):
            row[: len(window)] = window
        inputs = {WAVEFORMS: rows} | ({LENGTHS: lengths} if self._uses_lengths else {})
        found: NDArray[np.float32] = self._session.run([LOGITS], inputs)[0]
        return found


def load_onnx(folder: Path, kind: OnnxKind, *, threads: int | None = None) -> tuple[OnnxRuntime, InferenceSettings]:
    """Open the exported model of a folder, with the folder's settings.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ParamsError: There is no exported model, or the folder has changed since it was exported.
    """
    file = folder / ONNX_FILES[kind]
    if not file.is_file():
        raise ParamsError(f"{folder}: has no {file.name}; {_remedy(folder, kind)}")
    runtime = OnnxRuntime(file, AudioParams(), threads=threads)
    facts = runtime.facts
    if facts.digest != model_digest(folder):
        raise ParamsError(f"{file}: was exported from other weights than those beside it; {_remedy(folder, kind)}")
    settings = read_settings(folder, facts.labels, facts.sample_rate_hz, facts.samples / facts.sample_rate_hz)
    if facts.samples != input_samples(settings.audio):
        raise ParamsError(
            f"{file}: takes {facts.samples} samples, and audio.max_seconds of inference.json is "
            f"{input_samples(settings.audio)}; {_remedy(folder, kind)}"
        )
    runtime.audio = settings.audio  # known only now: the file says which labels and rate the settings must have
    return runtime, settings


def model_digest(folder: Path) -> str:
    """Return a digest of the weights, the config and the feature extractor of a model folder."""
    digest = xxhash.xxh3_128()
    for file in sorted(found for pattern in _MODEL_FILES for found in folder.glob(pattern)):
        digest.update(file.name.encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def require_onnx(*packages: str) -> None:
    """Check that packages of the extra `onnx` are installed, without importing them.

    Raises:
        MissingExtraError: Some are not; names them and what to install.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"ONNX needs {', '.join(missing)}: pip install 'audiocls[onnx]'")


def _open(file: Path, threads: int) -> Any:
    require_onnx("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions have no common base class
        first = str(error).strip().splitlines()[0]
        raise ParamsError(f"{file}: cannot be opened by ONNX Runtime: {first}; {_remedy(file.parent)}") from error


def _remedy(folder: Path, kind: OnnxKind = "onnx") -> str:
    option = " --int8" if kind == "onnx-int8" else ""
    return f"run: python -m audiocls.inference.onnx_export {folder}{option}"
