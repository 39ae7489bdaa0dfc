"""Every rate of dropout in a family's config does something in training, or is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.models.adapters import ADAPTERS
from audiocls.models.families import build_model, config_mistakes
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, 4_800).astype(np.float32) for i in range(2)]
SPANS = ("mask_time_prob", "mask_feature_prob")


def build(family: str, **fields):
    torch.manual_seed(0)
    params = ModelParams(family=family, config=TINY_CONFIGS[family] | fields)
    return build_model(params, AudioParams(max_seconds=0.3), "abc")


def rates(config) -> list[str]:
    return [name for name, value in config.to_dict().items() if "drop" in name and isinstance(value, float | int)]


def logits(family: str, passes: int, **fields) -> list[torch.Tensor]:
    """Return those of passes in training."""
    model, extractor = build(family, **fields)
    batch = model_inputs(WAVEFORMS, extractor, 4_800)
    with torch.no_grad():
        return [model.train()(**batch).logits for _ in range(passes)]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "logmel-resnet"])  # which has no dropout
def test_every_rate_of_dropout_does_something_or_is_refused(family):
    config = build(family)[0].config
    quiet = dict.fromkeys(rates(config), 0.0) | {name: 0.0 for name in SPANS if hasattr(config, name)}
    assert len(rates(config)) >= 2
    (plain,) = logits(family, 1, **quiet)

    def does_something(name: str) -> bool:
        # Three passes, as layers are left out at random.
        return any(not torch.allclose(found, plain, atol=1e-6) for found in logits(family, 3, **quiet | {name: 0.9}))

    idle = {name for name in rates(config) if not does_something(name)}
    assert idle == {name for name in ADAPTERS[family].ignored_fields if name in rates(config)}
    for name in idle:
        assert [key for key, _ in config_mistakes(family, {name: 0.1})] == [f"model.config.{name}"]


def test_a_field_that_a_config_has_not_is_told_once():
    assert [message for _, message in config_mistakes("hubert", {"feat_quantizer_dropout": 0.1})] == [
        "= 0.1: HubertConfig has no such field"
    ]


@pytest.mark.parametrize("field", ["decoder_layers", "decoder_ffn_dim"])
def test_the_decoder_that_the_classifier_is_built_without_takes_no_fields(field):
    assert [key for key, _ in config_mistakes("whisper", {field: 2})] == [f"model.config.{field}"]
