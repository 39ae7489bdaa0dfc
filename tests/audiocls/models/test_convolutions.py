from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from tiny_configs import TINY_CONFIGS
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from audiocls.batches.lengths import input_samples
from audiocls.models.convolutions import has_faulty_bfloat16, use_float32, use_matrix_products
from audiocls.models.families import build_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

STRIDED = {
    "waveform": nn.Conv1d(1, 8, 10, stride=5, bias=False),
    "overlapping": nn.Conv1d(4, 6, 3, stride=2),
    "one step": nn.Conv1d(4, 6, 2),
    "gaps": nn.Conv1d(4, 6, 2, stride=3),
}
GROUPED = {
    "even": nn.Conv1d(12, 12, 128, padding=64, groups=4),
    "odd": nn.Conv1d(8, 4, 19, padding=9, groups=2),
    "unpadded": nn.Conv1d(8, 8, 17, groups=4, bias=False),
    "weight norm": weight_norm(nn.Conv1d(12, 12, 32, padding=16, groups=4), dim=2),
}


@pytest.mark.parametrize("by_sample", [False, True])
@pytest.mark.parametrize("samples", [40, 131, 200])
@pytest.mark.parametrize("name", [*STRIDED, *GROUPED])
def test_products_are_the_convolution_and_so_are_their_gradients(name, samples, by_sample):
    torch.manual_seed(samples)
    theirs = (STRIDED | GROUPED)[name].double()
    ours = copy.deepcopy(theirs).float()
    assert use_matrix_products(ours) == 1
    signal = torch.randn(3, ours.in_channels, samples)
    if by_sample:
        signal = signal.transpose(1, 2).contiguous().transpose(1, 2)
    found, expected = [], []
    for module, heard, results in ((ours, signal, found), (theirs, signal.double(), expected)):
        heard = heard.clone().requires_grad_()
        out = module(1.0 * heard)
        out.square().sum().backward()
        results += [out, heard.grad, *(weight.grad for weight in module.parameters())]
        module.zero_grad()
    assert found[0].grad_fn.name() != "ConvolutionBackward0"
    for own, true in zip(found, expected, strict=True):
        assert own.shape == true.shape
        torch.testing.assert_close(own.double(), true, rtol=1e-4, atol=1e-4 * float(true.detach().abs().max()))


def test_waveforms_that_nobody_made_get_no_gradient():
    module = copy.deepcopy(STRIDED["waveform"]).float()
    use_matrix_products(module)
    signal = torch.randn(3, 1, 131, requires_grad=True)
    module(signal).square().sum().backward()
    assert signal.grad is None
    assert module.weight.grad.abs().sum() > 0


def test_other_convolutions_and_other_types_stay_torchs_own():
    others = [
        nn.Conv1d(4, 4, 3, padding=1),
        nn.Conv1d(4, 4, 3, dilation=2),
        nn.Conv1d(4, 4, 31, groups=4, padding=15),  # a channel a group
        nn.Conv1d(96, 96, 31, groups=4, padding=15),  # many channels a group
        nn.Conv2d(1, 4, 3),
    ]
    assert use_matrix_products(nn.ModuleList(others)) == 0
    module = nn.Conv1d(4, 6, 3, stride=2)
    use_matrix_products(module)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(torch.randn(2, 4, 20)).dtype == torch.bfloat16


def test_a_copy_has_weights_of_its_own_and_names_stay():
    module = nn.Conv1d(4, 6, 3, stride=2)
    names = list(module.state_dict())
    use_matrix_products(module)
    other = copy.deepcopy(module)
    with torch.no_grad():
        other.weight.zero_()
        other.bias.zero_()
    assert list(other.state_dict()) == names
    signal = torch.randn(2, 4, 20)
    assert not other(signal).any()
    assert module(signal).all()


def convolutions_of_gradient(out: torch.Tensor) -> list[tuple[str, set[torch.dtype]]]:
    """Name the nodes of the graph that are convolutions, and the types of what they keep."""
    found, todo, seen = [], [out.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        todo += [parent for parent, _ in node.next_functions]
        if "Convolution" in node.name():
            found.append((node.name(), {node._saved_input.dtype, node._saved_weight.dtype}))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_is_what_every_convolution_of_every_family_takes_under_autocast(family):
    audio = AudioParams(max_seconds=0.3)
    found = {}
    for in_float32 in (False, True):
        torch.manual_seed(0)
        params = ModelParams(family=family, config=TINY_CONFIGS[family])
        model, extractor = build_model(params, audio, ["a", "b"])
        if in_float32:
            use_float32(model)
        waveforms = [np.random.default_rng(0).normal(0, 0.1, 4_800).astype(np.float32)] * 2
        with torch.autocast("cpu", torch.bfloat16):
            out = model.train()(**model_inputs(waveforms, extractor, input_samples(audio))).logits
        found[in_float32] = convolutions_of_gradient(out)
    assert len(found[True]) == len(found[False])
    assert all(types == {torch.float32} for _, types in found[True])
    assert any(torch.bfloat16 in types for _, types in found[False]) or not found[False]


def test_matrix_products_are_used_under_autocast_in_float32():
    module = nn.Conv1d(4, 6, 3, stride=2)
    use_matrix_products(module)
    expected = module(signal := torch.randn(2, 4, 20))
    use_float32(module)
    with torch.autocast("cpu", torch.bfloat16):
        out = copy.deepcopy(module)(signal.bfloat16().float())
    assert out.grad_fn.name() == expected.grad_fn.name()
    assert out.dtype == torch.float32


@pytest.mark.skipif(not has_faulty_bfloat16(), reason="the faulty kernel is that of processors with AMX")
def test_gradients_in_bfloat16_are_finite_where_torchs_own_are_not_always():
    module = nn.Conv1d(32, 32, 8, stride=4, bias=False)
    use_float32(module)
    for seed in range(200):
        torch.manual_seed(seed)
        with torch.autocast("cpu", torch.bfloat16):
            module(torch.randn(10, 32, 639, requires_grad=True)).square().sum().backward()
        assert module.weight.grad.isfinite().all()
        module.zero_grad()
