"""Convolutions over time as matrix products, which take half the time or less on a CPU.

Training a wav2vec2 on a CPU spends most of its time in the convolutions of the front end and of the positions, mainly
in their gradients. Here both are the same sums in another order, equal up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_FEW_CHANNELS = 16  # per group; with more, torch's grouped convolution is as fast and needs less memory
_BLOCK_CHANNELS = 96  # columns of a product; more do not make it faster


def use_matrix_products(model: nn.Module) -> int:
    """Compute the model's convolutions over time as matrix products, if that is faster on a CPU.

    Weights and their names do not change. torch's convolutions are used under autocast and for types other than
    float32.

    Returns:
        The number of replaced convolutions.
    """
    chosen = [module for module in model.modules() if isinstance(module, nn.Conv1d)]
    strided = [module for module in chosen if _is_plain(module) and module.groups == 1 and module.padding == (0,)]
    grouped = [module for module in chosen if _is_plain(module) and _is_wide_and_grouped(module)]
    # Not `forward`, which weight norm and hooks wrap; and not bound to a module, so that modules can be copied.
    for module in strided:
        _replace(module, partial(_strided, stride=module.stride[0]))
    for module in grouped:
        _replace(module, partial(_grouped, padding=int(module.padding[0]), groups=module.groups))
    return len(strided) + len(grouped)


def use_float32(model: nn.Module) -> None:
    """Compute the model's convolutions in float32 under autocast on a CPU.

    On processors with AMX, torch 2.13 sometimes computes NaN in the weight gradient of a bfloat16 convolution: a SEW
    trained in bf16 gets one in about one of ten runs. Remove once oneDNN's kernel is fixed.
    """
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)):
            _replace(module, partial(_in_float32, convolution=_convolution_of(module)))


def has_faulty_bfloat16() -> bool:
    """Return whether this processor has AMX, so that gradients of bfloat16 convolutions are unreliable."""
    return bool(torch.cpu._is_amx_tile_supported())


def _convolution_of(module: nn.Conv1d | nn.Conv2d) -> Callable[..., Tensor]:
    """Return the module's convolution as a function of signal, weight and bias, not bound to a module."""
    if "_conv_forward" in module.__dict__:
        chosen: Callable[..., Tensor] = module.__dict__["_conv_forward"]
        return chosen
    if module.padding_mode != "zeros":
        raise NotImplementedError(f"padding of {module.padding_mode!r} in {module}")
    plain: Callable[..., Tensor] = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
    options = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation, "groups": module.groups}
    return partial(plain, **options)


def _in_float32(signal: Tensor, weight: Tensor, bias: Tensor | None, *, convolution: Callable[..., Tensor]) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return convolution(signal.float(), weight.float(), None if bias is None else bias.float())


def _replace(module: nn.Conv1d | nn.Conv2d, convolution: Callable[..., Tensor]) -> None:
    module.__dict__["_conv_forward"] = convolution


def _is_plain(module: nn.Conv1d) -> bool:
    return module.dilation == (1,) and module.padding_mode == "zeros" and not isinstance(module.padding, str)


def _is_wide_and_grouped(module: nn.Conv1d) -> bool:
    channels = max(module.in_channels, module.out_channels) // module.groups
    return module.groups > 1 and 1 < channels <= _FEW_CHANNELS and module.kernel_size[0] > 16 and module.stride == (1,)


def _strided(signal: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int) -> Tensor:
    if _needs_torch(signal, weight):
        return F.conv1d(signal, weight, bias, stride)
    if signal.is_leaf:
        # transformers requires a gradient of the waveforms for checkpointing, but it is never used.
        signal = signal.detach()
    convolution = _OfWaveforms if weight.shape[1] == 1 else _OfChannels
    out: Tensor = convolution.apply(signal, weight, stride)  # type: ignore[no-untyped-call]  # torch has none here
    return out if bias is None else out + bias[:, None]


def _grouped(signal: Tensor, weight: Tensor, bias: Tensor | None, *, padding: int, groups: int) -> Tensor:
    if _needs_torch(signal, weight):
        return F.conv1d(signal, weight, bias, padding=padding, groups=groups)
    out: Tensor = _Grouped.apply(  # type: ignore[no-untyped-call]  # torch has none here
        signal.transpose(1, 2), weight, padding, groups
    )
    return (out if bias is None else out + bias).transpose(1, 2)


