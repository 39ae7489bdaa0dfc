from __future__ import annotations

import pytest
import soundfile
import torch
from pydantic import TypeAdapter

from audiocls.augmentation.draws import Draws, clip_seeds
from audiocls.augmentation.pipeline import Augmenter
from audiocls.params.augmentation import AnyAugmentation, AugmentationParams

KINDS = [model.model_fields["kind"].annotation.__args__[0] for model in AnyAugmentation.__args__]
LENGTHS = torch.tensor([8_000, 5_000, 300, 8_000, 1, 7_000])
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])
SEEDS = clip_seeds(7, range(6))


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
    sounds = build_augmenter(kind)(before, LENGTHS, TARGETS, SEEDS)
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
    first, again, other = (augmenter(clips(), LENGTHS, TARGETS, seeds).waveforms for seeds in (SEEDS, SEEDS, ~SEEDS))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("mixup", "cutmix", "pitch")])
def test_a_clip_is_changed_in_the_same_way_whatever_else_is_in_its_batch(kind, build_augmenter):
    augmenter = build_augmenter(kind, probability=0.8)
    rows = torch.tensor([3, 5, 0])  # with the longest: it sets the sizes of Fourier transforms, of which pitch has more
    whole = augmenter(clips(), LENGTHS, TARGETS, SEEDS)
    part = augmenter(clips()[rows], LENGTHS[rows], TARGETS[rows], SEEDS[rows])
    assert torch.equal(part.lengths, whole.lengths[rows])
    samples = min(part.waveforms.shape[1], whole.waveforms.shape[1])
    torch.testing.assert_close(part.waveforms[:, :samples], whole.waveforms[rows, :samples], atol=1e-5, rtol=0)


def test_what_is_drawn_is_even_normal_and_another_for_every_clip_and_step():
    draws = Draws(clip_seeds(3, range(400)))
    steps = [draws.step(number) for number in range(2)]
    evenly = torch.stack([step.uniform(-1, 3, each=50) for step in steps])
    assert evenly.unique().numel() > 0.99 * evenly.numel()
    assert evenly.min() >= -1
    assert evenly.max() < 3
    assert evenly.mean().item() == pytest.approx(1, abs=0.03)
    assert evenly.var().item() == pytest.approx(16 / 12, rel=0.02)
    noise = draws.normal(251)
    assert torch.equal(Draws(clip_seeds(3, range(400))).normal(400)[:, :251], noise)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.var().item() == pytest.approx(1, rel=0.01)
    assert (noise**4).mean().item() == pytest.approx(3, rel=0.03)
    correlated = torch.corrcoef(noise[:40])
    assert (correlated - torch.eye(40)).abs().max() < 0.3
    assert draws.whole(2, 5).bincount().tolist()[2:] == pytest.approx([133] * 3, abs=35)
    assert draws.beta(0.2).var().item() == pytest.approx(0.25 / 1.4, rel=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_draws_the_same_numbers(kind, build_augmenter):
    augmenter = build_augmenter(kind)
    here = augmenter(clips(), LENGTHS, TARGETS, SEEDS)
    there = augmenter(clips().cuda(), LENGTHS.cuda(), TARGETS.cuda(), SEEDS)
    assert torch.equal(there.lengths.cpu(), here.lengths)
    assert torch.allclose(there.targets.cpu(), here.targets)
    assert torch.allclose(there.waveforms.cpu(), here.waveforms, atol=2e-3)


def test_a_probability_is_the_share_of_clips_that_are_changed(build_augmenter):
    augmenter = build_augmenter("gain", probability=0.3, min_db=6)
    ones = torch.ones(2_000, 1)
    lengths, targets = torch.ones(2_000, dtype=torch.int64), torch.zeros(2_000, dtype=torch.int64)
    changed = augmenter(ones, lengths, targets, clip_seeds(1, range(2_000))).waveforms
    assert (changed != 1).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_transforms_are_applied_in_their_order():
    quiet = {"kind": "gain", "min_db": -40.0, "max_db": -40.0}
    coarse = {"kind": "codec", "companding": "none", "min_bits": 4, "max_bits": 4, "bandwidth_hz": None}
    heard = []
    for sections in ([quiet, coarse], [coarse, quiet]):
        steps = TypeAdapter(list[AugmentationParams]).validate_python(sections)
        augmenter = Augmenter(steps, sample_rate_hz=16_000, max_samples=8_000, num_classes=3)
        heard.append(bool(augmenter(clips(), LENGTHS, TARGETS, SEEDS).waveforms.any()))
    assert heard == [False, True]  # 40 dB down, all of it is below the first of the steps
