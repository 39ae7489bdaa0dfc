"""The answers are those of evaluation, whatever form the recording comes in."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny_configs import TINY_CONFIGS

from audiocls.decoding.reading import UnusableClipError
from audiocls.errors import ParamsError
from audiocls.inference.classifier import Classifier
from audiocls.inference.decisions import UNKNOWN
from audiocls.models.families import build_model, save_model
from audiocls.models.inference_settings import FILE_NAME, InferenceSettings, write_settings
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams

LABELS = ["a", "b", "c"]
AUDIO = AudioParams(max_seconds=0.4)


def noise(seconds: float, seed: int = 0, channels: int = 1, rate_hz: int = 16_000) -> np.ndarray:
    shape = (round(seconds * rate_hz), channels)
    return np.random.default_rng(seed).uniform(-0.3, 0.3, shape).astype(np.float32)


def save(folder, family="logmel-resnet", audio=AUDIO, **settings):
    torch.manual_seed(1)
    model, extractor = build_model(ModelParams(family=family, config=TINY_CONFIGS[family]), audio, LABELS)
    save_model(model, extractor, folder)
    if settings.get("written", True):
        fields = {name: value for name, value in settings.items() if name != "written"}
        write_settings(InferenceSettings(audio=audio, labels=LABELS, **fields), folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def classifier(folder):
    return Classifier.load(folder)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Files of several lengths, rates and channels."""
    paths = []
    for i, (seconds, rate_hz, channels) in enumerate(
        [(0.2, 16_000, 1), (0.4, 44_100, 2), (1.3, 8_000, 1), (3.1, 48_000, 2), (0.7, 16_000, 8)]
    ):
        path = tmp_path_factory.mktemp("clips") / f"{i}.wav"
        soundfile.write(path, noise(seconds, i, channels, rate_hz), rate_hz)
        paths.append(path)
    return paths


def probabilities(predictions) -> np.ndarray:
    return np.array([[each.probabilities[label] for label in LABELS] for each in predictions])


def test_paths_bytes_and_samples_have_the_same_answer(classifier, clips):
    by_path = classifier.predict(clips)
    by_bytes = classifier.predict([path.read_bytes() for path in clips])
    by_samples = classifier.predict([soundfile.read(path, dtype="int16") for path in clips])
    np.testing.assert_allclose(probabilities(by_bytes), probabilities(by_path), atol=1e-6)
    np.testing.assert_allclose(probabilities(by_samples), probabilities(by_path), atol=1e-6)
    assert [each.windows for each in by_path] == [1, 1, 6, 15, 3]
    assert [each.seconds for each in by_path] == pytest.approx([0.2, 0.4, 1.3, 3.1, 0.7], abs=1e-3)
    np.testing.assert_allclose(probabilities(by_path).sum(axis=1), 1)


@pytest.mark.parametrize("family", FAMILIES)
def test_one_by_one_and_in_batches_every_family_answers_alike(family, clips, tmp_path):
    audio = AudioParams(max_seconds=0.4, truncate="fusion") if family == "clap" else AUDIO
    classifier = Classifier.load(save(tmp_path, family, audio))
    together = classifier.predict([*map(str, clips)])
    alone = [classifier.predict(str(path)) for path in clips]
    np.testing.assert_allclose(probabilities(alone), probabilities(together), atol=1e-5)
    assert [each.label for each in alone] == [each.label for each in together]


def test_a_bad_clip_has_a_reason_of_its_own_and_the_others_are_answered(classifier, clips, tmp_path):
    (tmp_path / "text.wav").write_text("no audio")
    given = [clips[0], tmp_path / "none.wav", tmp_path, tmp_path / "text.wav", b"", (noise(0.3) * 0, 16_000), clips[1]]
    found = classifier.predict(given)
    assert [each.reason for each in found] == [
        None, "missing", "not_a_file", "unreadable", "empty", "silent", None,
    ]  # fmt: skip
    assert [each.label is None for each in found] == [each.reason is not None for each in found]
    np.testing.assert_allclose(probabilities(found[-1:]), probabilities([classifier.predict(clips[1])]), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "reason"),
    [
        (np.zeros(0, np.float32), 16_000, "empty"),
        (noise(0.3), 0, "unreadable"),
        (noise(0.3), 16_000.5, "unreadable"),
        (noise(0.3).reshape(-1, 2, 2), 16_000, "unreadable"),
        (np.array(["a"] * 9), 16_000, "unreadable"),
        (np.full(8_000, np.nan), 16_000, "non_finite"),
        (noise(0.01), 16_000, "too_short"),
    ],
)
def test_samples_that_are_none_are_refused(samples, rate_hz, reason, classifier):
    with pytest.raises(UnusableClipError) as caught:
        classifier.predict((samples, rate_hz))
    assert caught.value.reason == reason


