from __future__ import annotations

import pytest
import soundfile
import torch
from pydantic import TypeAdapter

from audiocls.augmentation.params import AnyAugmentation, AugmentationParams
from audiocls.augmentation.pipeline import Augmenter

KINDS = [model.model_fields["kind"].annotation.__args__[0] for model in AnyAugmentation.__args__]
LENGTHS = torch.tensor([8_000, 5_000, 300, 8_000, 1, 7_000])
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def clips() -> torch.Tensor:
    noise = 0.1 * torch.randn(6, 8_000, generator=torch.Generator().manual_seed(5))
    noise[3] = 0  # digital silence
    return noise * (torch.arange(8_000) < LENGTHS[:, None])


@pytest.fixture
def build_augmenter(tmp_path):
    """A function that builds an augmenter of some kinds."""
    for row in (1, 5):
        soundfile.write(tmp_path / f"sound-{row}.wav", clips()[row].numpy(), 16_000)

    def built(*kinds, **fields):
        folder = {"folder": tmp_path}
        sections = [
            {"kind": kind, **fields, **(folder if kind in ("background", "impulse_response") else {})} for kind in kinds
        ]
        steps = TypeAdapter(list[AugmentationParams]).validate_python(sections)
        return Augmenter(steps, sample_rate_hz=16_000, max_samples=8_000, num_classes=3)

    return built


def test_the_contract_covers_every_kind():
    assert len(KINDS) == len(set(KINDS)) == 16


@pytest.mark.parametrize("kind", KINDS)
def test_every_transform_keeps_the_contract(kind, build_augmenter):
    before = clips()
    sounds = build_augmenter(kind)(before, LENGTHS, TARGETS, 7)
    assert sounds.waveforms.dtype == torch.float32
    assert sounds.waveforms.isfinite().all()
    assert len(sounds.waveforms) == 6
    assert sounds.waveforms.shape[1] <= 8_000
    assert sounds.lengths.min() >= 1
    assert sounds.lengths.max() <= sounds.waveforms.shape[1]
    for waveform, length in zip(sounds.waveforms, sounds.lengths, strict=True):
        assert not waveform[length:].any(), "there is sound behind the clip's end"
    assert torch.allclose(sounds.targets.sum(1), torch.ones(6))
    assert not torch.equal(sounds.waveforms[0, :5_000], before[0, :5_000])
    assert torch.equal(before, clips()), "the clips that were given have changed"


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_sound_and_another_seed_another(kind, build_augmenter):
    augmenter = build_augmenter(kind)
    first, again, other = (augmenter(clips(), LENGTHS, TARGETS, seed).waveforms for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_draws_the_same_numbers(kind, build_augmenter):
    augmenter = build_augmenter(kind)
    here = augmenter(clips(), LENGTHS, TARGETS, 7)
    there = augmenter(clips().cuda(), LENGTHS.cuda(), TARGETS.cuda(), 7)
    assert torch.equal(there.lengths.cpu(), here.lengths)
    assert torch.allclose(there.targets.cpu(), here.targets)
    if kind not in ("noise", "reverb"):  # a GPU has noise of its own
        assert torch.allclose(there.waveforms.cpu(), here.waveforms, atol=2e-3)


def test_a_probability_is_the_share_of_clips_that_are_changed(build_augmenter):
    augmenter = build_augmenter("gain", probability=0.3, min_db=6)
    ones = torch.ones(2_000, 1)
    changed = augmenter(ones, torch.ones(2_000, dtype=torch.int64), torch.zeros(2_000, dtype=torch.int64), 1).waveforms
    assert (changed != 1).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_transforms_are_applied_in_their_order():
    quiet = {"kind": "gain", "min_db": -40.0, "max_db": -40.0}
    coarse = {"kind": "codec", "companding": "none", "min_bits": 4, "max_bits": 4, "bandwidth_hz": None}
    heard = []
    for sections in ([quiet, coarse], [coarse, quiet]):
        steps = TypeAdapter(list[AugmentationParams]).validate_python(sections)
        augmenter = Augmenter(steps, sample_rate_hz=16_000, max_samples=8_000, num_classes=3)
        heard.append(bool(augmenter(clips(), LENGTHS, TARGETS, 1).waveforms.any()))
    assert heard == [False, True]  # 40 dB down, all of it is below the first of the steps
