"""The inputs of the wav2vec2 families as batched torch code: waveforms of one length with mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls.models.spectrograms import FrontEnd


class WaveformFrontEnd(FrontEnd):
    """Computes what `Wav2Vec2FeatureExtractor` returns for clips padded to `samples`, up to rounding.

    Without a mask, a clip is normalized together with its padding, as in the extractor.
    """

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_values` (batch, samples), and `attention_mask` of the same shape if the extractor has one."""
        values = F.pad(waveforms, (0, self.samples - waveforms.shape[1]))
        valid = torch.arange(self.samples, device=values.device) < lengths[:, None]
        masked = self.extractor.return_attention_mask
        if self.extractor.do_normalize:
            counts = lengths[:, None] if masked else torch.full_like(lengths[:, None], self.samples)
            values = values - values.sum(1, keepdim=True) / counts
            real = values * valid if masked else values
            values = real / (real.square().sum(1, keepdim=True) / counts + 1e-7).sqrt()
        if not masked:
            return {"input_values": values}
        values = values.where(valid, self.extractor.padding_value)
        return {"input_values": values, "attention_mask": valid.int()}