def _needs_torch(signal: Tensor, weight: Tensor) -> bool:
    types_differ = signal.dtype != torch.float32 or weight.dtype != torch.float32
    return types_differ or signal.ndim != 3 or signal.device.type != "cpu" or torch.is_autocast_enabled("cpu")


class _OfWaveforms(torch.autograd.Function):
    """Convolve (batch, 1, samples) with a kernel (out, 1, taps): one product per `stride` taps, of rows that are views.

    The memory layout of the result is (batch, out, frames) as in torch, with which a group norm over time is fastest.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, weight: Tensor, stride: int) -> Tensor:
        size, outs, taps = len(signal), *weight.shape[::2]
        frames = (signal.shape[2] - taps) // stride + 1
        signal, kernel = signal.transpose(1, 2).contiguous(), weight.flatten(1)
        out = signal.new_empty(size, outs, frames)
        for part, rows in _rows(signal, frames, taps, stride):
            own = kernel[:, part].expand(size, -1, -1)
            _add_product(out, own, rows.transpose(1, 2), overwrite=part.start == 0)
        ctx.save_for_backward(signal, kernel)
        ctx.stride = stride
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        signal, kernel = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        of_kernel = torch.empty_like(kernel)
        of_signal = torch.zeros_like(signal) if ctx.needs_input_grad[0] else None
        for part, rows in _rows(signal, gradient.shape[2], kernel.shape[1], ctx.stride):
            of_kernel[:, part] = torch.bmm(gradient, rows).sum(0)
        if of_signal is None:
            return None, of_kernel[:, None], None
        for part, rows in _rows(of_signal, gradient.shape[2], kernel.shape[1], ctx.stride):
            rows.baddbmm_(gradient.transpose(1, 2), kernel[:, part].expand(len(rows), -1, -1))
        return of_signal.transpose(1, 2), of_kernel[:, None], None


class _OfChannels(torch.autograd.Function):
    """Convolve (batch, channels, samples) with a kernel (out, channels, taps), as `_OfWaveforms`.

    Internally and in the result, the channels of a sample are contiguous, so that `stride` samples are a matrix row.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, weight: Tensor, stride: int) -> Tensor:
        outs, channels, taps = weight.shape
        ctx.lies_by_channel = signal.is_contiguous()
        frames = (signal.shape[2] - taps) // stride + 1
        signal, kernel = signal.transpose(1, 2).contiguous(), weight.permute(2, 1, 0).reshape(taps * channels, outs)
        out = signal.new_empty(len(signal), frames, outs)
        for part, rows in _rows(signal, frames, taps, stride):
            _add_product(out, rows, kernel[part].expand(len(signal), -1, -1), overwrite=part.start == 0)
        ctx.save_for_backward(signal, kernel)
        ctx.shape, ctx.stride = weight.shape, stride
        return out.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        signal, kernel = ctx.saved_tensors
        outs, channels, taps = ctx.shape
        gradient = gradients[0].transpose(1, 2).contiguous()
        of_kernel = torch.empty_like(kernel)
        for part, rows in _rows(signal, gradient.shape[1], taps, ctx.stride):
            of_kernel[part] = torch.bmm(rows.transpose(1, 2), gradient).sum(0)
        of_weight = of_kernel.view(taps, channels, outs).permute(2, 1, 0)
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None
        of_signal = torch.zeros_like(signal)
        for part, rows in _rows(of_signal, gradient.shape[1], taps, ctx.stride):
            rows.baddbmm_(gradient, kernel[part].T.expand(len(rows), -1, -1))
        of_signal = of_signal.transpose(1, 2)
        # In the memory layout of the signal: later steps on two different layouts take three times as long.
        return of_signal.contiguous() if ctx.lies_by_channel else of_signal, of_weight, None


def _rows(signal: Tensor, frames: int, taps: int, stride: int) -> Iterator[tuple[slice, Tensor]]:
    """Yield for each `stride` taps their rows of the kernel matrix, and the matching samples (batch, frames, rows)."""
    size, samples, channels = signal.shape
    for first in range(0, taps, stride):
        part = slice(first * channels, min(first + stride, taps) * channels)
        shape, strides = (size, frames, part.stop - part.start), (samples * channels, stride * channels, 1)
        yield part, signal.as_strided(shape, strides, signal.storage_offset() + part.start)


