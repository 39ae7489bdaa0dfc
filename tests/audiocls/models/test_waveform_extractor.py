import logging

import numpy as np
import pytest
import torch
from transformers import DataCollatorWithPadding

from audiocls.errors import DataError
from audiocls.models.inputs import extractor_inputs, model_inputs
from audiocls.models.waveform_extractor import WaveformFeatureExtractor

RATE_HZ = 16_000


@pytest.fixture
def extractor():
    return WaveformFeatureExtractor(sampling_rate=RATE_HZ)


def ramp(samples, dtype=np.float32):
    return np.linspace(-0.5, 0.5, samples, dtype=dtype)


def test_clips_of_different_lengths_are_padded_to_the_longest(extractor):
    batch = extractor([ramp(300), ramp(500)], sampling_rate=RATE_HZ, return_tensors="pt")
    assert batch["input_values"].shape == (2, 500)
    assert batch["input_values"].dtype == torch.float32
    assert batch["attention_mask"].sum(1).tolist() == [300, 500]
    np.testing.assert_array_equal(batch["input_values"][0, :300], ramp(300))
    assert batch["input_values"][0, 300:].abs().max() == 0


@pytest.mark.parametrize(
    "clip",
    [ramp(200), ramp(200, np.float64), ramp(200).tolist(), torch.from_numpy(ramp(200))],
    ids=lambda clip: type(clip).__name__,
)
def test_one_clip_becomes_a_batch_of_one(extractor, clip):
    batch = extractor(clip, sampling_rate=RATE_HZ, return_tensors="np")
    assert batch["input_values"].shape == (1, 200)
    assert batch["input_values"].dtype == np.float32
    np.testing.assert_allclose(batch["input_values"][0], ramp(200), atol=1e-7)


def test_max_length_pads_and_cuts(extractor):
    batch = extractor(
        [ramp(100), ramp(900)],
        sampling_rate=RATE_HZ,
        padding="max_length",
        max_length=400,
        truncation=True,
        return_tensors="np",
    )
    assert batch["input_values"].shape == (2, 400)
    assert batch["attention_mask"].sum(1).tolist() == [100, 400]


def test_it_pads_as_a_data_collator(extractor):
    features = [{"input_values": ramp(samples), "labels": samples} for samples in (100, 250)]
    batch = DataCollatorWithPadding(extractor)(features)
    assert batch["input_values"].shape == (2, 250)
    assert batch["attention_mask"].sum(1).tolist() == [100, 250]


def test_a_wrong_rate_names_both_rates(extractor):
    with pytest.raises(DataError, match=r"at 8000 Hz .* trained on 16000 Hz"):
        extractor(ramp(100), sampling_rate=8_000)


def test_a_missing_rate_is_warned_about(extractor, caplog):
    extractor(ramp(100), sampling_rate=RATE_HZ)
    assert not caplog.records
    logger = logging.getLogger("audiocls.models.waveform_extractor")
    logger.addHandler(caplog.handler)
    extractor(ramp(100))
    logger.removeHandler(caplog.handler)
    assert "without `sampling_rate`" in caplog.text


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (np.zeros((2, 100), np.float32), r"shape \(2, 100\)"),
        ([np.zeros((2, 100), np.float32)], r"shape \(2, 100\)"),
        (np.float32(0.5), r"shape \(\)"),
        (np.zeros(0, np.float32), "no samples"),
        ([ramp(10), np.zeros(0, np.float32)], "no samples"),
        ([], "list of waveforms is empty"),
        (np.zeros(100, np.int16), "has type int16"),
    ],
)
def test_what_is_no_mono_waveform_is_refused(extractor, audio, complaint):
    with pytest.raises(DataError, match=complaint):
        extractor(audio, sampling_rate=RATE_HZ)


def test_settings_survive_saving(tmp_path):
    WaveformFeatureExtractor(sampling_rate=8_000).save_pretrained(tmp_path)
    assert WaveformFeatureExtractor.from_pretrained(tmp_path).sampling_rate == 8_000


@pytest.mark.parametrize("settings", [{}, {"padding_value": 0.5}, {"return_attention_mask": False}])
@pytest.mark.parametrize("lengths", [(300,), (300, 300), (1, 250, 70)])
def test_inputs_of_a_batch_are_those_of_the_extractor_bit_for_bit(settings, lengths):
    extractor = WaveformFeatureExtractor(sampling_rate=RATE_HZ, **settings)
    waveforms = [np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32) for length in lengths]
    expected, found = extractor_inputs(waveforms, extractor, 400), model_inputs(waveforms, extractor, 400)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
