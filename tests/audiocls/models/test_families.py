from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_configs import TINY_CONFIGS

from audiocls.batches.dataset import Collator
from audiocls.batches.lengths import input_samples
from audiocls.errors import ParamsError
from audiocls.models.depth import encoder_of
from audiocls.models.families import build_model, config_mistakes, load_model, save_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)
LABELS = ["a", "b", "c"]
WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate((4_800, 3_000))]


def params(family: str, **fields) -> ModelParams:
    return ModelParams(family=family, config=TINY_CONFIGS[family], **fields)


def logits(model, extractor, waveforms=WAVEFORMS) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**model_inputs(waveforms, extractor, input_samples(AUDIO))).logits


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture
def checkpoint(family, tmp_path) -> Path:
    torch.manual_seed(0)
    save_model(*build_model(params(family), AUDIO, LABELS), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_the_contract_covers_every_family():
    assert set(TINY_CONFIGS) == set(FAMILIES)


def test_labels_stand_in_the_config(family):
    model, _ = build_model(params(family), AUDIO, LABELS)
    assert model.config.num_labels == 3
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}


def test_raw_waveforms_in_give_logits_out_in_batches(family):
    model, extractor = build_model(params(family), AUDIO, LABELS)
    assert logits(model, extractor).shape == (2, 3)


def test_saved_and_loaded_the_logits_are_the_same(family, tmp_path):
    model, extractor = build_model(params(family), AUDIO, LABELS)
    save_model(model, extractor, tmp_path / "model")
    torch.testing.assert_close(logits(model, extractor), logits(*load_model(tmp_path / "model")), rtol=1e-5, atol=1e-6)
    assert [path.name for path in (tmp_path / "model").glob("*.safetensors")] == ["model.safetensors"]
    assert not list((tmp_path / "model").glob("*.bin"))


def test_a_local_checkpoint_keeps_its_encoder_and_gets_a_head_for_the_data(family, checkpoint):
    old, _ = load_model(checkpoint)
    new, _ = build_model(ModelParams(family=family, pretrained=str(checkpoint)), AUDIO, ["x", "y", "z", "w", "v"])
    assert new.config.num_labels == 5
    assert new.config.id2label[4] == "v"
    kept = encoder_of(new).state_dict()
    for name, weight in encoder_of(old).state_dict().items():
        assert torch.equal(weight, kept[name]), name