def test_what_is_no_recording_at_all_is_a_mistake_of_the_caller(classifier):
    with pytest.raises(TypeError, match="dict cannot be classified"):
        classifier.predict({"a": 1})
    with pytest.raises(TypeError, match="int cannot be classified"):
        classifier.predict([3])


def test_integers_of_every_width_are_the_same_sound(classifier):
    wide = np.round(noise(0.4)[:, 0] * 2**15).astype(np.int64)
    given = [(wide.astype(np.int16), 16_000), ((wide << 16).astype(np.int32), 16_000), (wide / 2**15, 16_000)]
    found = probabilities(classifier.predict(given))
    np.testing.assert_allclose(found, found[:1].repeat(3, axis=0), atol=1e-6)


def test_a_low_probability_is_unknown(classifier, clips):
    plain = classifier.predict(clips[0])
    assert classifier.predict(clips[0], threshold=plain.probability).label == plain.label
    assert classifier.predict(clips[0], threshold=plain.probability + 1e-3).label == UNKNOWN
    assert plain.top(2)[0] == (plain.label, plain.probability)


def test_temperature_and_pooling_come_with_the_model(tmp_path, clips):
    sharp = Classifier.load(save(tmp_path / "sharp", temperature=0.01)).predict(clips)
    flat = Classifier.load(save(tmp_path / "flat", temperature=100.0)).predict(clips)
    assert (probabilities(sharp).max(axis=1) >= probabilities(flat).max(axis=1)).all()
    np.testing.assert_allclose(probabilities(flat), 1 / 3, atol=0.01)
    vote = Classifier.load(save(tmp_path / "vote", pooling="vote")).predict(clips[3])
    np.testing.assert_allclose([p * vote.windows % 1 for p in vote.probabilities.values()], 0, atol=1e-9)


def test_embeddings_are_the_mean_over_the_windows(classifier, clips):
    embedded = classifier.embed(clips)
    assert embedded.shape == (5, len(classifier.embed(clips[0])))
    np.testing.assert_allclose(embedded[0], classifier.embed(clips[0]), atol=1e-5)
    with pytest.raises(UnusableClipError, match="missing"):
        classifier.embed("none.wav")


def test_a_folder_without_settings_gets_defaults_that_are_logged(tmp_path, clips, caplog):
    classifier = Classifier.load(save(tmp_path, written=False))
    assert classifier.settings.audio.max_seconds == 10.0
    assert "has no inference.json" in caplog.text
    assert classifier.predict(clips[0]).label in LABELS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 was written by a newer audiocls; this one reads up to 1"),
        ({"labels": ["x", "y", "z"]}, r"labels = \['x', 'y', 'z'\], and the model has \['a', 'b', 'c'\]"),
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"poling": "mean"}, "poling: Extra inputs are not permitted"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message, tmp_path):
    file = save(tmp_path) / FILE_NAME
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ParamsError, match=message):
        Classifier.load(tmp_path)


def test_damaged_settings_are_refused(tmp_path):
    (save(tmp_path) / FILE_NAME).write_text("{")
    with pytest.raises(ParamsError, match=r"inference\.json"):
        Classifier.load(tmp_path)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ParamsError, match="there is no such folder"):
        Classifier.load(tmp_path / "none")
    with pytest.raises(ParamsError, match=r"has no config\.json"):
        Classifier.load(tmp_path)
    with pytest.raises(ParamsError, match="cannot be loaded from the hub"):
        Classifier.load("someone/some-model")


def test_answers_do_not_depend_on_the_number_of_threads(classifier, clips):
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(probabilities(classifier.predict(clips)))
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
