"""What computes the logits of windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from audiocls.batches import fill, input_samples
from audiocls.models import model_inputs, pooled_embeddings
from audiocls.params import AudioParams


class Runtime(Protocol):
    """Scores windows; `TorchRuntime` is one."""

    def logits(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits of windows of up to the input's length, shape (num_windows, num_classes)."""


class TorchRuntime:
    """The model in PyTorch, on any device."""

    def __init__(self, model: PreTrainedModel, extractor: Any, audio: AudioParams) -> None:
        """Score with a model in evaluation mode, whose inputs are as the params say."""
        self.model = model.eval()
        self._extractor = extractor
        self._audio = audio
        self._samples = input_samples(audio)

    @torch.inference_mode()
    def logits(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the logits of windows, shape (num_windows, num_classes)."""
        logits: NDArray[np.float32] = self.model(**self._inputs(windows)).logits.float().cpu().numpy()
        return logits

    @torch.inference_mode()
    def embeddings(self, windows: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return what the model's head takes of windows, shape (num_windows, dim)."""
        pooled: NDArray[np.float32] = pooled_embeddings(self.model, self._inputs(windows)).float().cpu().numpy()
        return pooled

    def _inputs(self, windows: Sequence[NDArray[np.float32]]) -> dict[str, torch.Tensor]:
        filled = [fill(window, self._samples, self._audio.pad) for window in windows]
        inputs = model_inputs(filled, self._extractor, self._samples)
        return {name: tensor.to(self.model.device) for name, tensor in inputs.items()}


def choose_device(device: str) -> str:
    """Return the device that "auto" is here, a GPU if there is one; leave other names as they are."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
