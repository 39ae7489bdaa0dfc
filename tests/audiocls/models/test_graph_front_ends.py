"""The inputs computed in a graph are those of the front ends outside of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.errors import ParamsError
from audiocls.models.families import build_model
from audiocls.models.graph_front_ends import ConvolvedLogMel, MelPowers, build_graph_front_end
from audiocls.models.inputs import model_inputs
from audiocls.models.log_mel import LogMel
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

RATE_HZ = 16_000
# CLAP's inputs are decibels, and those of wav2vec2-BERT are divided by how much a bin varies.
LIMITS = {"wav2vec2-bert": 5e-3, "clap": 1e-2}


def clips() -> list[np.ndarray]:
    """A chirp, noise that fades, a clip shorter than a window, and a quiet one with an offset; all of 16 bits."""
    rng = np.random.default_rng(3)
    chirp = 0.4 * np.sin(np.cumsum(np.linspace(0.02, 2.5, RATE_HZ)))
    fading = rng.normal(0, 0.1, 9_000) * np.geomspace(1, 1e-3, 9_000)
    sounds = chirp, fading, rng.normal(0, 0.1, 300), rng.normal(0.2, 1e-3, 5_000)
    return [(np.round(each * 2**15) / 2**15).astype(np.float32) for each in sounds]


def batch(waveforms: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(each) for each in waveforms])
    rows = torch.zeros(len(waveforms), int(lengths.max()))
    for row, each in zip(rows, waveforms, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return rows, lengths


def built(family, pad="zero"):
    audio = AudioParams(max_seconds=1.0, sample_rate_hz=RATE_HZ, pad=pad)
    torch.manual_seed(0)
    return build_model(ModelParams(family=family, config=TINY_CONFIGS[family]), audio, ["a", "b"])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gets_the_inputs_that_it_was_trained_on(family):
    _, extractor = built(family)
    expected = model_inputs(clips(), extractor, RATE_HZ)
    front_end = build_graph_front_end(extractor, RATE_HZ)
    rows, lengths = batch(clips())
    found = front_end(rows, lengths if front_end.uses_lengths else None)
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype or name == "attention_mask"
        assert values.float().std() > 0 or name == "is_longer"
        np.testing.assert_allclose(found[name].float(), values.float(), atol=LIMITS.get(family, 2e-4), err_msg=name)


@pytest.mark.parametrize("pad", ["zero", "repeat", "repeat_pad"])
def test_clap_fills_its_window_as_outside_of_the_graph(pad):
    _, extractor = built("clap", pad)
    front_end = build_graph_front_end(extractor, RATE_HZ)
    assert front_end.uses_lengths == (pad != "zero")
    found = front_end(*batch(clips()))["input_features"]
    np.testing.assert_allclose(found, model_inputs(clips(), extractor, RATE_HZ)["input_features"], atol=LIMITS["clap"])


def test_fusion_is_refused():
    audio = AudioParams(max_seconds=1.0, truncate="fusion")
    _, extractor = build_model(ModelParams(family="clap", config=TINY_CONFIGS["clap"]), audio, ["a", "b"])
    with pytest.raises(ParamsError, match=r"audio\.truncate = fusion: .* audio\.truncate=random"):
        build_graph_front_end(extractor, RATE_HZ)


@pytest.mark.parametrize(("window", "hop", "fft"), [(400, 160, 512), (400, 160, 400), (401, 100, 512)])
def test_the_convolved_log_mel_is_the_log_mel(window, hop, fft):
    plain = LogMel(
        sampling_rate=RATE_HZ, num_mel_bins=20, window_samples=window, hop_samples=hop, fft_size=fft,
        min_frequency_hz=50.0, max_frequency_hz=7_000.0,
    )  # fmt: skip
    rows, lengths = batch(clips())
    mask = torch.arange(rows.shape[1]) < lengths[:, None]
    expected, expected_mask = plain(rows, mask)
    found, found_mask = ConvolvedLogMel(plain)(rows, mask)
    assert torch.equal(found_mask, expected_mask)
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_tone_is_in_its_bin():
    powers = MelPowers(np.hanning(512), 512, 128, np.eye(257))
    tone = torch.sin(2 * torch.pi * 40 / 512 * torch.arange(2_048))
    found = powers(tone[None])[0]
    assert found.shape == (257, 13)
    assert found.mean(1).argmax() == 40
    assert found[40].mean() > 1e6 * found[100].mean()
