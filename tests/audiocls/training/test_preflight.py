"""What is told of a run before anything is decoded."""

from __future__ import annotations

import pytest
import soundfile
import torch

from audiocls.errors import ParamsError
from audiocls.params.run import RunParams
from audiocls.params_file.reading import load_params
from audiocls.training.preflight import check_run


def run_params(**sections) -> RunParams:
    data = {"source": "folder", "path": "recordings"}
    return RunParams.model_validate({"data": data, "audio": {"max_seconds": 0.3}} | sections)


def mistakes(**sections) -> list[str]:
    with pytest.raises(ParamsError) as caught:
        check_run(run_params(**sections))
    return str(caught.value).splitlines()


def test_a_run_that_can_begin_passes(tmp_path, tone):
    soundfile.write(tmp_path / "street.wav", tone(), 16_000)
    check_run(run_params(augmentation=[{"kind": "background", "folder": str(tmp_path)}]))


def test_every_mistake_is_told_at_once(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "readme.txt").write_text("no recording")
    augmentation = [{"kind": "background", "folder": str(tmp_path / name)} for name in ("empty", "text")]
    model = {"family": "wav2vec2", "pretrained": str(tmp_path / "none")}
    first, second, third = mistakes(model=model, augmentation=augmentation)
    assert "model.pretrained" in first
    assert second.startswith(f"augmentation.0.folder: {tmp_path / 'empty'}: there are no recordings")
    assert third.startswith(
        f"augmentation.1.folder: {tmp_path / 'text' / 'readme.txt'}: cannot be used for augmentation"
    )


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"config": {"channels": [4, 8]}, "freeze_layers": 9}}, r"model.freeze_layers = 9"),
        ({"model": {"family": "wav2vec2"}, "audio": {"max_seconds": 0.02}}, "audio.max_seconds = 0.02 is too short"),
        ({"model": {"family": "wav2vec2", "lora": {"target_modules": ["no_proj"]}}}, "model.lora.target_modules"),
        ({"model": {"family": "wav2vec2"}, "balance": {"method": "smote", "layer": 99}}, "balance.layer = 99"),
        ({"model": {"family": "wav2vec2"}, "training": {"group_by_length": True}}, "training.group_by_length"),
    ],
)
def test_what_the_network_cannot_be_is_told(sections, message):
    (only,) = mistakes(**sections)
    assert message in only


def test_a_compiler_that_is_missing_is_told(monkeypatch):
    def compile_without_compiler(function):
        def compiled(*values):
            raise RuntimeError("\n\x1b[31mInvalidCxxCompiler: No working C++ compiler found\x1b[0m\nSet TORCH_LOGS")

        return compiled

    monkeypatch.setattr(torch, "compile", compile_without_compiler)
    (only,) = mistakes(training={"compile": True, "device": "cpu"})
    assert "torch cannot compile on this machine: InvalidCxxCompiler: No working C++ compiler found; install" in only


def test_bf16_on_a_gpu_without_it_is_a_mistake_of_the_params(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    file = tmp_path / "run.yaml"
    file.write_text("data: {source: sample}\ntraining: {precision: bf16}\n")
    with pytest.raises(ParamsError, match=r"training\.precision = 'bf16': this GPU does not support it"):
        load_params(file)
