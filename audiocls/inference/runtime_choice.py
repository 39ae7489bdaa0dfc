"""Which runtime computes the logits: the one that is asked for, or the faster one on this machine."""

from __future__ import annotations

import logging
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from audiocls.batches import input_samples
from audiocls.errors import ParamsError
from audiocls.inference.choices import RuntimeKind
from audiocls.inference.onnx_runtime import ONNX_FILES, OnnxRuntime, load_onnx
from audiocls.inference.runtime import Runtime, TorchRuntime, choose_device
from audiocls.models import ADAPTERS, InferenceSettings, load_model, read_settings, use_matrix_products

_BATCH_SECONDS: Final = 0.1  # of a batch that is measured, if more than one window takes less
_MOST_WINDOWS: Final = 32  # as `Classifier` scores at a time; with fewer, ONNX Runtime would look faster than it is
_ROUNDS: Final = 3

logger = logging.getLogger(__name__)


def load_runtime(
    folder: Path, kind: RuntimeKind, device: str, *, threads: int | None = None
) -> tuple[Runtime, InferenceSettings]:
    """Load the model of a folder into a runtime.

    Args:
        folder: With `config.json`.
        kind: "auto" measures PyTorch and the exported model, if there is one, and takes the faster. Nothing of the
            measurement is kept, and int8 is never chosen, as its answers differ.
        device: "auto", or one of torch's names; ONNX Runtime uses the CPU.
        threads: With which ONNX Runtime computes a batch; None: as many as PyTorch uses.

    Raises:
        ParamsError: The runtime cannot be used with this model or device.
    """
    match kind:
        case "torch":
            return load_torch(folder, device)
        case "onnx" | "onnx-int8":
            if device not in ("auto", "cpu"):
                raise ParamsError(f"device = {device}: runtime={kind!r} uses the CPU; leave out device")
            return load_onnx(folder, kind, threads=threads)
        case "auto":
            return _load_faster(folder, device, threads)
    raise ParamsError(f"runtime = {kind!r}: must be torch, onnx, onnx-int8 or auto")


def load_torch(folder: Path, device: str = "auto") -> tuple[TorchRuntime, InferenceSettings]:
    """Load the model of a folder into PyTorch."""
    network, extractor = load_model(folder)
    labels = [network.config.id2label[i] for i in range(network.config.num_labels)]
    adapter = ADAPTERS.get(network.config.model_type)
    longest = adapter.longest_samples(network.config, extractor) if adapter else None
    rate_hz = int(extractor.sampling_rate)
    settings = read_settings(folder, labels, rate_hz, None if longest is None else longest / rate_hz)
    chosen = choose_device(device)
    if chosen == "cpu":
        use_matrix_products(network)
    return TorchRuntime(network.to(chosen), extractor, settings.audio), settings


def choose_runtime(folder: Path, device: str) -> RuntimeKind:
    """Return what "auto" is on this machine, now, for the model of a folder."""
    return "onnx" if isinstance(_load_faster(folder, device, threads=1)[0], OnnxRuntime) else "torch"


def _load_faster(folder: Path, device: str, threads: int | None) -> tuple[Runtime, InferenceSettings]:
    plain, settings = load_torch(folder, device)
    if not (folder / ONNX_FILES["onnx"]).is_file() or find_spec("onnxruntime") is None:
        logger.info("runtime='auto': torch, as there is no %s or no ONNX Runtime.", ONNX_FILES["onnx"])
        return plain, settings
    try:
        exported, _ = load_onnx(folder, "onnx", threads=threads)
    except ParamsError as error:
        logger.warning("runtime='auto': torch, as the exported model cannot be used: %s", error)
        return plain, settings
    by_torch, by_onnx = seconds_per_window([plain, exported], input_samples(settings.audio))
    chosen: Runtime = exported if by_onnx < by_torch else plain
    logger.info(
        "runtime='auto': %s; a window takes torch %.1f ms and ONNX Runtime %.1f ms.",
        "onnx" if chosen is exported else "torch", 1e3 * by_torch, 1e3 * by_onnx,
    )  # fmt: skip
    return chosen, settings


def seconds_per_window(runtimes: list[Runtime], samples: int, rounds: int = _ROUNDS) -> list[float]:
    """Measure runtimes in turns on noise; return the least wall-clock seconds per window of each.

    Args:
        runtimes: Of one model.
        samples: Length of its input.
        rounds: Batches that each runtime scores after a first one.
    """
    window = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    first = [min(_seconds(runtime, [window]) for _ in range(2)) for runtime in runtimes]
    batch = [window] * int(np.clip(_BATCH_SECONDS / max(first), 1, _MOST_WINDOWS))
    taken = [[_seconds(runtime, batch) for runtime in runtimes] for _ in range(rounds)]
    return [min(column) / len(batch) for column in zip(*taken, strict=True)]


def _seconds(runtime: Runtime, windows: list[NDArray[np.float32]]) -> float:
    start = time.perf_counter()
    runtime.logits(windows)
    return time.perf_counter() - start