@pytest.mark.parametrize(
    ("family", "pretraining", "encoder"),
    [
        ("whisper", transformers.WhisperForConditionalGeneration, "model.encoder"),
        ("wav2vec2", transformers.Wav2Vec2ForPreTraining, "wav2vec2"),
        ("hubert", transformers.HubertModel, ""),
        ("wav2vec2-bert", transformers.Wav2Vec2BertModel, ""),
        ("clap", transformers.ClapModel, "audio_model"),
        ("clap", transformers.ClapAudioModelWithProjection, "audio_model"),
        ("clap", transformers.ClapAudioModel, ""),
    ],
)
def test_a_checkpoint_of_another_task_keeps_its_encoder(family, pretraining, encoder, tmp_path):
    model, extractor = build_model(params(family), AUDIO, LABELS)
    config = copy.deepcopy(model.config)
    if family == "whisper":
        config.update({"decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 64})
        config.update({"vocab_size": 9, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2})
        config.update({"decoder_start_token_id": 1})
    if pretraining is transformers.ClapModel:
        text = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
        config = transformers.ClapConfig(text_config=text | {"intermediate_size": 8}, audio_config=config)
    source = pretraining(config)
    save_model(source, extractor, tmp_path)
    kept, _ = build_model(ModelParams(family=family, pretrained=str(tmp_path)), AUDIO, LABELS)
    found = encoder_of(kept).state_dict()
    expected = source.get_submodule(encoder).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())


def test_the_collator_adds_labels_and_one_length(family):
    _, extractor = build_model(params(family), AUDIO, LABELS)
    batch = Collator(extractor, AUDIO)([(WAVEFORMS[0], 2), (WAVEFORMS[1], 0)])
    assert batch["labels"].tolist() == [2, 0]
    assert all(len(tensor) == 2 for tensor in batch.values())


@pytest.mark.parametrize(("norm", "has_mask"), [("group", False), ("layer", True)])
def test_a_mask_is_given_only_where_the_front_end_normalises_by_layer(norm, has_mask):
    config = TINY_CONFIGS["wav2vec2"] | {"feat_extract_norm": norm}
    _, extractor = build_model(ModelParams(family="wav2vec2", config=config), AUDIO, LABELS)
    assert ("attention_mask" in model_inputs(WAVEFORMS, extractor, 4_800)) == has_mask


def test_freezing_the_encoder_leaves_the_head_to_train(family):
    model, _ = build_model(params(family, freeze="encoder"), AUDIO, LABELS)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trainable
    assert all(name.startswith(("classifier", "projector")) for name in trainable)


@pytest.mark.parametrize("family", ["wav2vec2", "hubert", "data2vec-audio", "wavlm"])
def test_freezing_the_feature_encoder_leaves_the_transformer_to_train(family):
    model, _ = build_model(params(family, freeze="feature_encoder"), AUDIO, LABELS)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert all("feature_extractor" in name for name in frozen)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"], indirect=True)
def test_a_checkpoint_of_another_family_is_refused(checkpoint, family):
    other = "wavlm" if family != "wavlm" else "hubert"
    with pytest.raises(ParamsError, match=f"is a {family}, and model"):
        build_model(ModelParams(family=other, pretrained=str(checkpoint)), AUDIO, LABELS)


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"], indirect=True)
def test_a_checkpoint_of_another_rate_is_refused(checkpoint, family):
    with pytest.raises(ParamsError, match=r"set audio\.sample_rate_hz=16000"):
        build_model(ModelParams(family=family, pretrained=str(checkpoint)), AudioParams(sample_rate_hz=8_000), LABELS)


def test_a_checkpoint_that_is_not_there_is_named():
    with pytest.raises(ParamsError, match=r"model\.pretrained = no/such: cannot be loaded"):
        build_model(ModelParams(family="wav2vec2", pretrained="no/such"), AUDIO, LABELS)


def test_weights_as_pickle_are_refused(tmp_path):
    model, extractor = build_model(params("wav2vec2"), AUDIO, LABELS)
    save_model(model, extractor, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ParamsError, match="safetensors"):
        build_model(ModelParams(family="wav2vec2", pretrained=str(tmp_path)), AUDIO, LABELS)


def test_clips_too_short_for_the_front_end_are_a_params_error():
    with pytest.raises(ParamsError, match=r"audio\.max_seconds = 0\.002 is too short"):
        build_model(params("wav2vec2"), AudioParams(max_seconds=0.002), LABELS)


def test_spans_of_specaugment_fit_into_short_clips():
    model, extractor = build_model(params("wav2vec2"), AudioParams(max_seconds=0.05), LABELS)
    batch = model_inputs([WAVEFORMS[0][:800]], extractor, 800)
    assert torch.isfinite(model.train()(**batch).logits).all()


def test_the_spectrogram_transformer_is_as_long_as_the_clips():
    model, extractor = build_model(params("audio-spectrogram-transformer"), AUDIO, LABELS)
    frames = 1 + (4_800 - 400) // 160
    assert model.config.max_length == extractor.max_length == frames


def test_unknown_fields_and_wrong_values_of_a_config_are_named():
    mistakes = dict(config_mistakes("wav2vec2", {"hidden_sizes": 3, "hidden_size": "many"}))
    assert "has no such field" in mistakes["model.config.hidden_sizes"]
    assert "hidden_size" in mistakes["model.config"]


def test_a_config_that_cannot_be_built_says_why():
    config = TINY_CONFIGS["wav2vec2"] | {"num_attention_heads": 5}
    with pytest.raises(ParamsError, match="num_heads"):
        build_model(ModelParams(family="wav2vec2", config=config), AUDIO, LABELS)
