import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank

from audiocls.errors import ParamsError
from audiocls.models.log_mel import LogMel, mask_spans

RATE_HZ = 16_000


def make_log_mel(**changes):
    sizes = {
        "sampling_rate": RATE_HZ,
        "num_mel_bins": 64,
        "window_samples": 400,
        "hop_samples": 160,
        "fft_size": 512,
        "min_frequency_hz": 20.0,
        "max_frequency_hz": 8_000.0,
    }
    return LogMel(**(sizes | changes))


def tone(frequency_hz, seconds=1.0, amplitude=0.1):
    times = torch.arange(int(RATE_HZ * seconds)) / RATE_HZ
    return amplitude * torch.sin(2 * torch.pi * frequency_hz * times)


def all_valid(waveforms):
    return torch.ones_like(waveforms, dtype=torch.bool)


@pytest.mark.parametrize("frequency_hz", [300.0, 1_000.0, 2_500.0, 6_000.0])
def test_tone_peaks_in_the_mel_bin_of_its_frequency(frequency_hz):
    waveforms = tone(frequency_hz)[None]
    frames, _ = make_log_mel()(waveforms, all_valid(waveforms))
    filters = mel_filter_bank(257, 64, 20.0, 8_000.0, RATE_HZ, norm="slaney", mel_scale="slaney")
    fft_bin = round(frequency_hz / (RATE_HZ / 512))
    assert frames[0, 50].argmax() == filters[fft_bin].argmax()


def test_ten_times_the_amplitude_gives_the_same_frames():
    waveforms = torch.stack([tone(700.0) + 0.01 * torch.randn(RATE_HZ, generator=torch.manual_seed(0))])
    log_mel = make_log_mel()
    quiet, _ = log_mel(waveforms, all_valid(waveforms))
    loud, _ = log_mel(10 * waveforms, all_valid(waveforms))
    torch.testing.assert_close(quiet, loud, atol=1e-4, rtol=0)


def test_what_lies_under_the_padding_is_not_heard():
    clip = tone(500.0, 0.3)
    silent, noisy = torch.zeros(2, RATE_HZ)
    noisy[clip.numel() :] = torch.randn(RATE_HZ - clip.numel())
    waveforms = torch.stack([silent, noisy])
    waveforms[:, : clip.numel()] = clip
    mask = torch.arange(RATE_HZ).expand(2, -1) < clip.numel()
    frames, frame_mask = make_log_mel()(waveforms, mask)
    alone, alone_mask = make_log_mel()(clip[None], all_valid(clip[None]))
    assert frame_mask.sum(1).tolist() == [30, 30]
    assert alone_mask.sum() == 30
    for padded in frames:
        torch.testing.assert_close(padded[:30], alone[0], atol=1e-5, rtol=0)
        assert padded[30:].abs().max() == 0


@pytest.mark.parametrize(("samples", "frames"), [(1, 1), (160, 1), (161, 2), (399, 3), (16_000, 100)])
def test_there_is_a_frame_a_hop_however_short_the_clip(samples, frames):
    waveforms = tone(440.0)[None, :samples]
    log_mels, mask = make_log_mel()(waveforms, all_valid(waveforms))
    assert log_mels.shape == (1, frames, 64)
    assert mask.shape == (1, frames)
    assert torch.isfinite(log_mels).all()


def test_digital_silence_gives_finite_frames():
    waveforms = torch.zeros(1, RATE_HZ)
    frames, _ = make_log_mel()(waveforms, all_valid(waveforms))
    assert torch.isfinite(frames).all()
    assert frames.min() == frames.max()


def test_frames_are_float32_under_autocast():
    waveforms = tone(440.0)[None]
    log_mel = make_log_mel()
    expected, _ = log_mel(waveforms, all_valid(waveforms))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        frames, _ = log_mel(waveforms, all_valid(waveforms))
    assert frames.dtype == torch.float32
    torch.testing.assert_close(frames, expected, atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore:At least one mel filter has all zero values")
def test_filters_too_narrow_for_the_fft_are_an_error_that_says_how_many():
    with pytest.raises(ParamsError, match=r"\d+ of num_mel_bins=256 .* fft_size=512"):
        make_log_mel(num_mel_bins=256)


@pytest.mark.parametrize("dim", [1, 2])
def test_masked_spans_cover_the_share_asked_for(dim):
    frames = torch.ones(64, 200, 200)
    torch.manual_seed(0)
    hidden = mask_spans(frames, dim, share=0.2, length=10) == 0
    other = 3 - dim
    assert (hidden.any(other) == hidden.all(other)).all()
    # Spans overlap and the first is cut at the edge, so a little less than 0.2 is hidden.
    assert 0.15 < hidden.float().mean() < 0.2


def test_masked_spans_repeat_with_the_seed_and_differ_from_clip_to_clip():
    frames = torch.ones(8, 100, 64)
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        drawn.append(mask_spans(frames, 1, share=0.3, length=10).numpy())
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    assert not np.array_equal(drawn[0][0], drawn[0][1])
