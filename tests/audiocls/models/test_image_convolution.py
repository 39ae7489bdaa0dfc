from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from audiocls.models.image_convolution import ImageConv2d


def image(height, width, *, channels_last):
    pixels = torch.randn(3, height, width)
    return pixels.unsqueeze(3).movedim(3, 1) if channels_last else pixels.unsqueeze(1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 2), (3, 1), (3, 3), (1, 2)])
@pytest.mark.parametrize(("height", "width"), [(20, 8), (21, 7), (5, 6)])
def test_it_is_torchs_convolution_and_so_are_its_gradients(height, width, kernel, stride, channels_last):
    torch.manual_seed(height + kernel)
    ours = ImageConv2d(6, kernel, stride)
    images = image(height, width, channels_last=channels_last).requires_grad_()
    out = ours(images)
    assert out.grad_fn.name() == "_ImageConvolutionBackward"
    out.square().sum().backward()
    exact, weight = images.detach().double().requires_grad_(), ours.weight.detach().double().requires_grad_()
    expected = F.conv2d(exact, weight, None, stride, kernel // 2)
    expected.square().sum().backward()
    for own, true in ((out, expected), (images.grad, exact.grad), (ours.weight.grad, weight.grad)):
        assert own.shape == true.shape
        torch.testing.assert_close(own.double(), true, rtol=1e-4, atol=1e-5 * float(true.detach().abs().max()))


def test_a_frozen_weight_gets_no_gradient_and_the_image_the_same():
    conv, images = ImageConv2d(4, 5, 2), image(12, 8, channels_last=True).requires_grad_()
    conv(images).sum().backward()
    before, images.grad = images.grad, None
    conv.weight.requires_grad_(requires_grad=False)
    conv.weight.grad = None
    conv(images).sum().backward()
    torch.testing.assert_close(images.grad, before)
    assert conv.weight.grad is None


@pytest.mark.parametrize("kind", ["no gradient", "autocast", "double"])
def test_all_else_is_torchs_own(kind):
    conv, images = ImageConv2d(4, 5, 2), image(12, 8, channels_last=True)
    if kind == "double":
        conv, images = conv.double(), images.double()
    images.requires_grad_(kind != "no gradient")
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        out = conv(images)
    assert out.grad_fn.name() == "ConvolutionBackward0"
    assert out.dtype == {"autocast": torch.bfloat16, "double": torch.float64}.get(kind, torch.float32)
