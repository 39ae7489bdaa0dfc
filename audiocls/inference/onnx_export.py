"""Exports a trained model to ONNX: waveforms in, logits out, checked against PyTorch on recordings.

    python -m audiocls.inference.onnx_export MODEL [--out FILE] [--int8] [--clips FOLDER]

The last line on stdout is a JSON object, see `OnnxExport`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel

from audiocls.batches import input_samples
from audiocls.errors import AudioclsError, ParamsError, UserMistake
from audiocls.files import masked, replacing
from audiocls.inference.loading import find_model
from audiocls.inference.onnx_parity import Parity, ParityCheck
from audiocls.inference.onnx_runtime import (
    LENGTHS,
    LOGITS,
    ONNX_FILES,
    WAVEFORMS,
    OnnxFacts,
    OnnxKind,
    OnnxRuntime,
    model_digest,
    require_onnx,
)
from audiocls.inference.runtime_choice import load_torch
from audiocls.inference.sources import Source
from audiocls.models import ConvolvedLogMel, GraphFrontEnd, LogMel, build_graph_front_end, load_model

OPSET: Final = 18
MAX_DISAGREEMENT: Final[dict[OnnxKind, float]] = {"onnx": 0.01, "onnx-int8": 0.05}
"""Fraction of recordings whose label may differ from PyTorch's; beyond it the export is refused."""

_MOST_BYTES: Final = 2**31 - 2**20  # of a protobuf message, and some for the nodes
_EXAMPLE_CLIPS: Final = 2
_NOISY_LOGGERS: Final = ("torch.onnx", "onnxscript", "onnx_ir", "root")


@dataclass(frozen=True, slots=True)
class OnnxExport:
    """An exported model, and how it compares to the one in PyTorch."""

    file: str
    family: str
    precision: str
    """`float32`, or `int8` for weights of matrix products in 8 bits, with activations quantised as they come."""
    opset: int
    bytes: int
    torch_bytes: int
    samples: int
    sample_rate_hz: int
    parity: Parity


def export_onnx(
    model: str | Path,
    target: Path | None = None,
    *,
    int8: bool = False,
    clips: Sequence[Source] | None = None,
    labels: Sequence[str] | None = None,
    max_disagreement: float | None = None,
) -> OnnxExport:
    """Write a model as an ONNX file that takes waveforms and returns logits.

    Its inputs are `waveforms`, float32 (batch, samples) at the model's rate, zeros behind the shorter ones, and for
    most families `lengths`, int64 (batch,), in samples. Both dimensions are free, up to the length of the model's
    input. Spectrograms are computed in the graph by convolutions, so that any runtime has all of the operators.

    Args:
        model: As `Classifier.load` takes it.
        target: File to write; None: `model.onnx`, or `model.int8.onnx`, in the model's folder, from which
            `Classifier.load` takes it.
        int8: Store the weights of matrix products in 8 bits. Convolutions stay in float32.
        clips: Recordings to compare answers on, validation clips at best; None: some artificial sounds, which tell
            less about int8.
        labels: The true label of each clip, to compare macro-F1 as well.
        max_disagreement: Largest fraction of recordings with another label; None: 0.01, and 0.05 for int8.

    Raises:
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        ParamsError: The model cannot be exported, or its answers differ too much; nothing is written.
    """
    require_onnx("onnx", "onnxscript", "onnxruntime")
    kind: OnnxKind = "onnx-int8" if int8 else "onnx"
    folder = find_model(model)
    target = folder / ONNX_FILES[kind] if target is None else target
    plain, settings = load_torch(folder, "cpu")
    facts = OnnxFacts(
        family=str(plain.model.config.model_type),
        precision="int8" if int8 else "float32",
        labels=settings.labels,
        sample_rate_hz=settings.audio.sample_rate_hz,
        samples=input_samples(settings.audio),
        digest=model_digest(folder),
    )
    limit = MAX_DISAGREEMENT[kind] if max_disagreement is None else max_disagreement
    check = ParityCheck(plain, settings, clips, labels)
    with replacing(target) as part:
        write_graph(folder, facts, part, int8=int8)
        parity = check.compare(OnnxRuntime(part, settings.audio))
        if parity.disagreement > limit:
            raise ParamsError(
                f"{folder}: {parity.disagreement:.1%} of {parity.clips} recordings get another label from the "
                f"{facts.precision} export than from PyTorch, and {limit:.1%} may; nothing is written. "
                + ("Export without int8." if int8 else "Use runtime='torch'.")
            )
        size = part.stat().st_size
    return OnnxExport(
        str(target), facts.family, facts.precision, OPSET, size, _weight_bytes(plain.model), facts.samples,
        facts.sample_rate_hz, parity,
    )  # fmt: skip


