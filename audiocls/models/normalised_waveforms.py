"""The inputs of the wav2vec2 line as batched torch code: waveforms of one length, each with mean 0 and variance 1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from audiocls.models.spectrograms import FrontEnd


class WaveformFrontEnd(FrontEnd):
    """What `Wav2Vec2FeatureExtractor` makes of clips that are padded to `samples`, up to rounding.

    Without a mask that extractor normalises a clip together with the zeros behind it, and so does this.
    """

    def __call__(self, waveforms: Tensor, lengths: Tensor, places: Tensor | None = None) -> dict[str, Tensor]:
        """Return `input_values` (batch, samples), and `attention_mask` like it where the extractor has one."""
        values = F.pad(waveforms, (0, self.samples - waveforms.shape[1]))
        valid = torch.arange(self.samples, device=values.device) < lengths[:, None]
        masked = self.extractor.return_attention_mask
        if self.extractor.do_normalize:
            counts = lengths[:, None] if masked else torch.full_like(lengths[:, None], self.samples)
            values = values - values.sum(1, keepdim=True) / counts
            heard = values * valid if masked else values
            values = heard / (heard.square().sum(1, keepdim=True) / counts + 1e-7).sqrt()
        if not masked:
            return {"input_values": values}
        values = values.where(valid, self.extractor.padding_value)
        return {"input_values": values, "attention_mask": valid.int()}
