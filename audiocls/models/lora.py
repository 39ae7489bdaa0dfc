"""LoRA: low-rank matrices that are trained instead of the encoder's frozen weights, and merged into them at the end.

Source:
    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685; implemented by peft.
"""

from __future__ import annotations

from transformers import PreTrainedModel

from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of
from audiocls.params import LoraParams

_ADAPTER = "default"


def add_lora(model: PreTrainedModel, params: LoraParams, targets: tuple[str, ...]) -> None:
    """Freeze the encoder and add LoRA to some of its layers, in place; the head is unchanged.

    Args:
        model: Any model whose encoder has linear layers.
        params: `target_modules` are suffixes of layer names.
        targets: The family's layers, used if the params name none.

    Raises:
        ParamsError: No layer has such a name, or peft has no LoRA for this type of layer.
    """
    from peft import LoraConfig, LoraModel  # in the extra `lora`

    config = LoraConfig(
        r=params.rank,
        lora_alpha=params.alpha,
        lora_dropout=params.dropout,
        target_modules=params.target_modules or list(targets),
    )
    encoder = encoder_of(model)
    head = [weight for weight in model.parameters() if not any(weight is inside for inside in encoder.parameters())]
    try:
        LoraModel(encoder, {_ADAPTER: config}, _ADAPTER)
    except ValueError as error:
        raise ParamsError(f"model.lora.target_modules: {' '.join(str(error).split())}") from error
    for weight in head:
        weight.requires_grad = True


def merge_lora(model: PreTrainedModel) -> None:
    """Merge LoRA into the weights, in place; the result is an ordinary model."""
    from peft.tuners.lora import LoraLayer

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, module.get_base_layer())
