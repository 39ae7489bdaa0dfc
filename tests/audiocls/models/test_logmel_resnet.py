import inspect
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification, Trainer, pipeline

from audiocls.errors import DataError, ParamsError
from audiocls.models.logmel_resnet import LogmelResnetForAudioClassification, ResidualBlock
from audiocls.models.logmel_resnet_config import LogmelResnetConfig
from audiocls.models.waveform_extractor import WaveformFeatureExtractor

RATE_HZ = 16_000
LABELS = {0: "hum", 1: "hiss", 2: "chirp"}


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def make_model(**fields):
    names = {"id2label": LABELS, "label2id": {name: index for index, name in LABELS.items()}}
    sizes = {"stem_channels": 4, "channels": [8, 16]} | names
    return LogmelResnetForAudioClassification(LogmelResnetConfig(**(sizes | fields)))


def make_warm_model(**fields):
    """Return a model whose batch norms have seen a batch, so that no statistic is still 0 or 1."""
    model = make_model(**fields).train()
    for _ in range(3):
        model(torch.randn(4, RATE_HZ) * 0.1)
    return model.eval()


@pytest.fixture
def model():
    return make_warm_model()


@pytest.fixture
def clips():
    """Three clips of different lengths: a tone, noise, and a rising chirp."""
    times = torch.arange(RATE_HZ) / RATE_HZ
    tone = 0.2 * torch.sin(2 * torch.pi * 440 * times)
    chirp = 0.2 * torch.sin(2 * torch.pi * (200 + 900 * times) * times)
    return [tone[:9_000], 0.1 * torch.randn(RATE_HZ), chirp[:12_345]]


def pad(clips, samples):
    values = torch.zeros(len(clips), samples)
    mask = torch.zeros(len(clips), samples, dtype=torch.int32)
    for row, clip in enumerate(clips):
        values[row, : clip.numel()] = clip
        mask[row, : clip.numel()] = 1
    return values, mask


def save(model, folder):
    model.save_pretrained(folder)
    WaveformFeatureExtractor(sampling_rate=model.config.sampling_rate).save_pretrained(folder)
    return folder


@torch.no_grad()
def logits_of(model, *inputs):
    return model(*inputs).logits


def test_auto_classes_give_back_the_same_model(model, clips, tmp_path):
    folder = save(model, tmp_path)
    loaded = AutoModelForAudioClassification.from_pretrained(folder)
    inputs = pad(clips, RATE_HZ)
    torch.testing.assert_close(logits_of(loaded, *inputs), logits_of(model, *inputs), rtol=1e-5, atol=1e-6)
    assert AutoConfig.from_pretrained(folder).id2label == LABELS
    assert loaded.config.label2id == {name: index for index, name in LABELS.items()}
    assert isinstance(AutoFeatureExtractor.from_pretrained(folder), WaveformFeatureExtractor)


def test_a_model_saved_before_there_was_a_choice_of_input_keeps_its_logits(clips, tmp_path):
    before = make_warm_model(num_mel_bins=64, window_ms=25.0, input_affine=True)
    torch.nn.init.normal_(before.encoder.input_norm.weight)
    file = save(before, tmp_path) / "config.json"
    fields = json.loads(file.read_text())
    del fields["input_affine"]
    file.write_text(json.dumps(fields))
    loaded = AutoModelForAudioClassification.from_pretrained(tmp_path)
    inputs = pad(clips, RATE_HZ)
    torch.testing.assert_close(logits_of(loaded, *inputs), logits_of(before, *inputs), rtol=1e-5, atol=1e-6)
    assert (loaded.config.num_mel_bins, loaded.config.window_ms) == (64, 25.0)


def test_saved_folder_holds_safetensors_with_learnt_weights_only(model, tmp_path):
    from safetensors import safe_open

    folder = save(model, tmp_path)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "preprocessor_config.json"}
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert not [name for name in weights.keys() if "log_mel" in name]  # noqa: SIM118  # not a dict


