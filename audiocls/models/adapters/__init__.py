"""One adapter per family."""

from __future__ import annotations

from audiocls.models.adapters.base import Adapter
from audiocls.models.adapters.clap import Clap
from audiocls.models.adapters.spectrogram import AST, Wav2Vec2Bert, Whisper
from audiocls.models.adapters.waveform import SEW, SEWD, Conformer, LeakyWav2Vec2, LogmelResnet, Wav2Vec2, WavLM
from audiocls.params import Family

ADAPTERS: dict[Family, Adapter] = {
    "logmel-resnet": LogmelResnet(),
    "wav2vec2": Wav2Vec2(),
    "hubert": Wav2Vec2(),
    "data2vec-audio": LeakyWav2Vec2(),
    "wavlm": WavLM(),
    "unispeech": Wav2Vec2(),
    "unispeech-sat": Wav2Vec2(),
    "sew": SEW(),
    "sew-d": SEWD(),
    "wav2vec2-conformer": Conformer(),
    "wav2vec2-bert": Wav2Vec2Bert(),
    "audio-spectrogram-transformer": AST(),
    "whisper": Whisper(),
    "clap": Clap(),
}

__all__ = ["ADAPTERS", "Adapter"]
