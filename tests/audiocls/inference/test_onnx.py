"""An exported model answers as the model in PyTorch, for every family."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil

import numpy as np
import pytest
import soundfile
import torch
from tiny_configs import TINY_CONFIGS
from variants import QUICK_FAMILIES, some

from audiocls.errors import MissingExtraError, ParamsError
from audiocls.inference import onnx_export, onnx_runtime, runtime_choice
from audiocls.inference.classifier import Classifier
from audiocls.inference.onnx_export import export_onnx, labelled_clips, main
from audiocls.inference.onnx_runtime import OnnxRuntime, load_onnx
from audiocls.inference.runtime import TorchRuntime
from audiocls.inference.segments import SegmentParams
from audiocls.models.families import build_model, save_model
from audiocls.models.inference_settings import FILE_NAME, InferenceSettings, write_settings
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

onnx, _, _ = (
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'audiocls[onnx]'")
    for package in ("onnx", "onnxscript", "onnxruntime")
)
LABELS = ["a", "b", "c"]
EXPORTED = FAMILIES  # all of them; a family that no longer exports fails here
TYPES = {"clap": "clap_audio_model"}
SPECTRAL = {"STFT", "DFT", "MelWeightMatrix", "HannWindow"}


def save(folder, family="logmel-resnet", **audio):
    params = AudioParams(max_seconds=0.5, **audio)
    torch.manual_seed(1)
    model, extractor = build_model(ModelParams(family=family, config=TINY_CONFIGS[family]), params, LABELS)
    with torch.no_grad():  # answers that differ by more than rounding
        getattr(model.classifier, "dense", model.classifier).weight.mul_(20)
    save_model(model, extractor, folder)
    write_settings(InferenceSettings(audio=params, labels=LABELS), folder)
    return folder


def windows(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [(rng.normal(0, 0.1, n) * np.linspace(1, 0.2, n)).astype(np.float32) for n in lengths]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Recordings in a folder a label: mixtures of tones and noise, of several rates and lengths."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    for i, (label, seconds, rate_hz) in enumerate(
        [("a", 0.3, 16_000), ("a", 1.2, 44_100), ("b", 0.5, 8_000), ("b", 0.9, 16_000), ("c", 2.0, 16_000)]
    ):
        time = np.arange(round(seconds * rate_hz)) / rate_hz
        samples = 0.3 * np.sin(2 * np.pi * 300 * (i + 1) * time) + rng.normal(0, 0.03, len(time))
        (folder / label).mkdir(exist_ok=True)
        soundfile.write(folder / label / f"{i}.wav", samples, rate_hz)
    return folder


@pytest.fixture(scope="module")
def exported(clips, tmp_path_factory):
    """A function that returns a family's folder with its exported model, and what the command said of it."""
    done = {}

    def export(family):
        if family not in done:
            folder, said = save(tmp_path_factory.mktemp(family), family), io.StringIO()
            with contextlib.redirect_stdout(said):
                assert main([str(folder), "--clips", str(clips)]) == 0
            (line,) = said.getvalue().splitlines()
            done[family] = folder, json.loads(line)
        return done[family]

    return export


@pytest.fixture(scope="module")
def resnet(exported):
    """A folder with an exported model."""
    return exported("logmel-resnet")[0]


@pytest.fixture
def copied(resnet, tmp_path):
    """One that may be changed."""
    return shutil.copytree(resnet, tmp_path / "model")


@pytest.mark.parametrize("family", some(EXPORTED, QUICK_FAMILIES))
def test_every_family_exports_and_answers_as_in_torch(family, exported):
    folder, found = exported(family)
    parity = found["parity"]
    assert (found["family"], found["precision"]) == (TYPES.get(family, family), "float32")
    assert (parity["clips"], parity["windows"], parity["unusable"], parity["artificial"]) == (5, 16, 0, False)
    assert parity["logit_range"] > 0.01
    assert parity["max_abs_error"] < 3e-4 * parity["logit_range"]
    assert parity["disagreement"] == 0
    assert parity["f1_macro"] == parity["f1_macro_torch"]

    file = folder / "model.onnx"
    assert (found["file"], found["bytes"]) == (str(file), file.stat().st_size)
    graph = onnx.load(file)
    assert not SPECTRAL & {node.op_type for node in graph.graph.node}
    assert [(each.domain, each.version) for each in graph.opset_import] == [("", found["opset"])]

    # Any batch, any length, and padding that changes nothing.
    plain, in_onnx = runtime_choice.load_torch(folder, "cpu")[0], load_onnx(folder, "onnx")[0]
    for given in (windows(8_000, 3_000, 1_000), windows(8_000), windows(1_600), windows(2_500, 2_000)):
        np.testing.assert_allclose(in_onnx.logits(given), plain.logits(given), atol=3e-4 * parity["logit_range"])


