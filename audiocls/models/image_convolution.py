"""A convolution of one-channel images whose input gradient is fast on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class ImageConv2d(nn.Conv2d):
    """A convolution of one-channel images, without bias.

    torch pads the channels of the input gradient to the width of the processor's vector units. Here it is one matrix
    product with one row per tap, and the results of the taps are added at their positions: the same sums in another
    order, in a quarter of the time. On a GPU, under autocast, and for other types than float32, torch's own is used.
    """

    def __init__(self, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(1, out_channels, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (batch, 1, height, width) to (batch, out_channels, out_height, out_width)."""
        needs_torch = images.dtype != torch.float32 or images.device.type != "cpu" or torch.is_autocast_enabled("cpu")
        if needs_torch or not images.requires_grad:
            return super().forward(images)
        out: Tensor = _ImageConvolution.apply(  # type: ignore[no-untyped-call]  # torch has none here
            images, self.weight, self.stride[0]
        )
        return out


class _ImageConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        return torch.nn.functional.conv2d(images, weight, None, stride, weight.shape[2] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        (gradient,), stride, kernel = gradients, ctx.stride, weight.shape[2]
        of_weight = None
        if ctx.needs_input_grad[1]:
            edge = [kernel // 2] * 2
            _, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient, images, weight, None, [stride] * 2, edge, [1, 1], False, [0, 0], 1, [False, True, False]
            )
        return _of_images(gradient, weight, stride, images.shape), of_weight, None


def _of_images(gradient: Tensor, weight: Tensor, stride: int, shape: torch.Size) -> Tensor:
    size, _, height, width = shape
    outs, kernel = weight.shape[0], weight.shape[2]
    rows, columns = gradient.shape[2:]
    by_channel = gradient.permute(0, 2, 3, 1).reshape(-1, outs)  # a view if channels are last
    taps = (weight.reshape(outs, -1).T @ by_channel.T).view(kernel, kernel, size, rows, columns)
    edge = kernel // 2
    padded = gradient.new_zeros(size, height + 2 * edge, width + 2 * edge)
    for i in range(kernel):
        for j in range(kernel):
            padded[:, i : i + stride * rows : stride, j : j + stride * columns : stride] += taps[i, j]
    return padded[:, edge : edge + height, edge : edge + width].unsqueeze(3).movedim(3, 1)
