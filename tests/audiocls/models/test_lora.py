from __future__ import annotations

import numpy as np
import pytest
import torch

from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of, num_layers
from audiocls.models.families import build_model, load_model, save_model
from audiocls.models.inputs import model_inputs
from audiocls.models.lora import merge_lora
from audiocls.params.model import FAMILIES, LoraParams, ModelParams
from audiocls.params.run import AudioParams

pytest.importorskip("peft", reason="the extra lora is not installed")
from tiny_configs import TINY_CONFIGS

AUDIO = AudioParams(max_seconds=0.3)
WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate((4_800, 3_000))]


def build(family: str, **lora):
    torch.manual_seed(0)
    params = ModelParams(family=family, config=TINY_CONFIGS[family], lora=LoraParams(**lora))
    model, extractor = build_model(params, AUDIO, ["a", "b", "c"])
    return model, extractor, model_inputs(WAVEFORMS, extractor, 4_800)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "logmel-resnet"])
def test_lora_and_the_head_learn_alone_and_are_saved_as_an_ordinary_model(family, tmp_path):
    model, extractor, batch = build(family, rank=2)
    kept = {name: weight.clone() for name, weight in model.named_parameters() if not weight.requires_grad}
    optimizer = torch.optim.SGD([weight for weight in model.parameters() if weight.requires_grad], lr=1.0)
    for _ in range(2):  # in the first step the second matrix, zero, keeps the first one's gradient zero
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch).logits, torch.tensor([0, 1])).backward()
        optimizer.step()
    learnt = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    adapters = {name for name, _ in model.named_parameters() if "lora_" in name}
    assert len(adapters) >= 2 * 2 * num_layers(model)
    assert adapters < learnt
    assert all("lora_" in name or name.startswith(("classifier", "projector")) for name in learnt)
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameters[name], weight) for name, weight in kept.items())
    with torch.inference_mode():
        expected = model.eval()(**batch).logits
    merge_lora(model)
    assert not any("lora" in name for name in model.state_dict())
    save_model(model, extractor, tmp_path)
    with torch.inference_mode():
        found = load_model(tmp_path)[0](**batch).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_modules_asked_for_get_it_at_the_rank_and_scale_asked_for():
    model, _, _ = build("wav2vec2", rank=3, alpha=12, target_modules=["intermediate_dense"])
    found = [module for module in encoder_of(model).modules() if hasattr(module, "lora_A")]
    assert len(found) == 2
    assert all(module.lora_A["default"].weight.shape == (3, 32) for module in found)
    assert all(module.scaling["default"] == 4.0 for module in found)


def test_names_of_no_module_are_a_params_error():
    with pytest.raises(ParamsError, match=r"model\.lora\.target_modules: .*nowhere"):
        build("wav2vec2", target_modules=["nowhere"])