def test_answers_do_not_depend_on_the_number_of_threads(resnet):
    given = windows(8_000, 4_000, 7_000)
    by_threads = [load_onnx(resnet, "onnx", threads=threads)[0].logits(given) for threads in (1, 2, 3)]
    for found in by_threads[1:]:
        np.testing.assert_allclose(found, by_threads[0], rtol=0, atol=1e-5)


def test_the_classifier_takes_the_runtime_that_is_asked_for(resnet, clips):
    files = sorted(clips.rglob("*.wav"))
    plain, exported = Classifier.load(resnet), Classifier.load(resnet, runtime="onnx")
    assert isinstance(plain.runtime, TorchRuntime)
    assert isinstance(exported.runtime, OnnxRuntime)
    assert exported.settings == plain.settings
    for expected, found in zip(plain.predict(files), exported.predict(files), strict=True):
        assert (found.label, found.windows) == (expected.label, expected.windows)
        assert found.probability == pytest.approx(expected.probability, abs=1e-4)
    with pytest.raises(ParamsError, match="computes no embeddings; load the model with runtime='torch'"):
        exported.embed(files[0])


def test_segments_and_streams_are_those_of_torch(resnet):
    plain, exported = Classifier.load(resnet), Classifier.load(resnet, runtime="onnx")
    (sound,) = windows(20_000)
    expected = plain.windows((sound, 16_000), hop_seconds=0.1)
    params = SegmentParams(on=0.4, off=0.3)
    found = [each.segments((sound, 16_000), hop_seconds=0.1, params=params) for each in (plain, exported)]
    assert [segment[:3] for segment in found[0]] == [segment[:3] for segment in found[1]] != []
    stream, decisions = exported.stream(16_000, hop_seconds=0.1), []
    for first in range(0, len(sound), 900):
        decisions += stream.add(sound[first : first + 900])
    decisions += stream.finish()
    rows = [[decision.probabilities[label] for label in LABELS] for decision in decisions]
    np.testing.assert_allclose(rows, expected.probabilities, atol=1e-4)


def test_a_repeated_clip_is_repeated_for_the_exported_model_too(copied):
    given = windows(1_500, 4_000)
    unrepeated = load_onnx(copied, "onnx")[0].logits(given)
    write_settings(InferenceSettings(audio=AudioParams(max_seconds=0.5, pad="repeat"), labels=LABELS), copied)
    expected = runtime_choice.load_torch(copied, "cpu")[0].logits(given)
    np.testing.assert_allclose(load_onnx(copied, "onnx")[0].logits(given), expected, atol=1e-4)
    assert np.abs(unrepeated - expected).max() > 1e-3


@pytest.mark.parametrize(("seconds", "kind"), [([0.2, 0.1], OnnxRuntime), ([0.1, 0.2], TorchRuntime)])
def test_auto_takes_the_faster_and_writes_nothing(seconds, kind, resnet, monkeypatch):
    before = sorted(resnet.iterdir())
    monkeypatch.setattr(runtime_choice, "seconds_per_window", lambda runtimes, samples: seconds)
    assert isinstance(Classifier.load(resnet, runtime="auto").runtime, kind)
    assert sorted(resnet.iterdir()) == before


class Sleeper:
    """A runtime that counts what it is given."""

    def __init__(self):
        self.batches = []

    def logits(self, given):
        self.batches.append([len(each) for each in given])
        return np.zeros((len(given), 3), np.float32)


def test_both_runtimes_are_measured_on_the_same_full_windows():
    runtimes = [Sleeper(), Sleeper()]
    found = runtime_choice.seconds_per_window(runtimes, 4_000, rounds=2)
    assert len(found) == 2
    assert min(found) > 0
    assert runtimes[0].batches == runtimes[1].batches == [[4_000]] * 2 + [[4_000] * 32] * 2


def test_auto_is_torch_without_an_exported_model_and_says_so(copied, caplog):
    (copied / "model.onnx").unlink()
    with caplog.at_level(logging.INFO):
        assert isinstance(Classifier.load(copied, runtime="auto").runtime, TorchRuntime)
    assert "there is no model.onnx" in caplog.text


def test_other_weights_than_those_exported_are_refused(copied, tmp_path, caplog):
    other = save(tmp_path / "other", min_seconds=0.06)
    torch.manual_seed(5)
    model, extractor = build_model(
        ModelParams(config=TINY_CONFIGS["logmel-resnet"]), AudioParams(max_seconds=0.5), LABELS
    )
    save_model(model, extractor, other)
    shutil.copy(copied / "model.onnx", other)
    with pytest.raises(ParamsError, match=r"exported from other weights .*; run: python -m .*onnx_export"):
        Classifier.load(other, runtime="onnx")
    assert isinstance(Classifier.load(other, runtime="auto").runtime, TorchRuntime)
    assert "exported from other weights" in caplog.text