def write_graph(folder: Path, facts: OnnxFacts, target: Path, *, int8: bool) -> None:
    """Write the graph of a model folder, with its facts as metadata, without a check of its answers.

    Raises:
        ParamsError: The model cannot be exported; says why.
    """
    import onnx

    model, extractor = load_model(folder)
    if _weight_bytes(model) > _MOST_BYTES:
        raise ParamsError(f"{folder}: its weights take over 2 GB, more than an ONNX file holds; use runtime='torch'")
    graph = WaveformClassifier(build_graph_front_end(extractor, facts.samples), without_transforms(model)).eval()
    with _quiet():
        proto = _traced(graph, facts)
        if int8:
            proto = _in_int8(proto)
    onnx.helper.set_model_props(proto, facts.as_metadata())
    onnx.save(proto, str(target))


class WaveformClassifier(nn.Module):
    """A front end and a model: the graph that is exported."""

    def __init__(self, front_end: GraphFrontEnd, model: PreTrainedModel) -> None:
        super().__init__()
        self.front_end = front_end
        self.model = model

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Map waveforms (batch, samples), and their lengths where they matter, to logits (batch, num_classes)."""
        logits: Tensor = self.model(**self.front_end(waveforms, lengths)).logits
        return logits


def without_transforms(model: PreTrainedModel) -> PreTrainedModel:
    """Replace, in place, spectra by convolutions, and weights that are computed from others by their values."""
    for name, module in list(model.named_modules()):
        if isinstance(module, LogMel):
            model.set_submodule(name, ConvolvedLogMel(module))
        elif parametrize.is_parametrized(module):
            for weight in list(module.parametrizations):
                parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
    return model


def _traced(graph: WaveformClassifier, facts: OnnxFacts) -> Any:
    waveforms = torch.randn(_EXAMPLE_CLIPS, facts.samples, generator=torch.Generator().manual_seed(0)) / 10
    inputs = {WAVEFORMS: waveforms}
    free: dict[str, dict[int, str]] = {WAVEFORMS: {0: "batch", 1: "samples"}}
    if graph.front_end.uses_lengths:
        inputs[LENGTHS] = torch.full((_EXAMPLE_CLIPS,), facts.samples)
        free[LENGTHS] = {0: "batch"}
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                graph,
                tuple(inputs.values()),
                dynamo=True,
                dynamic_shapes=tuple(free.values()),
                input_names=list(inputs),
                output_names=[LOGITS],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever the code of the model raises under it
        first = str(error).strip().splitlines()[0]
        raise ParamsError(f"this {facts.family} cannot be exported to ONNX: {first}; use runtime='torch'") from error
    assert program is not None  # with dynamo=True
    return program.model_proto


def _in_int8(proto: Any) -> Any:
    """Quantise the matrix products of the encoder; the head is a `Gemm` and small, and convolutions lose too much."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantize_dynamic(
            proto, str(file), op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8, per_channel=True
        )
        return onnx.load(str(file))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what the exporter says of operators and packages that the model does not use, and of its own code."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _NOISY_LOGGERS]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


def _weight_bytes(model: PreTrainedModel) -> int:
    return sum(weight.numel() * weight.element_size() for weight in model.parameters())


def labelled_clips(folder: Path) -> tuple[list[Source], list[str] | None]:
    """List the files of a folder, and their labels if all of them are in subfolders, which then are the labels."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    if not files:
        raise ParamsError(f"--clips {folder}: has no files; give a folder of recordings")
    parts = [file.relative_to(folder).parts for file in files]
    return list(files), [each[0] for each in parts] if all(len(each) > 1 for each in parts) else None


def main(argv: Sequence[str] | None = None) -> int:
    """Export a model, and print its `OnnxExport` as JSON."""
    parser = argparse.ArgumentParser(prog="python -m audiocls.inference.onnx_export", description="Export to ONNX.")
    parser.add_argument("model", metavar="MODEL", help="a folder, a run's id, or a URI")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: model.onnx in the model's folder")
    parser.add_argument("--int8", action="store_true", help="weights in 8 bits")
    parser.add_argument("--clips", type=Path, metavar="FOLDER", help="recordings to check on, a subfolder a label")
    parser.add_argument("--max-disagreement", type=float, metavar="FRACTION", help="default: 0.01, with --int8 0.05")
    arguments = parser.parse_args(argv)
    try:
        clips, labels = (None, None) if arguments.clips is None else labelled_clips(arguments.clips)
        found = export_onnx(
            arguments.model,
            arguments.out,
            int8=arguments.int8,
            clips=clips,
            labels=labels,
            max_disagreement=arguments.max_disagreement,
        )
    except AudioclsError as error:
        sys.stderr.write(f"error: {masked(str(error))}\n")
        return 2 if isinstance(error, UserMistake) else 1
    sys.stdout.write(json.dumps(asdict(found)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