def _add_product(total: Tensor, left: Tensor, right: Tensor, *, overwrite: bool) -> None:
    if overwrite:
        torch.bmm(left, right, out=total)
    else:
        total.baddbmm_(left, right)


class _Grouped(torch.autograd.Function):
    """Convolve (batch, samples, channels) with a long kernel of few channels per group, one block of outputs at a time.

    The inputs of a block of outputs are one row, which is multiplied by a band matrix. This multiplies some zeros, but
    has enough columns to fill the processor's vector units.
    """

    @staticmethod
    def forward(ctx: Any, signal: Tensor, weight: Tensor, padding: int, groups: int) -> Tensor:
        taps, outs = weight.shape[2], weight.shape[0] // groups
        ctx.frames = signal.shape[1] + 2 * padding - taps + 1
        ctx.block = max(1, _BLOCK_CHANNELS // outs)
        windows = _windows(signal, ctx.block, -(-ctx.frames // ctx.block), taps, padding, groups)
        band = _band(weight, ctx.block, groups)
        ctx.save_for_backward(windows, band)
        ctx.shapes, ctx.padding = (signal.shape, weight.shape), padding
        out = torch.bmm(windows, band.transpose(1, 2)).view(groups, len(signal), -1, outs)
        return out[:, :, : ctx.frames].permute(1, 2, 0, 3).reshape(len(signal), ctx.frames, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        windows, band = ctx.saved_tensors
        (size, samples, channels), (all_outs, inputs, taps) = ctx.shapes
        groups = channels // inputs
        blocks = windows.shape[1] // size
        gradient = gradients[0].new_zeros(groups, size, blocks * ctx.block, all_outs // groups)
        gradient[:, :, : ctx.frames] = gradients[0].reshape(size, ctx.frames, groups, -1).permute(2, 0, 1, 3)
        gradient = gradient.view(groups, size * blocks, -1)
        of_weight = of_signal = None
        if ctx.needs_input_grad[1]:
            of_band = torch.bmm(gradient.transpose(1, 2), windows).view(groups, ctx.block, all_outs // groups, -1)
            parts = [of_band[:, i, :, i * inputs : (i + taps) * inputs] for i in range(ctx.block)]
            summed = torch.stack(parts).sum(0).view(all_outs, taps, inputs)
            of_weight = summed.transpose(1, 2)
        if ctx.needs_input_grad[0]:
            of_windows = torch.bmm(gradient, band).view(groups, size, blocks, -1)
            padded = windows.new_zeros(groups, size, (blocks * ctx.block + taps - 1) * inputs)
            hop, width = ctx.block * inputs, of_windows.shape[3]
            for i in range(blocks):
                padded[:, :, i * hop : i * hop + width] += of_windows[:, :, i]
            own = padded.view(groups, size, -1, inputs)[:, :, ctx.padding : ctx.padding + samples]
            of_signal = own.permute(1, 2, 0, 3).reshape(size, samples, channels)
        return of_signal, of_weight, None, None


def _windows(signal: Tensor, block: int, blocks: int, taps: int, padding: int, groups: int) -> Tensor:
    """Return the inputs of each block of outputs: (groups, batch * blocks, (block + taps - 1) * channels per group)."""
    size, samples, channels = signal.shape
    inputs = channels // groups
    length = blocks * block + taps - 1
    padded = signal.new_zeros(groups, size, length, inputs)
    kept = min(samples, length - padding)
    padded[:, :, padding : padding + kept] = signal[:, :kept].reshape(size, kept, groups, inputs).permute(2, 0, 1, 3)
    seen = padded.view(groups, size, -1).unfold(2, (block + taps - 1) * inputs, block * inputs)
    return seen.reshape(groups, size * blocks, -1)


def _band(weight: Tensor, block: int, groups: int) -> Tensor:
    """Return the band matrix: (groups, block * out channels per group, (block + taps - 1) * channels per group)."""
    all_outs, inputs, taps = weight.shape
    kernel = weight.transpose(1, 2).reshape(groups, all_outs // groups, taps * inputs)
    band = weight.new_zeros(groups, block, all_outs // groups, (block + taps - 1) * inputs)
    for i in range(block):
        band[:, i, :, i * inputs : (i + taps) * inputs] = kernel
    return band.view(groups, -1, band.shape[3])
