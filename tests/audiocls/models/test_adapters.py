"""What each family promises of itself: what is frozen, what padding does, how long its input may be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS

from audiocls.batches.dataset import Collator
from audiocls.errors import ParamsError
from audiocls.models.adapters import ADAPTERS
from audiocls.models.depth import parameter_depths
from audiocls.models.embeddings import apply_head, pooled_embeddings
from audiocls.models.families import build_model, config_mistakes, load_model, save_model
from audiocls.models.freezing import frozen_modules, quieten
from audiocls.models.inputs import model_inputs
from audiocls.params.model import FAMILIES, RAW_WAVEFORM_FAMILIES, ModelParams
from audiocls.params.run import AudioParams

AUDIO = AudioParams(max_seconds=0.3)
SAMPLES = 4_800
WAVEFORMS = [np.random.default_rng(i).normal(0, 0.1, size).astype(np.float32) for i, size in enumerate((4_800, 3_000))]
SUMS = [name for name in FAMILIES if name not in ("logmel-resnet", "audio-spectrogram-transformer", "clap")]


def build(family: str, config=None, audio=AUDIO, **fields):
    torch.manual_seed(0)
    return build_model(ModelParams(family=family, config=TINY_CONFIGS[family] | (config or {}), **fields), audio, "abc")


def logits(model, extractor, waveforms=WAVEFORMS, samples=SAMPLES) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**model_inputs(waveforms, extractor, samples)).logits


def gradients(model, batch) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    model.zero_grad()
    torch.nn.functional.cross_entropy(model(**batch).logits, torch.tensor([0, 1])).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def with_lively_weights(model):
    """Move biases and norms from where they begin, so that padding leaves its mark wherever it can."""
    for weight in model.parameters():
        if weight.ndim == 1:
            weight.data += 0.1 * torch.randn(weight.shape)
    return model


NORMS = [name for name in RAW_WAVEFORM_FAMILIES if name != "data2vec-audio"]  # which has its own
ANY_LENGTH = [(family, norm) for family in NORMS for norm in ("group", "layer")] + [
    (family, None) for family in ("logmel-resnet", "data2vec-audio", "wav2vec2-bert")
]


@pytest.mark.parametrize(("family", "norm"), ANY_LENGTH)
def test_padding_changes_logits_only_where_the_adapter_says_so(family, norm):
    model, extractor = build(family, {} if norm is None else {"feat_extract_norm": norm})
    with_lively_weights(model)
    assert ADAPTERS[family].longest_samples(model.config, extractor) is None
    found = [logits(model, extractor, WAVEFORMS[1:], samples) for samples in (3_000, 4_800, 14_400)]
    found.append(logits(model, extractor, WAVEFORMS)[1:])
    largest = found[0].abs().max()
    changes = max(float((found[0] - other).abs().max() / largest) for other in found[1:])
    assert (changes < 1e-5) == ADAPTERS[family].ignores_padding(model.config), changes


@pytest.mark.parametrize(("family", "norm"), ANY_LENGTH)
def test_batches_as_long_as_their_longest_clip_keep_the_logits_where_the_adapter_allows_them(family, norm):
    spans = {} if family == "logmel-resnet" else {"mask_time_prob": 0.5, "mask_time_length": 4}
    model, extractor = build(family, spans if norm is None else spans | {"feat_extract_norm": norm})
    adapter = ADAPTERS[family]
    if not adapter.ignores_padding(model.config):
        with pytest.raises(
            ParamsError, match=r"training\.group_by_length: .* padded to one length, in training and in evaluation"
        ):
            adapter.least_length(model.config)
        return
    collate = Collator(extractor, AUDIO, adapter.least_length(model.config))
    found = []
    for samples in (1_000, 400):  # of the shorter, SpecAugment's spans would not fit into the frames
        examples = [(WAVEFORMS[1][:samples], 0), (WAVEFORMS[1][: samples - 200], 1)]
        batch = collate(examples)
        whole = Collator(extractor, AUDIO)(examples)
        found.append(max(tensor.shape[1] for tensor in batch.values() if tensor.ndim > 1))
        assert found[-1] < max(tensor.shape[1] for tensor in whole.values() if tensor.ndim > 1) or not spans
        with torch.inference_mode():
            expected = model.eval()(**whole).logits
            torch.testing.assert_close(model(**batch).logits, expected, atol=1e-5, rtol=1e-4)
            assert torch.isfinite(model.train()(**batch).logits).all()
    assert found[1] <= found[0]


def test_families_of_one_length_are_the_others():
    fixed = [name for name in FAMILIES if ADAPTERS[name].longest_samples(*_config_and_extractor(name)) is not None]
    assert sorted({family for family, _ in ANY_LENGTH} | set(fixed)) == sorted(FAMILIES)
    assert fixed == ["audio-spectrogram-transformer", "whisper", "clap"]


def _config_and_extractor(family: str):
    model, extractor = build(family)
    return model.config, extractor


@pytest.mark.parametrize("family", FAMILIES)
def test_a_clips_logits_do_not_depend_on_the_batch_it_is_in(family):
    model, extractor = build(family)
    alone = torch.cat([logits(model, extractor, [waveform]) for waveform in WAVEFORMS])
    torch.testing.assert_close(logits(model, extractor), alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("family", "layers"), [*((family, 1) for family in FAMILIES), *product(("logmel-resnet", "whisper"), (0, 2))]
)
def test_the_lowest_layers_keep_their_weights_and_stay_quiet(family, layers):
    model, extractor = build(family, freeze_layers=layers)
    depths = parameter_depths(model)
    moved = gradients(model, model_inputs(WAVEFORMS, extractor, SAMPLES))
    assert all(depths[name] > layers or depths[name] == 0 for name in moved)
    assert {depth for name, depth in depths.items() if name in moved} - {0} == set(range(layers + 1, 4))
    model.train()
    quieten(frozen_modules(model))
    frozen = [module for module in model.modules() if any(True for _ in module.parameters())]
    for module in frozen:
        trains = any(weight.requires_grad for weight in module.parameters())
        assert module.training == trains
    assert any(not module.training for module in frozen)


@pytest.mark.parametrize(
    ("family", "config", "trained"),
    [
        ("wav2vec2", {}, set()),
        ("wav2vec2", {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}, {"wav2vec2.encoder.layer_norm"}),
        ("sew", {}, {"sew.encoder.upsample.projection"}),
        ("whisper", {}, {"encoder.layer_norm"}),
        ("audio-spectrogram-transformer", {}, {"audio_spectrogram_transformer.layernorm"}),
        ("clap", {}, {"audio_model.audio_encoder.norm"}),
        ("wav2vec2-conformer", {}, {"wav2vec2_conformer.encoder.layer_norm"}),
    ],
)
def test_what_stands_above_the_layers_is_not_frozen_with_the_lowest(family, config, trained):
    model, _ = build(family, config, freeze_layers=1)
    depths = parameter_depths(model)
    outside = [name for name, weight in model.named_parameters() if weight.requires_grad and depths[name] == 0]
    assert {name.rpartition(".")[0] for name in outside} == trained


def test_more_layers_than_there_are_cannot_be_frozen():
    with pytest.raises(ParamsError, match=r"model\.freeze_layers = 3: this hubert has 2 layers"):
        build("hubert", freeze_layers=3)


@pytest.mark.parametrize("family", [name for name in FAMILIES if ADAPTERS[name].can_checkpoint])
def test_activations_computed_anew_give_the_same_gradients(family):
    # What is drawn by numpy's generator is off: layers left out at random, and masked spans.
    off = ("layerdrop", "encoder_layerdrop", "mask_time_prob")
    model, extractor = build(family, {name: 0.0 for name in off if hasattr(build(family)[0].config, name)})
    batch = model_inputs(WAVEFORMS, extractor, SAMPLES)
    model.train()
    plain = gradients(model, batch)
    model.activation_checkpointing_enable({"use_reentrant": False})
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
    found = gradients(model, batch)
    assert found.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("family", SUMS)
def test_the_weighted_sum_of_the_layers_is_trained_saved_and_embedded(family, tmp_path):
    model, extractor = build(family, {"use_weighted_layer_sum": True}, freeze="encoder")
    batch = model_inputs(WAVEFORMS, extractor, SAMPLES)
    assert "layer_weights" in gradients(model, batch)
    model.layer_weights.data = torch.tensor([2.0, -1.0, 0.5])
    model.eval()
    with torch.no_grad():
        expected = model(**batch).logits
    torch.testing.assert_close(apply_head(model, pooled_embeddings(model, batch)), expected, atol=1e-4, rtol=0)
    save_model(model, extractor, tmp_path)
    torch.testing.assert_close(logits(*load_model(tmp_path)), expected, rtol=1e-5, atol=1e-6)
    model.layer_weights.data = torch.tensor([-1.0, 2.0, 0.5])
    assert not torch.allclose(logits(model, extractor), expected, atol=1e-5)


@pytest.mark.parametrize("family", SUMS)
def test_all_layers_of_a_weighted_sum_are_trained_in_every_step(family, tmp_path):
    """transformers drops layers by default, and cannot sum those that are left."""
    summed = {"use_weighted_layer_sum": True}
    config = build(family)[0].config
    drops = {name: 0.9 for name in ("layerdrop", "encoder_layerdrop") if hasattr(config, name)}
    assert bool(drops) == (family != "sew-d")
    save_model(*build(family, drops), tmp_path)
    loaded = build_model(ModelParams(family=family, pretrained=str(tmp_path), config=summed), AUDIO, "abc")
    assert loaded[0].layer_weights.tolist() == pytest.approx([1 / 3] * 3)
    for model, extractor in (build(family, summed), loaded):
        batch = model_inputs(WAVEFORMS, extractor, SAMPLES)
        for _ in range(5):
            moved = gradients(model.train(), batch)
            depths = parameter_depths(model)
            assert {depths[name] for name in moved} == {0, 1, 2, 3}
            assert moved["layer_weights"].shape == (3,)


def test_a_weighted_sum_with_layers_left_out_at_random_is_refused(tmp_path):
    both = {"use_weighted_layer_sum": True, "layerdrop": 0.1}
    message = "skips layers at random, and use_weighted_layer_sum sums all of them; leave out one of the two"
    assert dict(config_mistakes("hubert", both)) == {"model.config.layerdrop": f"= 0.1: {message}"}
    assert not dict(config_mistakes("hubert", both | {"layerdrop": 0.0}))
    save_model(*build("hubert", {"use_weighted_layer_sum": True}), tmp_path)
    with pytest.raises(ParamsError, match=r"model\.config\.layerdrop = 0\.2: skips layers"):
        build_model(ModelParams(family="hubert", pretrained=str(tmp_path), config={"layerdrop": 0.2}), AUDIO, "abc")


@pytest.mark.parametrize("family", SUMS)
def test_fields_of_dropout_and_specaugment_reach_the_network(family):
    def differs(**fields) -> bool:
        """Whether two passes in training differ."""
        model, extractor = build(family, quiet | fields)
        batch = model_inputs(WAVEFORMS, extractor, SAMPLES)
        with torch.no_grad():
            one, other = (model.train()(**batch).logits for _ in range(2))
        return not torch.allclose(one, other, atol=1e-6)

    config = build(family)[0].config.to_dict()
    quiet = {name: 0.0 for name in config if name.endswith(("dropout", "layerdrop", "mask_time_prob"))}
    assert len(quiet) >= 4
    assert not differs()
    assert differs(**{{"whisper": "dropout", "sew-d": "activation_dropout"}.get(family, "hidden_dropout"): 0.5})
    assert differs(mask_time_prob=0.6, mask_time_length=2) == (family != "whisper")


@pytest.mark.parametrize(
    ("family", "field"), [("whisper", "mask_time_prob"), ("sew-d", "hidden_dropout"), ("clap", "projection_dim")]
)
def test_fields_that_the_classifier_does_not_look_at_are_refused(family, field):
    assert dict(config_mistakes(family, {field: 0})) == {
        f"model.config.{field}": f"= 0: has no effect in the classifier of {family}; leave it out"
    }


@pytest.mark.parametrize("family", ["audio-spectrogram-transformer", "whisper"])
def test_a_checkpoint_is_not_given_more_than_its_window(family, tmp_path):
    window = AudioParams(max_seconds=1.0)
    save_model(*build(family, audio=window), tmp_path)
    params = ModelParams(family=family, pretrained=str(tmp_path))
    model, extractor = build_model(params, AudioParams(max_seconds=0.4), ["a", "b"])
    assert logits(model, extractor, samples=6_400).shape == (2, 2)
    with pytest.raises(ParamsError, match=r"audio\.max_seconds = 1\.2: this .* takes 1(\.005)? s and would cut off"):
        build_model(params, AudioParams(max_seconds=1.2), ["a", "b"])


def test_whisper_from_scratch_has_a_window_of_whole_seconds():
    model, extractor = build("whisper", audio=AudioParams(max_seconds=1.3))
    assert model.config.max_source_positions == 100
    assert extractor.n_samples == 32_000
    with pytest.raises(ParamsError, match=r"max_source_positions = 75: is a window of 1\.5 s"):
        build("whisper", {"max_source_positions": 75}, AudioParams(max_seconds=1.3))


def test_a_config_that_does_not_fit_the_checkpoint_is_refused(tmp_path):
    save_model(*build("wav2vec2"), tmp_path)
    params = ModelParams(family="wav2vec2", pretrained=str(tmp_path), config={"intermediate_size": 48})
    with pytest.raises(ParamsError, match=r"model\.config: does not fit the weights .*feed_forward"):
        build_model(params, AUDIO, ["a", "b"])


@pytest.mark.parametrize("samples", [1, 560])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_shortest_clips_give_finite_logits(family, samples):
    model, extractor = build(family)
    assert torch.isfinite(logits(model, extractor, [WAVEFORMS[0][:samples]])).all()


def masked_vector(model) -> torch.Tensor | None:
    return next((weight for name, weight in model.named_parameters() if name.endswith("masked_spec_embed")), None)


@pytest.mark.parametrize("family", [name for name in FAMILIES if masked_vector(build(name, {})[0]) is not None])
def test_a_checkpoint_without_a_vector_for_masked_frames_gets_a_drawn_one(family, tmp_path):
    save_model(*build(family, {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}), tmp_path)
    loaded, _ = build_model(
        ModelParams(family=family, pretrained=str(tmp_path), config={"mask_time_prob": 0.1}), AUDIO, "abc"
    )
    vector = masked_vector(loaded).detach()
    assert 0 <= vector.min() < 0.4
    assert 0.6 < vector.max() <= 1


SHORTENED = [name for name in FAMILIES if ADAPTERS[name].length_field is not None]


def hidden_states(model, batch) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**batch, output_hidden_states=True).hidden_states[-1]


@pytest.mark.parametrize("family", SHORTENED)
def test_a_checkpoint_is_shortened_to_the_clips_and_saved_and_loaded_as_such(family, tmp_path):
    long_audio, short_audio = AudioParams(max_seconds=3.0), AudioParams(max_seconds=1.0)
    field = ADAPTERS[family].length_field
    config = {name: value for name, value in TINY_CONFIGS[family].items() if name != field}
    torch.manual_seed(0)
    save_model(*build_model(ModelParams(family=family, config=config), long_audio, "abc"), tmp_path / "long")
    params = ModelParams(family=family, pretrained=str(tmp_path / "long"))
    whole, _ = build_model(params, long_audio, "abc")
    torch.manual_seed(0)
    short, extractor = build_model(params, short_audio, "abc")
    assert getattr(short.config, field) < getattr(whole.config, field)
    assert parameters(short) < parameters(whole)
    waveform = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    batch = model_inputs([waveform], extractor, 16_000)
    frames = hidden_states(short, batch).shape[1]
    assert frames < hidden_states(whole, model_inputs([waveform], *extractor_of(params, long_audio))).shape[1]
    save_model(short, extractor, tmp_path / "short")
    loaded, loaded_extractor = load_model(tmp_path / "short")
    again = model_inputs([waveform], loaded_extractor, 16_000)
    torch.testing.assert_close(again, batch)
    torch.testing.assert_close(hidden_states(loaded, again), hidden_states(short, batch), atol=1e-6, rtol=1e-5)
    # What was saved short is a checkpoint like any other.
    build_model(ModelParams(family=family, pretrained=str(tmp_path / "short")), short_audio, "ab")


def parameters(model) -> int:
    return sum(weight.numel() for weight in model.state_dict().values())


def extractor_of(params: ModelParams, audio: AudioParams):
    return build_model(params, audio, "abc")[1], round(audio.max_seconds * audio.sample_rate_hz)


def test_whispers_first_positions_stay_and_asts_are_interpolated(tmp_path):
    long_audio, short_audio = AudioParams(max_seconds=2.0), AudioParams(max_seconds=1.0)
    for family in SHORTENED:
        field = ADAPTERS[family].length_field
        config = {name: value for name, value in TINY_CONFIGS[family].items() if name != field}
        save_model(*build_model(ModelParams(family=family, config=config), long_audio, "abc"), tmp_path / family)
    whole = load_file(tmp_path / "whisper" / "model.safetensors")["encoder.embed_positions.weight"]
    short, _ = build_model(ModelParams(family="whisper", pretrained=str(tmp_path / "whisper")), short_audio, "abc")
    assert torch.equal(short.encoder.embed_positions.weight, whole[:50])
    assert not short.encoder.embed_positions.weight.requires_grad
    ast = "audio-spectrogram-transformer"
    model, extractor = build_model(ModelParams(family=ast, pretrained=str(tmp_path / ast)), long_audio, "abc")
    embeddings = model.audio_spectrogram_transformer.embeddings
    bands, columns = embeddings.get_shape(model.config)
    ramp = torch.linspace(0, 1, columns).repeat(bands)
    with torch.no_grad():
        embeddings.position_embeddings[0, 2:] = ramp[:, None]
        embeddings.position_embeddings[0, :2] = 7.0
    save_model(model, extractor, tmp_path / ast)
    short, _ = build_model(ModelParams(family=ast, pretrained=str(tmp_path / ast)), short_audio, "abc")
    fitted = short.audio_spectrogram_transformer.embeddings
    bands, columns = fitted.get_shape(short.config)
    assert (fitted.position_embeddings[0, :2] == 7.0).all()
    rows = fitted.position_embeddings[0, 2:, 0].reshape(bands, columns).detach()
    assert (rows.diff(dim=1) > 0).all()
    assert torch.equal(rows, rows[:1].expand(bands, -1))
