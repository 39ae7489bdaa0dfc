"""CLAP's audio tower with a linear head, for which transformers has no classifier."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ClapAudioConfig, ClapAudioModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.clap.modeling_clap import ClapPreTrainedModel


class ClapForAudioClassification(ClapPreTrainedModel):  # type: ignore[misc]  # transformers has no types
    """A linear layer on the pooled output of the audio tower, whose input is that of `ClapFeatureExtractor`.

    It also loads a whole `ClapModel`, its audio tower, or the tower with its projection: all use the same names for the
    tower's weights.

    Source:
        Wu et al. 2023, "Large-scale Contrastive Language-Audio Pretraining", arXiv:2211.06687.
    """

    config_class = ClapAudioConfig
    main_input_name = "input_features"
    base_model_prefix = "audio_model"
    # The tower's stages can be recomputed; its batch norms, which cannot, come before them.
    supports_gradient_checkpointing = True
    _keys_to_ignore_on_load_unexpected = [r"^text_", r"^audio_projection\.", r"^logit_scale_"]  # noqa: RUF012

    def __init__(self, config: ClapAudioConfig) -> None:
        super().__init__(config)
        self.audio_model = ClapAudioModel(config)
        dims = self.audio_model.audio_encoder.num_features
        if config.hidden_size != dims:
            raise ValueError(
                f"hidden_size is {config.hidden_size}, and must be {dims}: patch_embeds_hidden_size, doubled for each "
                "stage in depths after the first"
            )
        self.classifier = nn.Linear(dims, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_features: Tensor,
        is_longer: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Classify clips.

        Args:
            input_features: Shape (batch, 1, frames, mel_bins), or with `enable_fusion` (batch, 4, frames, mel_bins).
            is_longer: Boolean (batch, 1), True where the four inputs differ and are fused; ignored without
                `enable_fusion`.
            labels: Class indices, shape (batch,). If given, the output has their cross entropy.
            return_dict: False returns a plain tuple.
            **options: Options of the tower, e.g. `output_hidden_states`.
        """
        encoded = self.audio_model(input_features=input_features, is_longer=is_longer, **options)
        logits = self.classifier(encoded.pooler_output)
        output = SequenceClassifierOutput(
            loss=None if labels is None else F.cross_entropy(logits.float(), labels),
            logits=logits,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )
        wants_dict = self.config.return_dict if return_dict is None else return_dict
        return output if wants_dict else output.to_tuple()
