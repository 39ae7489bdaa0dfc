"""What is refused of a checkpoint, in one sentence, and what of its config counts."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from odd_checkpoints import AUDIO, ODD, Odd, copied, edit_json, write_checkpoint
from safetensors.torch import load_file, save_file
from tiny_configs import TINY_CONFIGS

from audiocls.errors import ParamsError
from audiocls.models.families import build_extractor, build_model, check_model
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

HOME = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A wav2vec2 checkpoint with nothing odd."""
    return write_checkpoint(Odd(), tmp_path_factory.mktemp("sound") / "checkpoint")


def params(folder: Path | str, **fields) -> ModelParams:
    return ModelParams(family="wav2vec2", pretrained=str(folder), **fields)


def refusal(call, folder: Path | str, **fields) -> str:
    with pytest.raises(ParamsError) as caught:
        call(params(folder, **fields), AUDIO)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def build(model: ModelParams, audio: AudioParams):
    return build_model(model, audio, ["a", "b"])


def test_dropout_and_specaugment_come_from_the_params_or_else_from_the_family(tmp_path):
    folder = write_checkpoint(ODD["no dropout fits"], tmp_path / "checkpoint")
    config = build(params(folder, config={"hidden_dropout": 0.25}), AUDIO)[0].config
    assert (config.hidden_dropout, config.layerdrop, config.mask_time_prob) == (0.25, 0.1, 0.05)


def without_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def without_weights(folder: Path) -> None:
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def cut_off(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def a_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def a_shard_short(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-00001-of-00002.safetensors"}}')


def quantized(folder: Path) -> None:
    save_file({"x": torch.zeros(3, dtype=torch.int8)}, folder / "model.safetensors")


BROKEN = {
    "a folder that is not there": (without_folder, "the folder does not exist"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "the folder has no config.json"),
    "a config that is no JSON": (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
    "a config of a list": (lambda folder: (folder / "config.json").write_text("[]"), "cannot be loaded"),
    "a wrong value": (lambda folder: edit_json(folder / "config.json", {"hidden_size": "big"}), "hidden_size"),
    "another family": (lambda folder: edit_json(folder / "config.json", {"model_type": "bert"}), "is a bert"),
    "no family": (lambda folder: edit_json(folder / "config.json", {"model_type": None}), "unknown type"),
    "quantization": (
        lambda folder: edit_json(folder / "config.json", {"quantization_config": {"load_in_4bit": True}}),
        "quantized",
    ),
    "an adapter": (lambda folder: (folder / "adapter_config.json").write_text("{}"), "merge it"),
    "no extractor": (lambda folder: (folder / "preprocessor_config.json").unlink(), "preprocessor_config.json"),
    "another extractor": (
        lambda folder: edit_json(
            folder / "preprocessor_config.json", {"feature_extractor_type": "WhisperFeatureExtractor"}
        ),
        "is a WhisperFeatureExtractor",
    ),
    "another rate": (
        lambda folder: edit_json(folder / "preprocessor_config.json", {"sampling_rate": 8_000}),
        "set audio.sample_rate_hz=8000",
    ),
    "stereo": (lambda folder: edit_json(folder / "preprocessor_config.json", {"feature_size": 2}), "feature_size = 2"),
    "pickled weights": (without_weights, "pytorch_model.bin may hold pickles, which are never loaded"),
    "weights cut off": (cut_off, "model.safetensors cannot be read"),
    "a pointer in the place of weights": (a_pointer, "model.safetensors cannot be read"),
    "a shard that is missing": (a_shard_short, "model-00001-of-00002.safetensors cannot be read"),
    "whole numbers": (quantized, "quantized"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_cannot_be_loaded_is_told_in_one_sentence_without_the_weights(fault, sound, tmp_path):
    folder = copied(sound, tmp_path / "checkpoint")
    change, message = BROKEN[fault]
    change(folder)
    assert message in refusal(check_model, folder)
    assert str(folder) in refusal(build, folder)


def test_a_name_that_is_on_no_disk_and_a_file_are_told():
    assert "cannot be loaded" in refusal(check_model, "someone/something")
    assert "it is a file" in refusal(check_model, Path(__file__))


def test_an_encoder_that_lacks_weights_is_not_drawn_at_random(sound, tmp_path):
    folder = copied(sound, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    lost = {name: w for name, w in weights.items() if "layers.1.attention" not in name}
    save_file(lost, folder / "model.safetensors", metadata={"format": "pt"})
    assert "layers.1.attention" in refusal(build, folder)


def test_weights_that_are_not_finite_are_refused(sound, tmp_path):
    folder = copied(sound, tmp_path / "checkpoint")
    weights = load_file(folder / "model.safetensors")
    weights["projector.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "projector.bias have non-finite weights" in refusal(build, folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_check_builds_the_network_without_memory(family):
    config = TINY_CONFIGS[family]
    model, extractor = check_model(ModelParams(family=family, config=config, freeze="encoder"), AUDIO)
    assert "meta" in {weight.device.type for weight in model.parameters()}
    assert extractor.to_dict() == build_extractor(ModelParams(family=family, config=config), AUDIO).to_dict()


CODE = {
    "config.json": {"AutoConfig": "strange.Config", "AutoModelForAudioClassification": "strange.Model"},
    "preprocessor_config.json": {"AutoFeatureExtractor": "strange.Extractor"},
}
ASK = """
import sys
from audiocls.models.families import build_extractor, build_model, check_model
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams
for folder in sys.argv[1:]:
    params = ModelParams(family="wav2vec2", pretrained=folder)
    for call in (check_model, build_extractor, lambda *given: build_model(*given, ["a", "b"])):
        try:
            call(params, AudioParams(max_seconds=0.3))
        except Exception as error:
            print(type(error).__name__, error)
"""


@pytest.mark.parametrize("stdin", ["closed", "terminal"])
def test_code_of_a_checkpoint_is_refused_without_a_question(stdin, sound, tmp_path):
    folders = []
    for i, (file, auto_map) in enumerate([*CODE.items(), ("config.json", CODE["config.json"])]):
        folder = copied(sound, tmp_path / f"checkpoint-{i}")
        edit_json(folder / file, {"auto_map": auto_map} | ({"model_type": "strange"} if i == 2 else {}))
        (folder / "strange.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
        folders.append(folder)
    ours, theirs = pty.openpty() if stdin == "terminal" else (None, subprocess.DEVNULL)
    try:
        said = subprocess.run(
            [sys.executable, "-c", ASK, *map(str, folders)],
            stdin=theirs, capture_output=True, text=True, cwd=HOME, timeout=120, check=True,
        )  # fmt: skip
    finally:
        if ours is not None:
            os.close(ours)
            os.close(theirs)
    lines = [line for line in said.stdout.splitlines() if line]
    assert len(lines) == 9
    assert all(line.startswith("ParamsError") and "contains Python code" in line for line in lines)
    assert "[y/N]" not in said.stdout + said.stderr
    assert not (tmp_path / "ran").exists()
