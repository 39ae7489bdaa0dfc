"""What CLAP alone has: mels of long clips that are fused, and a window that clips fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS

from audiocls.balance.selection import balance
from audiocls.errors import ParamsError
from audiocls.evaluation.scoring import predict
from audiocls.models.families import build_extractor, build_model, load_model, save_model
from audiocls.models.inputs import model_inputs
from audiocls.params.model import ModelParams
from audiocls.params.run import AudioParams, RunParams
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.run import fit
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms

FUSION = AudioParams(max_seconds=1.0, truncate="fusion")
NOISE = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)


def build(audio=FUSION, **fields):
    torch.manual_seed(0)
    return build_model(ModelParams(family="clap", **{"config": TINY_CONFIGS["clap"]} | fields), audio, "abc")


def logits(model, extractor, *waveforms) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(**model_inputs(list(waveforms), extractor, 16_000)).logits


def test_all_of_a_fused_clip_is_heard_and_a_clips_logits_do_not_depend_on_its_batch(tmp_path):
    model, extractor = build()
    long, short = NOISE, NOISE[:9_000]
    later = np.concatenate([NOISE[:35_000], 0.1 * NOISE[35_000:]])
    assert not torch.allclose(logits(model, extractor, long), logits(model, extractor, later), atol=1e-4)
    together = logits(model, extractor, long, short)
    alone = torch.cat([logits(model, extractor, long), logits(model, extractor, short)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    save_model(model, extractor, tmp_path)
    torch.testing.assert_close(logits(*load_model(tmp_path), long, short), together, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("trained", "asked"), [("fusion", "random"), ("center", "fusion")])
def test_a_checkpoint_is_fused_as_it_was_trained(trained, asked, tmp_path):
    save_model(*build(AudioParams(max_seconds=1.0, truncate=trained)), tmp_path)
    fields = {"config": {}, "pretrained": str(tmp_path)}
    with pytest.raises(ParamsError, match=rf"audio\.truncate = {asked}: this clap has enable_fusion"):
        build(AudioParams(max_seconds=1.0, truncate=asked), **fields)
    assert build(AudioParams(max_seconds=0.7, truncate=trained), **fields)[1].nb_max_samples == 16_000


@pytest.mark.parametrize(("pad", "padding"), [("zero", "pad"), ("repeat", "repeat"), ("repeat_pad", "repeatpad")])
def test_the_saved_extractor_cuts_and_fills_as_the_params_say(pad, padding):
    params = ModelParams(family="clap")
    for truncate, truncation in (("fusion", "fusion"), ("random", "rand_trunc")):
        extractor = build_extractor(params, AudioParams(pad=pad, truncate=truncate))
        assert (extractor.padding, extractor.truncation) == (padding, truncation)


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"])
def test_fields_of_dropout_reach_the_network(field):
    quiet = {"hidden_dropout_prob": 0.0}
    changes = []
    for fields in (quiet, quiet | {field: 0.5}):
        model, extractor = build(config=TINY_CONFIGS["clap"] | fields)
        batch = model_inputs([NOISE[:9_000]] * 4, extractor, 16_000)
        with torch.no_grad():
            one, other = (model.train()(**batch).logits for _ in range(2))
        changes.append(not torch.allclose(one, other, atol=1e-6))
    assert changes == [False, True]


def test_sizes_that_do_not_go_together_are_refused(tmp_path):
    with pytest.raises(ParamsError, match="hidden_size is 64, and must be 32"):
        build(config=TINY_CONFIGS["clap"] | {"hidden_size": 64})
    save_model(*build(), tmp_path)
    with pytest.raises(ParamsError, match=r"returns 63 frames of 16 mel bins, and an image of spec_size = 16 holds 16"):
        build(config={"spec_size": 16}, pretrained=str(tmp_path))


def test_a_small_image_has_wider_windows_so_that_nothing_between_two_goes_unheard():
    extractor = build(config=TINY_CONFIGS["clap"] | {"spec_size": 16, "window_size": 2})[1]
    assert extractor.fft_window_size >= 2 * extractor.hop_length > 2_000


def test_a_run_with_fusion_trains_on_whole_clips_and_scores_them_whole(tmp_path, write_tone, list_table, fill_store):
    rows = [
        (str(write_tone(tmp_path / f"{split}-{label}.wav", hz=hz, seconds=2.3)), label, split)
        for split in ("train", "validation", "test")
        for label, hz in (("low", 300.0), ("high", 2_000.0))
    ]
    manifest = list_table(tmp_path, rows, ("path", "label", "split"))
    corpus = collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)
    params = RunParams.model_validate(
        {
            "workspace": str(tmp_path),
            "data": {"source": "sample"},
            "audio": {"max_seconds": 1.0, "truncate": "fusion"},
            "model": {"family": "clap", "config": TINY_CONFIGS["clap"]},
            "training": {"batch_size": 2, "max_steps": 2, "schedule": "constant", "warmup_fraction": 0.0},
        }
    )
    balanced = balance(corpus.clips, params.balance, params.seed, tmp_path)
    data = PreparedData(corpus.clips, corpus.store, params)

    def train(name: str) -> Path:
        return fit(data, balanced, tmp_path / name, lambda *_: None).folder

    folder = train("one")
    clips = pd.read_parquet(corpus.clips)
    waveforms = MappedWaveforms(clips, corpus.store)
    model, extractor = load_model(folder)
    scored = predict(model, extractor, clips, data)
    whole = logits(model, extractor, *(waveforms.read(i) for i in range(len(clips))))
    np.testing.assert_allclose(scored, whole.numpy(), atol=1e-5)
    np.random.seed(5)  # noqa: NPY002  # a global generator that must not matter
    weights, again = (load_file(path / "model.safetensors") for path in (folder, train("other")))
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())
    torch.manual_seed(params.seed)
    start = build_model(params.model, params.audio, ["high", "low"])[0].state_dict()
    fusing = [name for name in start if "mel_conv2d" in name]
    assert fusing
    assert not any(torch.equal(start[name], weights[name]) for name in fusing)
