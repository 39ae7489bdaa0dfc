from __future__ import annotations

import pytest
from tiny_configs import TINY_CONFIGS

from audiocls.models.families import build_model
from audiocls.models.inference_settings import load_settings, settings_of, write_settings
from audiocls.params.run import RunParams

LABELS = ["a", "b", "c"]


def run_params(family: str = "logmel-resnet") -> RunParams:
    return RunParams.model_validate(
        {
            "data": {"source": "table", "path": "https://reader:secret1@host/clips.csv?token=secret2"},
            "audio": {"max_seconds": 0.4, "pad": "repeat", "store": "https://writer:secret3@host/store"},
            "model": {"family": family, "config": TINY_CONFIGS[family]},
            "tracking": {"uri": "postgresql://tracker:secret4@host/mlflow"},
        }
    )


@pytest.mark.parametrize("family", ["logmel-resnet", "audio-spectrogram-transformer"])
def test_the_settings_of_a_run_are_written_and_read_without_secrets(family, tmp_path):
    params = run_params(family)
    _, extractor = build_model(params.model, params.audio, LABELS)
    file = write_settings(settings_of(params, LABELS, extractor, "0123"), tmp_path)
    assert "secret" not in file.read_text()
    settings = load_settings(tmp_path)
    assert settings.audio == params.audio.model_copy(update={"store": None})
    assert settings.labels == LABELS
    assert settings.data_digest == "0123"
    assert settings.params["data"]["path"] == "https://reader:***@host/clips.csv?token=***"
    assert {"torch", "transformers"} <= set(settings.versions)
    normalised = {"mean": extractor.mean, "std": extractor.std} if family != "logmel-resnet" else {}
    assert settings.feature_statistics == normalised
