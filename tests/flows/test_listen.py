from __future__ import annotations

import io
import json
import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
from tiny_classifiers import save_classifier, write_noise

from audiocls.inference import Classifier
from flows.cli import main


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("sound") / "sound.wav", 1.5, seed=3)


class Microphones(ModuleType):
    """In the place of sounddevice: a microphone that hears a signal until Ctrl-C is pressed."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, signal, rate_hz=16_000):
        super().__init__("sounddevice")
        self.signal, self.rate_hz = signal, rate_hz

    def query_devices(self, device, kind):
        assert kind == "input"
        if device == "none":
            raise ValueError("No input device matching 'none'")
        if self.signal is None:
            raise self.PortAudioError("Error querying device -1")
        return {"default_samplerate": float(self.rate_hz)}

    def InputStream(self, samplerate, device, channels, dtype):  # noqa: N802  # its name in sounddevice
        assert (samplerate, channels, dtype) == (self.rate_hz, 1, "float32")
        return self

    def start(self):
        if self.rate_hz == 0:
            raise self.PortAudioError("Device unavailable")
        self.is_open = True

    def close(self):
        self.is_open = False

    def read(self, size):
        assert self.is_open
        if not len(self.signal):
            raise KeyboardInterrupt
        block, self.signal = self.signal[:size], self.signal[size:]
        return block[:, None], False


def listen(capsys, *arguments) -> tuple[int, list[dict]]:
    status = main(["listen", *map(str, arguments)])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_recording_in_place_of_the_microphone_gets_the_decisions_on_its_windows(model, recording, capsys):
    status, (*decisions, last) = listen(capsys, model, "--file", recording, "--hop", "0.2", "--threshold", "0.5")
    assert (status, last) == (0, {"decisions": len(decisions), "seconds": 1.5})
    classifier = Classifier.load(model)
    expected = classifier.windows(recording, hop_seconds=0.2)
    assert [each["start_seconds"] for each in decisions] == pytest.approx(expected.starts / 16_000)
    assert [each["probability"] for each in decisions] == pytest.approx(expected.probabilities.max(axis=1), abs=1e-6)
    for each, row in zip(decisions, expected.probabilities, strict=True):
        assert each["label"] == (classifier.labels[row.argmax()] if row.max() >= 0.5 else "unknown")


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_a_microphone_is_heard_at_its_own_rate_until_it_is_interrupted(rate_hz, model, capsys, monkeypatch):
    signal = np.random.default_rng(0).uniform(-0.3, 0.3, rate_hz).astype(np.float32)
    microphones = Microphones(signal, rate_hz)
    monkeypatch.setitem(sys.modules, "sounddevice", microphones)
    status, (*decisions, last) = listen(capsys, model)
    assert (status, last) == (0, {"decisions": len(decisions), "seconds": 1.0})
    expected = Classifier.load(model).windows((signal, rate_hz))
    assert [each["probability"] for each in decisions] == pytest.approx(expected.probabilities.max(axis=1), abs=1e-6)
    assert not microphones.is_open


def test_on_a_terminal_a_decision_is_a_line_with_its_time(model, recording, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    assert main(["listen", str(model), "--file", str(recording)]) == 0
    assert terminal.getvalue().splitlines()[0].split()[:4] == ["0.00", "to", "0.40", "s"]


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        (None, [], "a microphone needs sounddevice: pip install 'audiocls[microphone]'"),
        (Microphones(None), [], "default microphone: cannot be used: Error querying device -1"),
        (Microphones([], rate_hz=0), [], "default microphone: cannot be used: Device unavailable"),
        (Microphones([]), ["--microphone", "none"], "microphone none: cannot be used: No input device matching"),
        (None, ["--file", "none.wav"], "missing: none.wav: no such file"),
        (None, ["--file", __file__, "--hop", "0.5"], "a hop of 8000 samples must be from 1 to the window's 6400"),
        (None, ["--file", __file__], f"unreadable: {__file__}: "),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(module, arguments, said, model, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    assert main(["listen", str(model), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_without_portaudio_the_library_is_named(model, capsys, monkeypatch, tmp_path):
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    assert str(find_spec("sounddevice").origin).startswith(str(tmp_path))
    assert main(["listen", str(model)]) == 2
    assert "needs the library PortAudio: PortAudio library not found; on Debian" in capsys.readouterr().err
