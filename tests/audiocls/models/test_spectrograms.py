"""Batched front ends against the extractors of transformers, each by its own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import (
    ASTFeatureExtractor,
    ClapFeatureExtractor,
    SeamlessM4TFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)

from audiocls.batches.dataset import Collator, WaveformBatch
from audiocls.models.inputs import build_front_end, extractor_inputs, model_inputs
from audiocls.models.spectrograms import LARGEST_ERROR
from audiocls.params.run import AudioParams

RATE_HZ = 16_000
RNG = np.random.default_rng(0)
NOISE = RNG.normal(0, 0.1, 2 * RATE_HZ).astype(np.float32)
CHIRP = (0.9 * np.sin(1e-4 * np.arange(RATE_HZ) ** 2)).astype(np.float32)
# A tone that ends in digital silence has quiet bins beside loud ones, and frames at the floor.
TONE = (0.9 * np.sin(0.3 * np.arange(RATE_HZ)) * (np.arange(RATE_HZ) < 9_000)).astype(np.float32)
CLIPS = [NOISE[:RATE_HZ], NOISE[:3_001], CHIRP, TONE, np.round(NOISE[:15_999] * 3_000).astype(np.float32) / 32_768]
SHORT = {"sampling_rate": RATE_HZ, "max_length_s": 1, "hop_length": 160, "frequency_max": 8_000}

EXTRACTORS = {
    "ast": ASTFeatureExtractor(num_mel_bins=64, max_length=120),
    "ast, cut": ASTFeatureExtractor(num_mel_bins=64, max_length=50, do_normalize=False),
    "wav2vec2-bert": SeamlessM4TFeatureExtractor(),
    "whisper": WhisperFeatureExtractor(chunk_length=2),
    "whisper, full": WhisperFeatureExtractor(chunk_length=1),
    "wav2vec2": Wav2Vec2FeatureExtractor(return_attention_mask=False),
    "wav2vec2, masked": Wav2Vec2FeatureExtractor(return_attention_mask=True),
    "wav2vec2, as it is": Wav2Vec2FeatureExtractor(return_attention_mask=True, do_normalize=False),
    **{
        f"clap, {padding}": ClapFeatureExtractor(**SHORT, truncation="rand_trunc", padding=padding)
        for padding in ("pad", "repeat", "repeatpad")
    },
}


def largest_error(found, expected) -> float:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape
        assert found[name].dtype == tensor.dtype
    return max(float((found[name].double() - tensor.double()).abs().max()) for name, tensor in expected.items())


@pytest.mark.parametrize("name", EXTRACTORS)
def test_a_front_end_agrees_with_the_extractor(name):
    extractor = EXTRACTORS[name]
    # What wav2vec2-BERT's divides by hardly varies in a steady tone: its own rounding is what it makes large.
    clips = [clip for clip in CLIPS if clip is not TONE or name != "wav2vec2-bert"]
    expected = extractor_inputs(clips, extractor, RATE_HZ)
    assert expected[extractor.model_input_names[0]].std() > 0.05
    assert largest_error(model_inputs(clips, extractor, RATE_HZ), expected) < LARGEST_ERROR


def fused_by_the_extractor(clip, extractor, seed):
    """Mels, and where in their ranges the crops were drawn that numpy's generator gives for a seed."""
    np.random.seed(seed)  # noqa: NPY002  # the one that the extractor draws from
    mels = extractor(clip, sampling_rate=RATE_HZ, return_tensors="pt")["input_features"]
    np.random.seed(seed)  # noqa: NPY002
    kept = extractor.nb_max_samples // extractor.hop_length + 1
    total = len(clip) // extractor.hop_length + 1
    ranges = [list(third) or [0] for third in np.array_split(range(max(0, total - kept + 1)), 3)]
    drawn = [third.index(np.random.choice(third)) for third in ranges]  # noqa: NPY002
    return mels, [(index + 0.5) / len(third) for index, third in zip(drawn, ranges, strict=True)]


# One window and two frames are too few for a frame to begin in each third.
@pytest.mark.parametrize("samples", [2 * RATE_HZ, RATE_HZ + 320, RATE_HZ + 100, RATE_HZ, 3_001])
@pytest.mark.parametrize("padding", ["repeat", "repeatpad"])
def test_fused_mels_are_those_of_the_extractor(samples, padding):
    extractor = ClapFeatureExtractor(**SHORT, truncation="fusion", padding=padding)
    clips = [NOISE[:samples], NOISE[:5_000]]
    drawn = [fused_by_the_extractor(clip, extractor, seed) for seed, clip in enumerate(clips)]
    waveforms = torch.zeros(2, max(map(len, clips)))
    for row, clip in zip(waveforms, clips, strict=True):
        row[: len(clip)] = torch.from_numpy(clip)
    places = torch.tensor([where for _, where in drawn])
    found = build_front_end(extractor, RATE_HZ)(waveforms, torch.tensor([samples, 5_000]), places)
    assert found["is_longer"].tolist() == [[samples >= RATE_HZ + 160], [False]]
    expected = {"input_features": torch.cat([mels for mels, _ in drawn]), "is_longer": found["is_longer"]}
    assert largest_error(found, expected) < LARGEST_ERROR
    elsewhere = build_front_end(extractor, RATE_HZ)(waveforms, torch.tensor([samples, 5_000]), 0 * places)
    crops_move = not torch.equal(elsewhere["input_features"], found["input_features"])
    assert crops_move == (samples == 2 * RATE_HZ)


@pytest.mark.parametrize("name", EXTRACTORS)
def test_waveforms_that_are_left_to_the_device_become_the_same_inputs_there(name):
    lengths = np.array([RATE_HZ, 3_001])
    waveforms = np.stack([NOISE[:RATE_HZ], NOISE[:RATE_HZ] * (np.arange(RATE_HZ) < 3_001)])
    batch = WaveformBatch(waveforms, lengths, np.array([1, 0]))
    audio = AudioParams(max_seconds=1.0)
    expected = Collator(EXTRACTORS[name], audio)(batch)
    collator = Collator(EXTRACTORS[name], audio, leave_to_device=True)
    left = collator(batch)
    assert left.keys() == {"waveforms", "lengths", "labels"}
    found = collator.finish(left)
    assert not batch.waveforms[1, 3_001:].any()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert collator.finish(expected) == expected


def test_what_no_front_end_does_is_left_to_the_extractor():
    assert build_front_end(WhisperFeatureExtractor(dither=0.1), RATE_HZ) is None