def test_another_input_length_than_that_exported_is_refused(copied):
    file = copied / FILE_NAME
    settings = json.loads(file.read_text())
    settings["audio"]["max_seconds"] = 0.7
    file.write_text(json.dumps(settings))
    with pytest.raises(ParamsError, match=r"takes 8000 samples, and audio\.max_seconds of inference\.json is 11200"):
        Classifier.load(copied, runtime="onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "onnx-int8"}, r"has no model\.int8\.onnx; run: python -m .* --int8"),
        ({"runtime": "tensorrt"}, "must be torch, onnx, onnx-int8 or auto"),
        ({"runtime": "onnx", "device": "cuda"}, "uses the CPU"),
    ],
)
def test_a_runtime_that_cannot_be_used_is_refused(options, message, resnet):
    with pytest.raises(ParamsError, match=message):
        Classifier.load(resnet, **options)


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_damaged_file_is_refused(content, copied):
    (copied / "model.onnx").write_bytes(content)
    with pytest.raises(ParamsError, match=r"model\.onnx: cannot be opened by ONNX Runtime"):
        Classifier.load(copied, runtime="onnx")


def test_a_graph_of_others_is_refused(copied):
    graph = onnx.load(copied / "model.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, copied / "model.onnx")
    with pytest.raises(ParamsError, match="was not exported by audiocls"):
        Classifier.load(copied, runtime="onnx")


def test_without_the_packages_the_extra_is_named(resnet, monkeypatch):
    monkeypatch.setattr(onnx_runtime, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"needs onnxruntime: pip install 'audiocls\[onnx\]'"):
        Classifier.load(resnet, runtime="onnx")
    with pytest.raises(MissingExtraError, match="needs onnx, onnxscript, onnxruntime"):
        export_onnx(resnet)


def test_fusion_cannot_be_exported(tmp_path):
    with pytest.raises(ParamsError, match=r"audio\.truncate = fusion"):
        export_onnx(save(tmp_path, "clap", truncate="fusion"))
    assert not list(tmp_path.glob("*.onnx"))


def test_an_export_with_other_answers_is_refused_and_not_written(copied, monkeypatch):
    def disturbed(folder, facts, target, *, int8):
        graph = onnx.load(folder / "model.onnx")
        (head,) = (node for node in graph.graph.node if node.op_type == "Gemm")
        (weight,) = (each for each in graph.graph.initializer if each.name == head.input[1])
        values = onnx.numpy_helper.to_array(weight)
        swapped = np.roll(values, 1, axis=values.shape.index(3))  # each class gets another's logit
        weight.CopyFrom(onnx.numpy_helper.from_array(swapped, weight.name))
        onnx.save(graph, target)

    monkeypatch.setattr(onnx_export, "write_graph", disturbed)
    target = copied / "new.onnx"
    sounds = [(each, 16_000) for each in windows(8_000, 5_000, 8_000)]
    with pytest.raises(ParamsError, match=r"100\.0% of 3 recordings .* 1\.0% may; nothing is written"):
        export_onnx(copied, target, clips=sounds)
    assert not target.exists()
    found = export_onnx(copied, target, clips=sounds, max_disagreement=1.0)
    assert found.parity.disagreement == 1.0
    assert target.exists()


def test_int8_makes_a_transformer_smaller_and_keeps_its_answers(clips, exported):
    folder, plain = exported("audio-spectrogram-transformer")
    sources, labels = labelled_clips(clips)
    small = export_onnx(folder, int8=True, clips=sources, labels=labels)
    assert small.precision == "int8"
    assert small.bytes < plain["bytes"]
    nodes = [node.op_type for node in onnx.load(small.file).graph.node]
    assert nodes.count("MatMulInteger") > 8
    assert "ConvInteger" not in nodes
    assert plain["parity"]["max_abs_error"] < small.parity.max_abs_error < 0.1 * small.parity.logit_range
    assert small.parity.f1_macro == pytest.approx(small.parity.f1_macro_torch, abs=0.2)
    by_int8 = Classifier.load(folder, runtime="onnx-int8").predict(sources)
    assert [each.label for each in by_int8] == [each.label for each in Classifier.load(folder).predict(sources)]


@pytest.mark.parametrize(
    ("clips_folder", "message"),
    [("none", "has no files"), ("texts", "labels x are not the model's: a, b, c"), ("broken", "clip can be used")],
)
def test_clips_that_cannot_be_used_are_refused(clips_folder, message, copied, capsys, tmp_path):
    for name in ("texts/x", "broken/a"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "1.wav").write_text("no audio")
    assert main([str(copied), "--clips", str(tmp_path / clips_folder)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
