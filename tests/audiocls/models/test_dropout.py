"""Dropout in sixteen bits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

from audiocls.models import dropout
from audiocls.models.dropout import QuickDropout, drop, use_quick_dropout

WIDTH = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
FRONT_END = {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "feat_extract_norm": "layer"}
NOT_DRAWN = {"layerdrop": 0.0, "apply_spec_augment": False}


def model(**fields) -> Wav2Vec2ForSequenceClassification:
    torch.manual_seed(0)
    config = Wav2Vec2Config(**WIDTH, **FRONT_END, **NOT_DRAWN, num_conv_pos_embeddings=4, **fields)
    return Wav2Vec2ForSequenceClassification(config)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.37, 0.5, 1.0])
def test_a_share_is_dropped_and_the_mean_stays(probability):
    torch.manual_seed(1)
    found = drop(torch.ones(7, 30_001), probability)
    assert float((found == 0).float().mean()) == pytest.approx(probability, abs=5e-3)
    left = found[found != 0]
    torch.testing.assert_close(left, torch.full_like(left, 1 / max(1 - probability, 1e-9)), rtol=1e-4, atol=0)
    # No pattern: a value's neighbours know nothing of it.
    if 0 < probability < 1:
        there = (found != 0).float()
        correlation = torch.corrcoef(torch.stack([there[:, 1:].flatten(), there[:, :-1].flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.01


def test_the_gradient_goes_where_values_stayed():
    values = torch.randn(50, 60, requires_grad=True)
    dropped = drop(values, 0.4)
    dropped.sum().backward()
    torch.testing.assert_close(values.grad, dropped.detach() / values.detach())


def test_masks_are_drawn_anew_from_torchs_generator():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = drop(torch.ones(999), 0.5), drop(torch.ones(999), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(drop(torch.ones(999), 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("masked", [False, True])
def test_a_model_with_nothing_dropped_is_what_it_was(masked, monkeypatch):
    drawn = []
    monkeypatch.setattr(dropout, "drop", lambda values, share: drawn.append(share) or values)
    plain = model().train()
    quick = copy.deepcopy(plain)
    use_quick_dropout(quick)
    assert type(copy.deepcopy(quick).wav2vec2.encoder.dropout) is QuickDropout
    batch = {"input_values": torch.randn(2, 900)}
    if masked:
        batch["attention_mask"] = (torch.arange(900) < torch.tensor([[900], [500]])).long()
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    for layer in plain.wav2vec2.encoder.layers:
        layer.attention.dropout = 0.0
    torch.testing.assert_close(quick(**batch).logits, plain(**batch).logits, rtol=1e-4, atol=1e-5)
    layers = quick.config.num_hidden_layers
    assert len(drawn) == 2 + 4 * layers  # features and their sum with positions; attention and what follows, by layer
    torch.testing.assert_close(quick.eval()(**batch).logits, plain.eval()(**batch).logits, rtol=1e-4, atol=1e-5)
    assert len(drawn) == 2 + 4 * layers


def test_attention_with_dropout_is_torchs_on_average():
    torch.manual_seed(5)
    query, key, value = torch.randn(3, 1, 2, 6, 4)
    summed = sum(dropout._attention(nn.Identity(), query, key, value, None, dropout=0.3)[0] for _ in range(4_000))
    expected = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    torch.testing.assert_close(summed / 4_000, expected, rtol=0, atol=0.08)
