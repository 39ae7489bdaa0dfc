"""What each transform does to sound, measured."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from pydantic import TypeAdapter

from audiocls.augmentation.draws import Draws, clip_seeds
from audiocls.augmentation.pipeline import Augmenter, build
from audiocls.augmentation.reverb import Reverb
from audiocls.augmentation.sounds import Sounds
from audiocls.errors import DataError
from audiocls.params.augmentation import AugmentationParams

RATE_HZ = 16_000
SAMPLES = 16_000


def settings(kind: str, **fields):
    return TypeAdapter(AugmentationParams).validate_python({"kind": kind, **fields})


def tones(*frequencies_hz: float, amplitude: float = 0.2) -> torch.Tensor:
    times = torch.arange(SAMPLES) / RATE_HZ
    return torch.stack([amplitude * torch.sin(2 * np.pi * hz * times) for hz in frequencies_hz])


def changed(waveforms: torch.Tensor, kind: str, seed: int = 3, lengths=None, **fields) -> Sounds:
    augmenter = Augmenter([settings(kind, **fields)], sample_rate_hz=RATE_HZ, max_samples=SAMPLES * 2, num_classes=2)
    clips = len(waveforms)
    lengths = torch.full((clips,), waveforms.shape[1]) if lengths is None else torch.tensor(lengths)
    return augmenter(waveforms, lengths, torch.arange(clips) % 2, clip_seeds(seed, range(clips)))


def decibels(power: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(power)


def loudest_hz(waveforms: torch.Tensor) -> torch.Tensor:
    window = torch.hann_window(waveforms.shape[1])
    return torch.fft.rfft(waveforms * window).abs().argmax(1) * RATE_HZ / waveforms.shape[1]


def test_a_gain_is_that_gain():
    clips = tones(440, 880)
    louder = changed(clips, "gain", min_db=-7, max_db=-7).waveforms
    assert torch.allclose(decibels(louder.square().mean(1) / clips.square().mean(1)), torch.tensor(-7.0), atol=1e-3)


@pytest.mark.parametrize("colour", ["white", "pink"])
@pytest.mark.parametrize("snr_db", [-5.0, 20.0])
def test_the_ratio_of_signal_to_noise_is_the_one_asked_for(snr_db, colour):
    clips = tones(440, 880)
    clips[1, 6_000:] = 0
    noisy = changed(clips, "noise", colour=colour, min_snr_db=snr_db, max_snr_db=snr_db, lengths=[SAMPLES, 6_000])
    noise = noisy.waveforms - clips
    assert noise[1, 6_000:].abs().max() == 0
    for clip, length in enumerate([SAMPLES, 6_000]):
        ratio = clips[clip, :length].square().mean() / noise[clip, :length].square().mean()
        assert decibels(ratio).item() == pytest.approx(snr_db, abs=0.01)


def test_white_noise_is_as_strong_in_every_hertz_and_pink_noise_in_every_octave():
    clips = tones(*[440.0] * 8)
    for colour, per_octave_db in [("white", 3.01), ("pink", 0.0)]:
        noise = changed(clips, "noise", colour=colour, min_snr_db=0, max_snr_db=0).waveforms - clips
        power = torch.fft.rfft(noise).abs().square().mean(0)
        octaves = torch.stack([power[low : 2 * low].sum() for low in (125, 250, 500, 1_000, 2_000)])
        rises = decibels(octaves).diff()
        assert torch.allclose(rises, torch.tensor(per_octave_db), atol=0.8)


def write_recordings(folder, **waveforms):
    folder.mkdir()
    for name, waveform in waveforms.items():
        soundfile.write(folder / f"{name}.wav", np.asarray(waveform), RATE_HZ)
    return folder


def test_a_recording_is_added_at_the_ratio_asked_for_and_is_repeated_where_it_is_short(tmp_path):
    hum = tones(2_000.0)[0, :5_000]  # whole periods, so that a repeat is the same tone
    folder = write_recordings(tmp_path / "background", hum=hum)
    clips = tones(440, 880)
    added = changed(clips, "background", folder=folder, min_snr_db=12, max_snr_db=12).waveforms - clips
    assert torch.allclose(decibels(clips.square().mean(1) / added.square().mean(1)), torch.tensor(12.0), atol=0.01)
    assert loudest_hz(added).tolist() == pytest.approx([2_000] * 2, abs=2)
    assert added[:, -100:].abs().max() > 0.01


def test_a_folder_that_cannot_be_used_says_so(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no recordings"):
        changed(tones(440), "background", folder=tmp_path / "empty")
    (tmp_path / "empty" / "notes.txt").write_text("no sound")
    with pytest.raises(DataError, match=r"notes\.txt: cannot be used for augmentation: unreadable"):
        changed(tones(440), "impulse_response", folder=tmp_path / "empty")


@pytest.mark.parametrize("wrap", [False, True])
def test_a_shift_moves_the_sound_by_up_to_so_much(wrap):
    clicks = torch.zeros(64, SAMPLES)
    clicks[:, 5_000] = 1
    moved = changed(clicks, "shift", max_seconds=0.25, wrap=wrap).waveforms
    way = moved.argmax(1) - 5_000
    assert way.abs().max() <= 4_000
    assert way.min() < -3_000
    assert way.max() > 3_000
    late = torch.zeros(64, SAMPLES)
    late[:, 15_999] = 1
    kept = changed(late, "shift", max_seconds=0.25, wrap=wrap).waveforms.sum(1)
    assert (kept.min() == 1) if wrap else (20 < kept.sum() < 44)  # half of them have left at the end


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_length_and_pitch_by_the_factor_and_nothing_else(factor):
    sounds = changed(tones(500, 3_000), "speed", min_factor=factor, max_factor=factor)
    assert sounds.lengths.tolist() == [SAMPLES / factor] * 2
    assert loudest_hz(sounds.waveforms).tolist() == pytest.approx([500 * factor, 3_000 * factor], rel=0.003)
    middle = sounds.waveforms[:, 2_000 : int(sounds.lengths[0]) - 2_000]
    assert torch.allclose(middle.square().mean(1).sqrt(), torch.tensor(0.2 / 2**0.5), rtol=0.01)


def test_speed_folds_nothing_back_that_leaves_at_the_top():
    fast = changed(tones(7_000), "speed", min_factor=1.5, max_factor=1.5).waveforms
    assert fast[:, 1_000:-1_000].abs().max() < 0.01


@pytest.mark.parametrize("semitones", [-5.0, 12.0])
def test_a_pitch_shift_shifts_the_spectrum_by_that_ratio_and_keeps_length_and_level(semitones):
    clips = tones(300, 1_500)
    sounds = changed(clips, "pitch", min_semitones=semitones, max_semitones=semitones)
    ratio = 2 ** (semitones / 12)
    assert sounds.waveforms.shape == clips.shape
    assert loudest_hz(sounds.waveforms).tolist() == pytest.approx([300 * ratio, 1_500 * ratio], rel=0.01)
    middle = sounds.waveforms[:, 2_000:-2_000].square().mean(1)
    assert torch.allclose(decibels(middle / clips.square().mean(1)), torch.tensor(0.0), atol=0.5)


@pytest.mark.parametrize("rt60_seconds", [0.2, 0.7])
def test_a_room_falls_by_60_db_in_its_time(rt60_seconds):
    reverb = build(settings("reverb", direct_to_reverberant_db=3.0), RATE_HZ, SAMPLES)
    assert isinstance(reverb, Reverb)
    responses = reverb.responses(torch.tensor([rt60_seconds] * 8), Draws(clip_seeds(1, range(8))))
    tail = responses[:, 1:].square()
    assert torch.allclose(decibels(1 / tail.sum(1)), torch.tensor(3.0), atol=0.01)
    left = decibels(tail.flip(1).cumsum(1).flip(1) / tail.sum(1, keepdim=True))  # Schroeder's integral
    between = (left < -5).int().argmax(1), (left < -25).int().argmax(1)
    measured = 3 * (between[1] - between[0]).float().mean() / RATE_HZ  # T20, as ISO 3382 has it
    assert measured.item() == pytest.approx(rt60_seconds, rel=0.05)


def test_reverberation_sounds_on_behind_the_sound_at_the_level_of_the_clip():
    clips = tones(440)
    clips[:, 4_000:] = 0
    wet = changed(clips, "reverb", min_rt60_seconds=0.5, max_rt60_seconds=0.5).waveforms
    assert wet.square().mean().item() == pytest.approx(clips.square().mean().item(), rel=1e-3)
    assert wet[:, 5_000:6_000].square().mean() > 1e-2 * wet[:, :4_000].square().mean()


def test_a_measured_room_is_convolved_with_from_its_direct_sound_on(tmp_path):
    response = torch.zeros(3_000)
    response[1_000], response[2_600] = 0.8, 0.4  # an echo at half the amplitude after 0.1 s
    folder = write_recordings(tmp_path / "rooms", hall=response)
    clicks = torch.zeros(1, SAMPLES)
    clicks[:, 500] = 1
    wet = changed(clicks, "impulse_response", folder=folder).waveforms[0]
    assert wet.argmax() == 500
    assert (wet[2_100] / wet[500]).item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("kind", "fields", "losses_db"),
    [
        ("low_pass", {"min_cutoff_hz": 1_000, "max_cutoff_hz": 1_000}, {250: 0, 1_000: 3.01, 2_000: 24.1, 4_000: 48.2}),
        ("high_pass", {"min_cutoff_hz": 1_000, "max_cutoff_hz": 1_000}, {250: 48.2, 500: 24.1, 1_000: 3.01, 4_000: 0}),
        (
            "band_pass",
            {"min_center_hz": 1_000, "max_center_hz": 1_000, "width_octaves": 2},
            {250: 24.1, 500: 3.01, 1_000: 0.034, 2_000: 3.01, 4_000: 24.1},
        ),
    ],
)
def test_a_filter_attenuates_as_its_order_says(kind, fields, losses_db):
    clips = tones(*losses_db)
    filtered = changed(clips, kind, order=4, **fields).waveforms
    inside = slice(2_000, -2_000)
    lost = decibels(clips[:, inside].square().mean(1) / filtered[:, inside].square().mean(1))
    assert lost.tolist() == pytest.approx(list(losses_db.values()), abs=0.1)


def test_fewer_bits_leave_the_noise_of_fewer_bits():
    clips = tones(441.3, amplitude=0.999)
    for bits in (6, 10):
        rounded = changed(clips, "codec", companding="none", min_bits=bits, max_bits=bits, bandwidth_hz=None).waveforms
        ratio = decibels(clips.square().mean() / (rounded - clips).square().mean())
        assert ratio.item() == pytest.approx(6.02 * bits + 1.76, abs=0.7)
        assert len(rounded.unique()) <= 2**bits


def test_mu_law_at_8_bits_is_as_clean_for_quiet_clips_as_for_loud_ones():
    for amplitude in (0.9, 0.05):
        clips = tones(441.3, amplitude=amplitude)
        coded = changed(clips, "codec", min_bits=8, max_bits=8, bandwidth_hz=None).waveforms
        assert 33 < decibels(clips.square().mean() / (coded - clips).square().mean()).item() < 41


def test_a_codec_has_its_bandwidth():
    coded = changed(tones(1_000, 6_000), "codec", min_bits=16, max_bits=16, bandwidth_hz=3_400).waveforms
    inside = coded[:, 2_000:-2_000].square().mean(1)
    assert decibels(inside[0] / inside[1]).item() > 45


def test_time_masks_silence_spans_within_the_clip():
    masked = changed(torch.ones(50, SAMPLES), "time_mask", max_seconds=0.2, count=2, lengths=[12_000] * 50).waveforms
    silent = (masked[:, :12_000] == 0).sum(1)
    assert silent.max() <= 6_400
    assert 2_000 < silent.float().mean() < 4_000
    assert masked[:, 12_000:].abs().max() == 0


def test_frequency_masks_silence_a_band_no_wider_than_asked_for():
    clicks = torch.zeros(20, SAMPLES)
    clicks[:, SAMPLES // 2] = 1
    masked = changed(clicks, "frequency_mask", max_fraction=0.2).waveforms
    hz = torch.fft.rfftfreq(SAMPLES, 1 / RATE_HZ)
    silent = torch.fft.rfft(masked).abs() < 0.05
    mels = torch.log1p(hz / 700) / np.log1p(8_000 / 700)
    widths = torch.stack([mels[row].max() - mels[row].min() for row in silent if row.any()])
    assert len(widths) >= 18
    assert 0.15 < widths.max() <= 0.21


def test_mixup_mixes_labels_as_it_mixes_sound():
    clips = tones(500, 2_000)
    mixed = changed(clips, "mixup", alpha=5.0, seed=2)
    spectra = torch.fft.rfft(mixed.waveforms).abs()
    heard = spectra[:, [500, 2_000]] / spectra[:, [500, 2_000]].sum(1, keepdim=True)
    assert torch.allclose(mixed.targets, heard, atol=1e-3)
    assert torch.allclose(mixed.targets.sum(1), torch.ones(2))
    assert (mixed.targets.min(1).values > 0.05).all(), "this seed mixes nothing"
    assert mixed.targets.argmax(1).tolist() == [0, 1]


def test_cutmix_labels_by_the_length_of_what_was_put_in():
    clips = torch.stack([torch.full((SAMPLES,), 1.0), torch.full((SAMPLES,), 2.0)])
    clips[1, 9_000:] = 0
    mixed = changed(clips, "cutmix", seed=2, lengths=[SAMPLES, 9_000])
    assert (mixed.targets.min(1).values > 0.01).all(), "this seed mixes nothing"
    assert mixed.targets[0, 1].item() == pytest.approx((mixed.waveforms[0] == 2).sum().item() / SAMPLES)
    assert mixed.targets[1, 0].item() == pytest.approx((mixed.waveforms[1] == 1).sum().item() / 9_000)
    assert mixed.waveforms[1, 9_000:].abs().max() == 0
    assert mixed.lengths.tolist() == [SAMPLES, 9_000]
