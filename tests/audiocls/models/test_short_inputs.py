"""The shortest `audio.max_seconds` that each family can be trained at, and what is said of one below it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.errors import ParamsError
from audiocls.models.families import build_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

RATE_HZ = 16_000
# Of the tiny configs. Front ends with strides of 5, 4 and 4 under kernels of 10, 8 and 4 make one frame of 105 samples,
# and another of every 80 more.
SHORTEST_SAMPLES = dict.fromkeys(FAMILIES, 105) | {
    "logmel-resnet": 161,
    "sew": 185,
    "sew-d": 185,
    "wav2vec2-conformer": 185,
    "wav2vec2-bert": 560,
    "audio-spectrogram-transformer": 400 + 15 * 160,
}


def build(family: str, samples: int):
    torch.manual_seed(0)
    # Without SpecAugment, whose spans were what made the check look at the frames.
    spans = {} if family in ("logmel-resnet", "audio-spectrogram-transformer", "clap") else {"mask_time_prob": 0.0}
    params = ModelParams(family=family, config=TINY_CONFIGS[family] | spans)
    return build_model(params, AudioParams(max_seconds=samples / RATE_HZ), "abc")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_shortest_length_that_is_not_refused_can_be_trained_at_one_clip_at_a_time(family):
    samples = SHORTEST_SAMPLES[family]
    model, extractor = build(family, samples)
    waveform = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    logits = model.train()(**model_inputs([waveform], extractor, samples)).logits
    assert torch.isfinite(logits).all()
    if family in ("whisper", "clap"):  # which have a window of whole seconds
        return
    with pytest.raises(ParamsError, match=r"audio\.max_seconds = \S+ is too short: .* frames, and at least \d+ "):
        build(family, samples - 1)
