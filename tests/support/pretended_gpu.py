"""A GPU pretended on the CPU, so that code for one runs where there is none.

Tensors that are sent there stay in the processor's memory, and their storages are remembered. Their `device` is
cuda:0, and what CUDA refuses is refused: an operation on tensors of both devices, and numpy. Autocast is the CPU's,
random numbers come from the CPU's generator. Kernels, pinned memory and speed are not those of a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GPU = torch.device("cuda", 0)
_GENERATOR = torch.zeros(16, dtype=torch.uint8)
_CUDA = {
    "is_available": lambda: True,
    "device_count": lambda: 1,
    "current_device": lambda: 0,
    "set_device": lambda device: None,
    "get_device_name": lambda device=None: "pretended",
    "get_device_capability": lambda device=None: (8, 0),
    "is_bf16_supported": lambda including_emulation=True: True,
    "synchronize": lambda device=None: None,
    "empty_cache": lambda: None,
}
_CUDA_RANDOM = {
    "get_rng_state": lambda device="cuda": _GENERATOR,
    "set_rng_state": lambda state, device="cuda": None,
    "get_rng_state_all": lambda: [_GENERATOR],
    "set_rng_state_all": lambda states: None,
    "manual_seed": lambda seed: None,
    "manual_seed_all": lambda seed: None,
}
_aten = torch.ops.aten
_COPIES = {_aten.copy_.default, _aten._to_copy.default}
_INDEXINGS = {
    _aten.index.Tensor, _aten._unsafe_index.Tensor, _aten.index_put.default, _aten.index_put_.default,
    _aten._index_put_impl_.default,
}  # fmt: skip


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let torch, transformers and accelerate find one GPU."""
    memory = _Memory()
    autocast = torch.autocast.__init__

    def autocast_here(self: torch.autocast, device_type: str, *args: Any, **kwargs: Any) -> None:
        autocast(self, "cpu" if device_type == "cuda" else device_type, *args, **kwargs)

    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **_CUDA, **_CUDA_RANDOM))
        stack.enter_context(mock.patch.multiple(torch.cuda.random, **_CUDA_RANDOM))
        stack.enter_context(mock.patch.object(torch.autocast, "__init__", autocast_here))
        stack.enter_context(_Operations(memory))
        stack.enter_context(_Calls(memory))
        yield


class _Memory:
    """Which storages are on the GPU, and how tensors are made in a call."""

    def __init__(self) -> None:
        self._storages: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self.in_backward = False  # in which torch itself makes zeros, on the device of the others
        self.made_there = False  # what a call with tensors of the GPU makes without a word on the device

    def holds(self, value: Any) -> bool:
        """Return whether this is a tensor on the GPU."""
        if not isinstance(value, Tensor):
            return False
        with torch._C.DisableTorchFunction():
            return value.device.type == "cpu" and value.untyped_storage() in self._storages

    def take(self, tensor: Tensor, there: bool = True) -> None:
        """Have a tensor's storage on the GPU from now on, or no longer."""
        with torch._C.DisableTorchFunction():
            (self._storages.add if there else self._storages.discard)(tensor.untyped_storage())

    def holds_any(self, values: Any) -> bool:
        """Return whether a tensor on the GPU is among these arguments."""
        return any(self.holds(value) for value in tree_leaves(values))


class _Operations(TorchDispatchMode):
    """Refuses operations on tensors of both devices, and has the results of the GPU's there."""

    def __init__(self, memory: _Memory) -> None:
        super().__init__()
        self._memory = memory

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        memory, kwargs = self._memory, kwargs or {}
        tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        there = memory.holds_any(tensors)
        if there and func not in _COPIES:
            here = [t for t in tensors if t.dim() and t.device.type == "cpu" and not memory.holds(t)]
            if func in _INDEXINGS and memory.holds(args[0]):  # places may be the CPU's, as CUDA has it
                here = [t for t in here if not any(t is place for place in args[1] or ())]
            if here and not memory.in_backward:
                shapes = [tuple(t.shape) for t in here]
                raise RuntimeError(f"{func}: tensors on the GPU, and on the CPU those of shapes {shapes}")
            for tensor in here:
                memory.take(tensor)
        result = func(*args, **kwargs)
        if there or (not tensors and memory.made_there):
            for made in tree_leaves(result):
                if isinstance(made, Tensor) and not any(made is tensor for tensor in tensors):
                    memory.take(made)
        return result


class _Calls(TorchFunctionMode):
    """Answers for the device of a tensor, and sends tensors from one to the other."""

    def __init__(self, memory: _Memory) -> None:
        super().__init__()
        self._memory = memory

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        memory, kwargs = self._memory, dict(kwargs or {})
        if func == Tensor.device.__get__ and memory.holds(args[0]):
            return GPU
        if func == Tensor.is_cuda.__get__ or func == Tensor.is_cpu.__get__:
            return memory.holds(args[0]) == (func == Tensor.is_cuda.__get__)
        if func in (Tensor.numpy, Tensor.__array__) and memory.holds(args[0]):
            raise TypeError("can't convert cuda:0 device type tensor to numpy: use Tensor.cpu() first")
        if func == Tensor.cpu:
            return self._sent(args[0], torch.device("cpu"))
        if func == Tensor.to:
            return self._to(*args, **kwargs)
        sent = _is_gpu(kwargs.get("device"))
        if sent:
            kwargs["device"] = "cpu"
        before = memory.in_backward, memory.made_there
        memory.in_backward |= func == Tensor.backward
        memory.made_there = "device" not in kwargs and memory.holds_any((args, kwargs))
        try:
            result = func(*args, **kwargs)
        finally:
            memory.in_backward, memory.made_there = before
        if sent:
            memory.take(result)
        return result

    def _to(self, tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        device, dtype = kwargs.get("device"), kwargs.get("dtype")
        for wish in args:
            if isinstance(wish, torch.dtype):
                dtype = wish
            elif isinstance(wish, Tensor):
                device, dtype = GPU if self._memory.holds(wish) else wish.device, wish.dtype
            elif wish is not None and not isinstance(wish, bool):
                device = wish
        result = tensor if device is None else self._sent(tensor, device)
        result = result if dtype is None else result.to(dtype)
        return result.clone() if kwargs.get("copy") and result is tensor else result

    def _sent(self, tensor: Tensor, device: torch.device | str | int) -> Tensor:
        if not _is_gpu(device) and torch.device(device).type != "cpu":
            return tensor.to(device)
        if self._memory.holds(tensor) == _is_gpu(device):
            return tensor
        sent = tensor.clone()  # through which gradients come back
        self._memory.take(sent, there=_is_gpu(device))
        return sent


def _is_gpu(device: Any) -> bool:
    return device is not None and (isinstance(device, int) or torch.device(device).type == "cuda")