def test_a_fresh_process_loads_the_folder_once_the_package_is_imported(model, clips, tmp_path):
    folder = save(model, tmp_path / "model")
    inputs = pad(clips, RATE_HZ)
    np.save(tmp_path / "values.npy", inputs[0].numpy())
    np.save(tmp_path / "mask.npy", inputs[1].numpy())
    script = f"""
import json, numpy, torch
import audiocls.models
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
model = AutoModelForAudioClassification.from_pretrained({str(folder)!r})
extractor = AutoFeatureExtractor.from_pretrained({str(folder)!r})
values, mask = (torch.from_numpy(numpy.load({str(tmp_path)!r} + "/" + name)) for name in ("values.npy", "mask.npy"))
with torch.no_grad():
    print(json.dumps([type(extractor).__name__, model(values, mask).logits.tolist()]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    name, logits = json.loads(done.stdout)
    assert name == "WaveformFeatureExtractor"
    torch.testing.assert_close(torch.tensor(logits), logits_of(model, *inputs), atol=1e-5, rtol=0)


def test_pipeline_classifies_an_array(model, clips, tmp_path):
    classifier = pipeline("audio-classification", model=str(save(model, tmp_path)), device="cpu")
    answers = classifier(clips[0].numpy())
    expected = logits_of(model, clips[0][None]).softmax(-1)[0]
    assert {answer["label"] for answer in answers} == set(LABELS.values())
    for answer in answers:
        assert answer["score"] == pytest.approx(expected[model.config.label2id[answer["label"]]].item(), abs=1e-5)


def test_more_padding_under_the_mask_changes_nothing(model, clips):
    short = logits_of(model, *pad(clips, RATE_HZ))
    for samples in (RATE_HZ + 1, RATE_HZ + 777, 5 * RATE_HZ):
        torch.testing.assert_close(logits_of(model, *pad(clips, samples)), short, atol=1e-4, rtol=0)


def test_a_batch_gives_what_its_clips_give_one_by_one(model, clips):
    together = logits_of(model, *pad(clips, RATE_HZ))
    alone = torch.cat([logits_of(model, clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("gain_db", [-40.0, 10.0])
def test_gain_does_not_change_the_answer(model, clips, gain_db):
    values, mask = pad(clips, RATE_HZ)
    gained = logits_of(model, values * 10 ** (gain_db / 20), mask)
    torch.testing.assert_close(gained, logits_of(model, values, mask), atol=1e-3, rtol=0)


@pytest.mark.parametrize("samples", [1, 100, 399])
def test_a_clip_shorter_than_one_window_is_classified(model, samples):
    assert torch.isfinite(logits_of(model, 0.1 * torch.randn(2, samples))).all()


def test_a_fully_masked_clip_and_digital_silence_give_finite_logits(model):
    values, mask = torch.zeros(2, RATE_HZ), torch.ones(2, RATE_HZ, dtype=torch.int32)
    mask[0] = 0
    assert torch.isfinite(logits_of(model, values, mask)).all()


def test_embedding_through_the_classifier_is_the_logits(model, clips):
    inputs = pad(clips, RATE_HZ)
    with torch.no_grad():
        embeddings = model.embed(*inputs)
    assert embeddings.shape == (3, model.config.hidden_size)
    by_hand = embeddings @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(by_hand, logits_of(model, *inputs), atol=1e-5, rtol=0)


def test_bfloat16_autocast_stays_close_to_float32(model, clips):
    inputs = pad(clips, RATE_HZ)
    expected = logits_of(model, *inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = logits_of(model, *inputs)
    assert torch.isfinite(logits).all()
    torch.testing.assert_close(logits.float(), expected, atol=0.05 * expected.abs().max().item() + 0.02, rtol=0)


def test_a_model_cast_to_bfloat16_gives_finite_logits(model, clips):
    values, mask = pad(clips, RATE_HZ)
    assert torch.isfinite(logits_of(model.to(torch.bfloat16), values.to(torch.bfloat16), mask)).all()


def make_tones_and_noises(count):
    times = torch.arange(RATE_HZ // 2) / RATE_HZ
    pitches_hz = 200 + 2_000 * torch.rand(count // 2, 1)
    tones = 0.2 * torch.sin(2 * torch.pi * pitches_hz * times) + 0.005 * torch.randn(count // 2, times.numel())
    noises = 0.1 * torch.randn(count // 2, times.numel())
    return torch.cat([tones, noises]), torch.arange(count) // (count // 2)


def test_it_learns_to_tell_tones_from_noise_in_a_few_steps():
    model = make_model().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(15):
        waveforms, labels = make_tones_and_noises(16)
        loss = model(waveforms, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    waveforms, labels = make_tones_and_noises(32)
    assert (logits_of(model.eval(), waveforms).argmax(1) == labels).float().mean() > 0.9


def test_training_repeats_with_the_seed():
    waveforms, labels = make_tones_and_noises(8)
    losses = []
    for seed in (1, 1, 2):
        model = make_model(mask_time_prob=0.3, mask_feature_prob=0.3, dropout=0.2)
        model.load_state_dict(make_model_state())
        torch.manual_seed(seed)
        losses.append(model.train()(waveforms, labels=labels).loss.item())
    assert losses[0] == losses[1] != losses[2]


def make_model_state():
    torch.manual_seed(7)
    return make_model().state_dict()


def test_a_frozen_encoder_learns_nothing_not_even_its_batch_statistics(model):
    before = {name: weight.clone() for name, weight in model.encoder.state_dict().items()}
    model.freeze_encoder()
    model.train()
    model(torch.randn(4, RATE_HZ), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
    assert model.classifier.weight.grad is not None
    assert all(weight.grad is None for weight in model.encoder.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.encoder.state_dict().items())


def test_outputs_follow_the_transformers_conventions(model, clips):
    values, mask = pad(clips, RATE_HZ)
    output = model(values, mask, labels=torch.tensor([0, 1, 2]), output_hidden_states=True)
    torch.testing.assert_close(output.loss, torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2])))
    assert [block.shape[1] for block in output.hidden_states] == model.config.channels
    assert model(values, mask).hidden_states is None
    assert torch.equal(model(values, mask, return_dict=False)[0], output.logits)


def test_convolutions_run_channels_last_which_is_quicker_on_a_cpu(model, clips):
    output = model(*pad(clips, RATE_HZ), output_hidden_states=True)
    assert all(block.is_contiguous(memory_format=torch.channels_last) for block in output.hidden_states)


def test_trainer_sees_a_mean_loss(model, tmp_path):
    assert not any(kind.kind == kind.VAR_KEYWORD for kind in inspect.signature(model.forward).parameters.values())
    assert Trainer(model=model).model_accepts_loss_kwargs is False


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_the_defaults_suit_other_rates(rate_hz):
    model = make_model(sampling_rate=rate_hz).eval()
    assert torch.isfinite(logits_of(model, torch.randn(1, rate_hz))).all()


def test_a_batch_of_the_wrong_shape_is_named(model):
    with pytest.raises(DataError, match=r"input_values has shape \(2, 1, 100\)"):
        model(torch.zeros(2, 1, 100))
    with pytest.raises(DataError, match=r"attention_mask \(2, 99\)"):
        model(torch.zeros(2, 100), torch.ones(2, 99))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"num_mel_bins": 0}, "num_mel_bins is 0, and must be a whole number, 1 or more"),
        ({"num_mel_bins": "64"}, "num_mel_bins is '64'"),
        ({"sampling_rate": 16_000.5}, "sampling_rate is 16000.5"),
        ({"stem_channels": True}, "stem_channels is True"),
        ({"channels": []}, "channels is \\[\\]"),
        ({"channels": [8, -1]}, "channels is \\[8, -1\\]"),
        ({"channels": "32"}, "channels is '32'"),
        ({"blocks_per_stage": 0}, "blocks_per_stage is 0"),
        ({"dropout": 1.0}, "dropout is 1.0, and must be a number from 0 to below 1"),
        ({"mask_time_prob": -0.1}, "mask_time_prob is -0.1"),
        ({"mask_feature_length": 0}, "mask_feature_length is 0"),
        ({"input_affine": 1}, "input_affine is 1, and must be true or false"),
        ({"window_ms": 0}, "window_ms is 0"),
        ({"hop_ms": 30}, "hop_ms is 30, .* window_ms, which is 16"),
        ({"fft_size": 128}, "fft_size is 128, .* window's 256 samples"),
        ({"max_frequency_hz": 9_000}, "max_frequency_hz is 9000, .* at most 8000"),
        ({"min_frequency_hz": 8_000}, "min_frequency_hz is 8000, .* below the highest frequency, 8000"),
        ({"dropout": 2, "channels": None}, "dropout is 2.*channels is None"),
    ],
)
def test_a_bad_config_names_field_value_and_need(fields, complaint):
    with pytest.raises(ParamsError, match=complaint):
        LogmelResnetConfig(**fields)


def test_the_shortcut_takes_every_other_position_by_no_strided_convolution():
    """That of one tap and few channels makes torch 2.13 write beyond the end of its gradient, and crash later."""
    block = ResidualBlock(8, 16, 2).eval()
    assert [conv.stride for conv in block.modules() if getattr(conv, "kernel_size", None) == (1, 1)] == [(1, 1)]
    x, valid = torch.randn(2, 8, 21, 10), torch.ones(2, 1, 21, 1)
    strided = torch.nn.functional.conv2d(x, block.shortcut[0].weight, stride=2)
    expected = torch.relu(block.second(torch.relu(block.first(x))) + block.shortcut[1](strided))
    torch.testing.assert_close(block(x, valid)[0], expected)
