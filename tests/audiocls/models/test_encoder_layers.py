"""Heads on other layers than the last."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of
from audiocls.models.embeddings import apply_head, pooled_embeddings
from audiocls.models.encoder_layers import (
    check_layer,
    choose_layer,
    layer_mistake,
    learn_weights,
    pooled_layers,
    weigh_layers,
)
from audiocls.models.families import build_model, load_model, save_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)
WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate((4_800, 3_000))]
AST = "audio-spectrogram-transformer"
SUMS = [family for family in FAMILIES if layer_mistake(family, "weighted") is None]


def build(family: str):
    torch.manual_seed(0)
    model, extractor = build_model(ModelParams(family=family, config=TINY_CONFIGS[family]), AUDIO, ["a", "b", "c"])
    return model.eval(), extractor, model_inputs(WAVEFORMS, extractor, 4_800)


@torch.no_grad()
def logits(model, batch) -> torch.Tensor:
    return model(**batch).logits


@pytest.mark.parametrize("family", [*SUMS, AST])
def test_a_head_on_a_layer_is_saved_with_the_model(family, tmp_path):
    model, extractor, batch = build(family)
    last = pooled_embeddings(model, batch)
    choose_layer(model, 1)
    found = pooled_embeddings(model, batch)
    assert not torch.allclose(found, last, atol=1e-3)
    torch.testing.assert_close(apply_head(model, found), logits(model, batch), atol=1e-4, rtol=0)
    if family != AST:
        hidden = encoder_of(model)(**batch, output_hidden_states=True).hidden_states[1][:1]
        torch.testing.assert_close(found[:1], hidden.mean(1), atol=1e-5, rtol=1e-4)  # the longest clip has no padding
    save_model(model, extractor, tmp_path)
    torch.testing.assert_close(logits(load_model(tmp_path)[0], batch), logits(model, batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("family", SUMS)
def test_all_layers_of_one_pass_are_those_of_each_and_the_model_stays(family):
    model, _, batch = build(family)
    before, names = logits(model, batch), list(model.state_dict())
    asked = []
    encoder_of(model).register_forward_hook(lambda *_: asked.append(1))
    layers = pooled_layers(model, batch)
    assert torch.equal(logits(model, batch), before)
    assert list(model.state_dict()) == names
    for layer in range(3):
        choose_layer(model, layer)
        assert torch.equal(pooled_embeddings(model, batch), layers[:, layer])
    weights = torch.tensor([2.0, -1.0, 0.5])
    weigh_layers(model, weights)
    expected = torch.einsum("nld,l->nd", layers, torch.softmax(weights, 0))
    torch.testing.assert_close(pooled_embeddings(model, batch), expected, atol=1e-4, rtol=1e-4)


def test_the_layer_that_tells_the_classes_apart_gets_the_weight():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 200)
    layers = rng.normal(size=(200, 4, 6)).astype(np.float32)
    layers[:, 2, :3] += 3 * np.eye(3)[targets]
    weights = torch.softmax(learn_weights(layers, targets, 3, 1.0, "cpu"), 0)
    assert weights.argmax() == 2
    assert weights[2] > 0.6
    assert torch.equal(torch.softmax(learn_weights(layers, targets, 3, 1.0, "cpu"), 0), weights)


@pytest.mark.parametrize(
    ("family", "layer", "message"),
    [
        ("hubert", 3, "balance.layer = 3: this hubert has 2 layers"),
        (AST, "weighted", "cannot sum layers"),
        (AST, 0, "use 1 or more"),
        ("logmel-resnet", 1, "differ in width"),
        ("logmel-resnet", "weighted", "differ in width"),
        ("clap", 1, "model.family=clap differ in width"),
    ],
)
def test_a_layer_that_no_head_can_stand_on_is_refused(family, layer, message):
    model, _, _ = build(family)
    check_layer(model, "last")
    with pytest.raises(ParamsError, match=message):
        check_layer(model, layer)
