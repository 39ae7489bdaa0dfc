"""Checkpoints with habits of their own: a tiny one of a family, saved, and then changed as people change them."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_configs import TINY_CONFIGS

from audiocls.models.families import build_model, save_model
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)
_TEXT = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
_SPEECH = {
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "vocab_size": 9, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
}  # fmt: skip
_OTHER_LABELS = {"id2label": {"0": "cat", "1": "low", "2": "dog", "3": "high"}, "label2id": {"low": 1, "high": 3}}


class Odd(NamedTuple):
    """What is done to a saved checkpoint of a family."""

    family: str = "wav2vec2"
    config: Mapping[str, Any] = MappingProxyType({})  # None takes the field away
    extractor: Mapping[str, Any] = MappingProxyType({})
    stored_as: torch.dtype | None = None
    network: Callable[[Any], torch.nn.Module] | None = None


def _whisper(config: Any) -> torch.nn.Module:
    return transformers.WhisperForConditionalGeneration(type(config)(**config.to_dict() | _SPEECH))


def _clap(config: Any) -> torch.nn.Module:
    return transformers.ClapModel(transformers.ClapConfig(text_config=_TEXT, audio_config=copy.deepcopy(config)))


def _ctc(config: Any) -> torch.nn.Module:
    return transformers.Wav2Vec2ForCTC(type(config)(**config.to_dict() | {"vocab_size": 9, "pad_token_id": 0}))


ODD = {
    "fp16": Odd(stored_as=torch.float16, config={"dtype": "float16", **_OTHER_LABELS}),
    "bf16, the older name": Odd(stored_as=torch.bfloat16, config={"dtype": None, "torch_dtype": "bfloat16"}),
    "fp64, and the config says fp16": Odd(stored_as=torch.float64, config={"dtype": "float16"}),
    "fp16, spectrograms": Odd("audio-spectrogram-transformer", {"dtype": "float16"}, stored_as=torch.float16),
    "bf16 and tuples, our own": Odd(
        "logmel-resnet", {"dtype": "bfloat16", "return_dict": False}, stored_as=torch.bfloat16
    ),
    "regression": Odd(config={"problem_type": "regression", "id2label": {"0": "x"}, "label2id": {"x": 0}}),
    "several labels": Odd(config={"problem_type": "multi_label_classification"}),
    "several labels, spectrograms": Odd(
        "audio-spectrogram-transformer", {"problem_type": "multi_label_classification", **_OTHER_LABELS}
    ),
    "labels that are no names": Odd(config={"id2label": {"0": 5, "1": None}, "label2id": ["a", "b"]}),
    "a number of labels alone": Odd(config={"id2label": None, "label2id": None, "num_labels": 7}),
    "no dropout fits": Odd(config={"hidden_dropout": 0.99, "layerdrop": 1.0, "mask_time_prob": 1.0}),
    "a sum of layers": Odd(config={"use_weighted_layer_sum": True, "layerdrop": 0.5, "apply_spec_augment": False}),
    "a form of output": Odd(
        config={"return_dict": False, "output_hidden_states": True, "torchscript": True, "gradient_checkpointing": True}
    ),
    "tuples, clap": Odd("clap", {"return_dict": False}),
    "attentions": Odd(config={"output_attentions": True, "architectures": None, "finetuning_task": "wav2vec2_clf"}),
    "flash attention": Odd(config={"attn_implementation": "flash_attention_2"}),
    "speech recognition by CTC": Odd(network=_ctc),
    "whisper with its decoder": Odd(
        "whisper",
        {"max_length": 448, "suppress_tokens": [1], "forced_decoder_ids": [[1, 2]]},
        {"dither": 0.1, "return_attention_mask": True},
        torch.float16,
        _whisper,
    ),
    "a bare encoder": Odd("hubert", network=transformers.HubertModel),
    "a whole clap": Odd("clap", network=_clap),
    "padding in front": Odd(extractor={"padding_side": "left", "padding_value": 1.0}),
    "a mask where the norm is by group": Odd(extractor={"return_attention_mask": True}),
    "waveforms as they are": Odd(extractor={"do_normalize": False, "feature_extractor_type": None}),
    "no mask for wav2vec2-bert": Odd("wav2vec2-bert", extractor={"return_attention_mask": False, "padding_value": 1}),
}


def write_checkpoint(odd: Odd, folder: Path) -> Path:
    """Save a tiny model of three classes, change it, and return its folder."""
    torch.manual_seed(0)
    params = ModelParams(family=odd.family, config=TINY_CONFIGS[odd.family])
    model, extractor = build_model(params, AUDIO, ["x", "y", "z"])
    save_model(odd.network(model.config) if odd.network else model, extractor, folder)
    edit_json(folder / "config.json", odd.config)
    edit_json(folder / "preprocessor_config.json", odd.extractor)
    if odd.stored_as is not None:
        file = folder / "model.safetensors"
        weights = {name: w.to(odd.stored_as) if w.is_floating_point() else w for name, w in load_file(file).items()}
        save_file(weights, file, metadata={"format": "pt"})
    return folder


def edit_json(file: Path, fields: Mapping[str, Any]) -> None:
    """Set fields of a JSON file; None takes one away."""
    said = json.loads(file.read_text()) | dict(fields)
    file.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))


def copied(folder: Path, target: Path) -> Path:
    """Copy a checkpoint, to be changed."""
    return Path(shutil.copytree(folder, target))
