from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.models.embeddings import apply_head, head_layers, pooled_embeddings
from audiocls.models.families import build_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)
WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate((4_800, 3_000))]


@pytest.fixture(params=FAMILIES)
def model_and_batch(request):
    torch.manual_seed(0)
    params = ModelParams(family=request.param, config=TINY_CONFIGS[request.param])
    model, extractor = build_model(params, AUDIO, ["a", "b", "c"])
    return model.eval(), model_inputs(WAVEFORMS, extractor, 4_800)


def test_the_head_makes_the_models_logits_of_the_embeddings(model_and_batch):
    model, batch = model_and_batch
    embeddings = pooled_embeddings(model, batch)
    assert embeddings.shape == (2, head_layers(model)[0].in_features)
    with torch.no_grad():
        logits = model(**batch).logits
    assert embeddings.std(dim=0).max() > 1e-3 * embeddings.std()  # two clips, two embeddings
    torch.testing.assert_close(apply_head(model, embeddings), logits, atol=1e-4, rtol=0)


def test_the_embeddings_are_those_of_evaluation_and_the_mode_stays(model_and_batch):
    model, batch = model_and_batch
    expected = pooled_embeddings(model, batch)
    model.train()
    first = next(module for module in model.modules() if not list(module.children()))
    first.eval()
    assert torch.equal(pooled_embeddings(model, batch | {"labels": torch.tensor([0, 1])}), expected)
    assert model.training
    assert not first.training
    assert all(module.training for module in model.modules() if module is not first)


def test_a_head_trains_on_embeddings_and_the_model_has_learnt_it(model_and_batch):
    model, batch = model_and_batch
    embeddings = pooled_embeddings(model, batch)
    optimizer = torch.optim.SGD([p for layer in head_layers(model) for p in layer.parameters()], lr=1.0)
    before = model(**batch).logits.detach()
    torch.nn.functional.cross_entropy(apply_head(model, embeddings), torch.tensor([0, 1])).backward()
    optimizer.step()
    assert not torch.allclose(model(**batch).logits, before, atol=1e-4)
    torch.testing.assert_close(apply_head(model, embeddings), model(**batch).logits, atol=1e-4, rtol=0)
