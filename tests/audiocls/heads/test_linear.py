from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny_configs import TINY_CONFIGS

from audiocls.errors import BalanceError
from audiocls.heads.linear import LinearHead, Scaling, head_of, train_head, write_head
from audiocls.models.embeddings import apply_head, pooled_embeddings
from audiocls.models.families import build_model, load_model, save_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)


def build(family, num_classes=3, **config):
    torch.manual_seed(0)
    params = ModelParams(family=family, config=TINY_CONFIGS[family] | config)
    model, extractor = build_model(params, AUDIO, [f"c{i}" for i in range(num_classes)])
    return model.eval(), extractor


def random_head(num_classes, dim, seed=0):
    rng = np.random.default_rng(seed)
    return LinearHead(rng.normal(size=(num_classes, dim)), rng.normal(size=num_classes))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_saved_model_gives_the_logits_of_the_head_on_embeddings(family, tmp_path):
    model, extractor = build(family)
    rng = np.random.default_rng(1)
    waveforms = [rng.normal(0, 0.1, size).astype(np.float32) for size in (4_800, 3_000)]
    batch = model_inputs(waveforms, extractor, 4_800)
    embeddings = pooled_embeddings(model, batch)
    head = random_head(3, embeddings.shape[1])
    write_head(model, head)
    save_model(model, extractor, tmp_path)
    loaded, _ = load_model(tmp_path)
    with torch.no_grad():
        logits = loaded(**batch).logits.numpy()
    np.testing.assert_allclose(logits, head.logits(embeddings.numpy()), atol=1e-4)
    np.testing.assert_allclose(head_of(loaded).weight, head.weight, atol=1e-5)
    np.testing.assert_allclose(head_of(loaded).bias, head.bias, atol=1e-6)


def test_a_head_that_was_trained_through_a_narrow_projector_goes_back_through_it():
    model, _ = build("wav2vec2", num_classes=20)  # 20 classes on 32 dimensions, through 16
    embeddings = torch.randn(5, 32)
    with torch.no_grad():
        before = apply_head(model, embeddings).numpy()
        head = head_of(model)
        write_head(model, LinearHead(head.weight, head.bias + np.arange(20)))
        np.testing.assert_allclose(apply_head(model, embeddings).numpy(), before + np.arange(20), atol=1e-5)


def test_a_head_that_does_not_fit_through_the_projector_is_refused_with_the_width_it_needs():
    model, _ = build("wav2vec2", num_classes=20)
    with pytest.raises(BalanceError, match=r"classifier_proj_size = 16: .* Set it to 20 or more"):
        write_head(model, random_head(20, 32))


def test_the_trained_head_is_multinomial_logistic_regression():
    rng = np.random.default_rng(2)
    targets = np.repeat(np.arange(4), [50, 30, 20, 5])
    raw = (rng.normal(size=(105, 6)) + rng.normal(size=(4, 6))[targets]).astype(np.float32) * 3 + 7
    scaling = Scaling.of(raw)
    head = train_head(scaling.apply(raw), targets, 4, penalty=2.0, device="cpu")
    expected = LogisticRegression(C=0.5, max_iter=2_000, tol=1e-8).fit(scaling.apply(raw), targets)
    np.testing.assert_allclose(head.weight, expected.coef_, atol=5e-3)
    probabilities = torch.from_numpy(head.unscaled(scaling).logits(raw)).softmax(1).numpy()
    np.testing.assert_allclose(probabilities, expected.predict_proba(scaling.apply(raw)), atol=2e-3)


def test_a_dimension_that_never_varies_leaves_the_head_finite():
    raw = np.random.default_rng(3).normal(size=(20, 3)).astype(np.float32)
    raw[:, 1] = 4.0
    scaling = Scaling.of(raw)
    head = train_head(scaling.apply(raw), np.arange(20) % 2, 2, 1.0, "cpu").unscaled(scaling)
    assert np.isfinite(head.weight).all()
    assert np.isfinite(head.bias).all()
