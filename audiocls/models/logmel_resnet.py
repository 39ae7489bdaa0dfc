"""`logmel-resnet`: a compact residual network on log-mel spectrograms, fast enough to train on a laptop's CPU."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, initialization
from transformers.modeling_outputs import SequenceClassifierOutput

from audiocls.errors import DataError
from audiocls.models.image_convolution import ImageConv2d
from audiocls.models.log_mel import LogMel, mask_spans
from audiocls.models.logmel_resnet_config import LogmelResnetConfig


class ConvNorm(nn.Sequential):
    """A square convolution that maps position t * stride to t, and a batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut connection.

    Source:
        He et al. 2016, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.first = ConvNorm(in_channels, out_channels, 3, stride)
        self.second = ConvNorm(out_channels, out_channels, 3, 1)
        changes_shape = stride > 1 or in_channels != out_channels
        self.shortcut = ConvNorm(in_channels, out_channels, 1, 1) if changes_shape else nn.Identity()

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, channels, frames, bins) and the mask (batch, 1, frames, bins) that is 0 where `x` is padding."""
        valid = valid[:, :, :: self.stride, :: self.stride]
        hidden = F.relu(self.first(x)) * valid
        # Not a strided convolution: with few channels, torch 2.13 writes beyond the end of its gradient on some CPUs.
        shortcut = self.shortcut(x[:, :, :: self.stride, :: self.stride])
        return F.relu(self.second(hidden) + shortcut) * valid, valid


class LogmelResnetEncoder(nn.Module):
    """Everything before the classifier: log-mel frames, residual stages, pooling."""

    def __init__(self, config: LogmelResnetConfig) -> None:
        super().__init__()
        self.config = config
        self.log_mel = _build_log_mel(config)
        self.input_norm = nn.BatchNorm1d(config.num_mel_bins, affine=config.input_affine)
        self.stem = nn.Sequential(ImageConv2d(config.stem_channels, 5, 2), nn.BatchNorm2d(config.stem_channels))
        self.blocks = nn.ModuleList()
        for width_in, width in pairwise([config.stem_channels, *config.channels]):
            self.blocks.append(ResidualBlock(width_in, width, 2))
            self.blocks.extend(ResidualBlock(width, width, 1) for _ in range(config.blocks_per_stage - 1))

    def forward(self, waveforms: Tensor, mask: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map waveforms and their boolean mask, both (batch, samples).

        Returns:
            Embeddings (batch, hidden_size), and the output of each block (batch, channels, frames, bins).
        """
        frames, frame_mask = self.log_mel(waveforms, mask)
        frames = self._normalise(frames, frame_mask)
        x = self._as_image(frames)
        x = F.relu(self.stem(x))
        # As wide as the bins: ONNX Runtime takes several times as long to repeat single numbers while it multiplies.
        valid = frame_mask[:, None, ::2, None].to(x.dtype).expand(-1, -1, -1, x.shape[3])
        x = x * valid
        hidden_states = []
        for block in self.blocks:
            x, valid = block(x, valid)
            hidden_states.append(x)
        return _pool(x, valid), tuple(hidden_states)

    def train(self, mode: bool = True) -> LogmelResnetEncoder:
        """Stay in evaluation mode once frozen: otherwise batch norms would still update their statistics."""
        return super().train(mode and any(weight.requires_grad for weight in self.parameters()))

    def _as_image(self, frames: Tensor) -> Tensor:
        # This view is channels last, and the convolutions keep that format: a quarter faster on a CPU than with
        # `unsqueeze(1)`, whose strides `contiguous` would not change, because there is only one channel.
        return frames.unsqueeze(3).movedim(3, 1)

    def _normalise(self, frames: Tensor, frame_mask: Tensor) -> Tensor:
        """Normalize each mel bin over the valid frames, and mask spans in training."""
        kind = next(self.stem.parameters()).dtype
        if not (self.training or self.input_norm.training):  # the same without indices, which a graph cannot have
            normal = self.input_norm(frames.to(kind).flatten(0, 1)).view_as(frames)
            return normal * frame_mask[:, :, None]
        normal = torch.zeros_like(frames, dtype=kind)
        normal[frame_mask] = self.input_norm(frames[frame_mask].to(kind))
        if self.training and self.config.mask_time_prob > 0:
            normal = mask_spans(normal, 1, self.config.mask_time_prob, self.config.mask_time_length)
        if self.training and self.config.mask_feature_prob > 0:
            normal = mask_spans(normal, 2, self.config.mask_feature_prob, self.config.mask_feature_length)
        return normal


class LogmelResnetForAudioClassification(PreTrainedModel):  # type: ignore[misc]  # transformers has no types
    """Maps raw mono waveforms to logits; in evaluation logits = classifier(embed(waveforms))."""

    config_class = LogmelResnetConfig
    main_input_name = "input_values"
    base_model_prefix = "encoder"

    def __init__(self, config: LogmelResnetConfig) -> None:
        super().__init__(config)
        self.encoder = LogmelResnetEncoder(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, LogMel):
            module.reset_buffers()
        elif isinstance(module, nn.Conv2d):
            initialization.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        else:
            super()._init_weights(module)

    def freeze_encoder(self) -> None:
        """Train only the classifier; the encoder is frozen and stays in evaluation mode."""
        self.encoder.requires_grad_(False).eval()

    def embed(self, input_values: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Return the classifier's input, shape (batch, config.hidden_size), before dropout."""
        return self._encode(input_values, attention_mask)[0]

    # No **kwargs: Trainer would assume that the model divides the loss by the items of all accumulated batches.
    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify clips.

        Args:
            input_values: Waveforms in [-1, 1] at `config.sampling_rate`, shape (batch, samples).
            attention_mask: Shape (batch, samples), 1 where a sample is real and 0 where padded; None: all are real.
            labels: Class indices, shape (batch,). If given, the output has their cross entropy.
            output_hidden_states: Also return the output of each block.
            return_dict: False returns a plain tuple.
        """
        embeddings, blocks = self._encode(input_values, attention_mask)
        logits = self.classifier(self.dropout(embeddings))
        wants_blocks = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        output = SequenceClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=blocks if wants_blocks else None,
        )
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()

    def _encode(self, input_values: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        if input_values.ndim != 2 or (attention_mask is not None and attention_mask.shape != input_values.shape):
            mask_shape = None if attention_mask is None else tuple(attention_mask.shape)
            raise DataError(
                f"input_values has shape {tuple(input_values.shape)} and attention_mask {mask_shape}, and both must be "
                "(batch, samples). The model's feature extractor makes them from mono waveforms."
            )
        mask = torch.ones_like(input_values, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        embeddings, blocks = self.encoder(input_values, mask)
        return embeddings, blocks


def _build_log_mel(config: LogmelResnetConfig) -> LogMel:
    return LogMel(
        sampling_rate=config.sampling_rate,
        num_mel_bins=config.num_mel_bins,
        window_samples=config.window_samples,
        hop_samples=config.hop_samples,
        fft_size=config.resolved_fft_size,
        min_frequency_hz=config.min_frequency_hz,
        max_frequency_hz=config.top_frequency_hz,
    )


def _pool(x: Tensor, valid: Tensor) -> Tensor:
    """Return mean and maximum over the valid positions of `x`, which is >= 0, and 0 at invalid positions."""
    positions = valid[..., :1].sum((2, 3)).clamp(min=1) * x.shape[3]
    return torch.cat([x.sum((2, 3)) / positions, x.amax((2, 3))], dim=1)
