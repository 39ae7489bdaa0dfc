from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings, strategies as st

from audiocls.decoding.reading import MAX_CHANNELS, MAX_RATE_HZ, UnusableClipError
from audiocls.decoding.recording import FULL_SCALE, decode
from audiocls.params.run import AudioParams

AUDIO = AudioParams()
RATE_HZ = AUDIO.sample_rate_hz

# container, subtype, greatest error relative to the tone's RMS: rounding, 8 bits, or what a lossy codec leaves.
FORMATS = [
    ("WAV", "PCM_U8", 0.02),
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-4),
    ("WAV", "PCM_32", 1e-4),
    ("WAV", "FLOAT", 1e-4),
    ("WAV", "DOUBLE", 1e-4),
    ("WAV", "ULAW", 0.03),
    ("WAV", "ALAW", 0.03),
    ("FLAC", "PCM_16", 1e-4),
    ("FLAC", "PCM_24", 1e-4),
    ("OGG", "VORBIS", 0.03),
    ("OGG", "OPUS", 0.03),
    ("MP3", "MPEG_LAYER_III", 0.03),
    ("AIFF", "PCM_16", 1e-4),
]


def signal(recording):
    return recording.samples.astype(np.float64) / FULL_SCALE * recording.scale


def relative_error(found, expected):
    """RMS of the difference over RMS of what is expected, without the tenth at either end, where codecs settle."""
    inner = slice(len(expected) // 10, -len(expected) // 10)
    difference = found[inner] - expected[inner]
    return np.sqrt(np.mean(np.square(difference)) / np.mean(np.square(expected[inner], dtype=np.float64)))


def pitch_hz(samples, rate_hz):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * rate_hz / len(samples)


def reason_of(content, **settings):
    with pytest.raises(UnusableClipError) as caught:
        decode(content, AudioParams(**settings))
    assert caught.value.detail
    assert str(caught.value) == f"{caught.value.reason}: {caught.value.detail}"
    return caught.value.reason


def decoded_or_reason(content, params):
    """Return a recording and None, or None and a reason."""
    try:
        return decode(content, params), None
    except UnusableClipError as error:
        return None, error.reason


# What comes through


@pytest.mark.parametrize(("container", "subtype", "tolerance"), FORMATS)
def test_a_tone_comes_out_of_every_format_as_it_went_in(tone, encode, container, subtype, tolerance):
    original = tone(440, seconds=1.0)
    recording = decode(encode(original, RATE_HZ, container, subtype), AUDIO)
    assert recording.samples.dtype == np.int16
    assert len(recording.samples) == len(original)
    assert relative_error(signal(recording), original) < tolerance
    assert (recording.source_rate_hz, recording.source_channels) == (RATE_HZ, 1)
    assert recording.source_format == f"{container}/{subtype}"


def can_hold(container, subtype, channels, rate_hz):
    """What the formats themselves allow; all that is not named here holds one to eight channels at any rate."""
    if subtype == "OPUS":
        return rate_hz in (8_000, 16_000, 48_000)
    return container != "MP3" or (channels <= 2 and 8_000 <= rate_hz <= 48_000)


@pytest.mark.parametrize(("container", "subtype", "tolerance"), FORMATS)
def test_every_format_comes_through_with_one_to_eight_channels_at_4_to_192_khz(
    tone, encode, container, subtype, tolerance
):
    tried = 0
    for channels in (1, 2, 3, 6, 8):
        for rate_hz in (4_000, 8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000):
            if not can_hold(container, subtype, channels, rate_hz):
                continue
            original = tone(100, 0.5, rate_hz)
            content = encode(np.tile(original[:, None], (1, channels)), rate_hz, container, subtype)
            recording = decode(content, AUDIO)
            assert (recording.source_channels, recording.source_rate_hz) == (channels, rate_hz)
            assert recording.duration_seconds == 0.5
            # A lossy codec at 8 kHz is a third as good as at its best; the inner part is free of its edges.
            assert relative_error(signal(recording), tone(100, 0.5)) < max(3 * tolerance, 0.002), (channels, rate_hz)
            tried += 1
    assert tried == {"OPUS": 15, "MPEG_LAYER_III": 10}.get(subtype, 40)


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("AIFF", "PCM_16")])
def test_16_bits_at_the_same_rate_come_through_bit_by_bit(encode, container, subtype):
    every_value = np.random.default_rng(1).permutation(np.arange(-32768, 32768)).astype(np.int16)
    recording = decode(encode(every_value, RATE_HZ, container, subtype), AUDIO)
    np.testing.assert_array_equal(recording.samples, every_value)
    assert recording.scale == 1.0


@pytest.mark.parametrize("rate_hz", [32_000, 44_100, 48_000, 8_000, 22_254, 11_025, 96_000])
def test_resampling_keeps_the_length_in_seconds_and_the_pitch(tone, encode, rate_hz):
    recording = decode(encode(tone(1_000, seconds=1.0, rate_hz=rate_hz), rate_hz), AUDIO)
    assert len(recording.samples) == pytest.approx(RATE_HZ, abs=1)
    assert pitch_hz(recording.samples, RATE_HZ) == pytest.approx(1_000, abs=2)
    assert relative_error(signal(recording), tone(1_000, seconds=len(recording.samples) / RATE_HZ)) < 0.001
    assert recording.source_rate_hz == rate_hz
    assert recording.duration_seconds == pytest.approx(1.0, abs=1 / rate_hz)


def test_half_the_rate_is_half_the_samples(tone, encode):
    content = encode(tone(440, seconds=1.0))
    whole, half = (decode(content, AudioParams(sample_rate_hz=rate)) for rate in (16_000, 8_000))
    assert len(half.samples) * 2 == len(whole.samples)
    assert pitch_hz(half.samples, 8_000) == pytest.approx(pitch_hz(whole.samples, 16_000), abs=1)


def test_what_the_lower_rate_cannot_hold_does_not_come_back_as_another_pitch(tone, encode):
    both = tone(1_000, 1.0, 44_100, peak=0.3) + tone(15_000, 1.0, 44_100, peak=0.3)
    recording = decode(encode(both, 44_100), AUDIO)
    assert relative_error(signal(recording), tone(1_000, 1.0, peak=0.3)) < 0.001


def test_stereo_becomes_the_mean_of_its_channels(tone, encode):
    left, right = tone(300, 0.5, peak=0.4), tone(500, 0.5, peak=0.2)
    recording = decode(encode(np.stack([left, right], axis=1), subtype="FLOAT"), AUDIO)
    np.testing.assert_allclose(signal(recording), (left + right) / 2, atol=1 / FULL_SCALE)
    assert recording.source_channels == 2


def test_channels_that_cancel_are_silent_and_one_silent_channel_is_not(tone, encode):
    left = tone(300, 0.5)
    assert reason_of(encode(np.stack([left, -left], axis=1), subtype="FLOAT")) == "silent"
    recording = decode(encode(np.stack([left, 0 * left], axis=1), 44_100), AUDIO)
    assert recording.peak == pytest.approx(0.25, abs=0.001)


def test_a_float_file_beyond_full_scale_keeps_its_shape(tone, encode):
    loud = tone(440, seconds=0.5, peak=7.0)
    recording = decode(encode(loud, subtype="FLOAT"), AUDIO)
    assert recording.scale == pytest.approx(7.0, rel=0.001)
    assert recording.peak == pytest.approx(7.0, rel=0.001)
    assert np.abs(recording.samples).max() == 32_767
    assert relative_error(signal(recording), loud) < 1e-4


def test_the_measures_are_those_of_the_tone(tone, encode):
    recording = decode(encode(tone(500, seconds=1.0, peak=0.5)), AUDIO)
    assert recording.peak == pytest.approx(0.5, abs=1e-4)
    assert recording.rms_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert recording.duration_seconds == 1.0
    assert recording.clipped_fraction == recording.silence_fraction == 0.0
    assert recording.dc_offset == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("gain", [1.0, 0.01])
def test_pauses_count_as_silence_whatever_the_gain_and_the_offset(tone, encode, gain):
    half = tone(500, seconds=0.5, peak=0.5)
    clip = np.append(half, np.random.default_rng(0).normal(0, 5e-4, len(half))) + 0.1
    recording = decode(encode((gain * clip).astype(np.float32), subtype="FLOAT"), AUDIO)
    assert recording.silence_fraction == 0.5
    assert recording.dc_offset == pytest.approx(0.1 * gain, rel=1e-3)


def test_a_signal_that_is_nothing_but_its_offset_is_silent(encode):
    recording = decode(encode(np.full(16_000, -0.1, np.float32)), AUDIO)
    assert recording.silence_fraction == 1.0
    assert recording.dc_offset == pytest.approx(-0.1, abs=1e-4)


def test_clipping_is_counted_in_any_channel(tone, encode):
    clean = tone(500, seconds=1.0)
    clipped = clean.copy()
    clipped[:400] = 1.0
    recording = decode(encode(np.stack([clean, clipped], axis=1)), AUDIO)
    assert recording.clipped_fraction == pytest.approx(400 / 16_000)


@settings(deadline=None, max_examples=40)
@given(
    samples=st.lists(st.integers(-32768, 32767), min_size=1, max_size=400),
    channels=st.integers(1, 3),
    rate_hz=st.sampled_from([8_000, 16_000, 22_254, 44_100]),
)
def test_whatever_a_short_file_holds_it_is_decoded_or_has_a_reason(encode, samples, channels, rate_hz):
    frames = np.tile(np.array(samples, np.int16)[:, None], (1, channels))
    recording, reason = decoded_or_reason(encode(frames, rate_hz), AudioParams(min_seconds=0.0))
    assert reason in (None, "too_short", "silent")
    if recording is not None:
        assert abs(len(recording.samples) - len(samples) * RATE_HZ / rate_hz) <= 1
        assert recording.peak == pytest.approx(np.abs(np.array(samples)).max() / FULL_SCALE)


# What does not


def test_a_file_without_bytes_is_empty():
    assert reason_of(b"") == "empty"


def test_a_header_without_samples_is_empty(encode):
    assert reason_of(encode(np.zeros(0, np.float32))) == "empty"


@pytest.mark.parametrize(
    "content", [b"This is a text that somebody named a.wav\n" * 9, bytes(1000), b"\x89PNG\r\n\x1a\n" + bytes(99), b"R"]
)
def test_what_is_no_recording_is_unreadable(content):
    assert reason_of(content) == "unreadable"


NON_SEEKABLE = [
    ("WAV", "GSM610", 8_000),
    ("W64", "GSM610", 8_000),
    ("AIFF", "GSM610", 8_000),
    ("AU", "G721_32", 8_000),
    ("WAV", "G721_32", 8_000),
    ("WAV", "NMS_ADPCM_16", 8_000),
    ("XI", "DPCM_16", 44_100),
]


@pytest.mark.parametrize(("container", "subtype", "rate_hz"), NON_SEEKABLE)
def test_codecs_that_cannot_be_sought_in_are_decoded(tone, encode, container, subtype, rate_hz):
    recording = decode(encode(tone(440, 2.0, rate_hz), rate_hz, container, subtype), AUDIO)
    assert recording.duration_seconds == pytest.approx(2.0, abs=0.05)
    assert pitch_hz(recording.samples, RATE_HZ) == pytest.approx(440, abs=2)


def test_a_mistake_of_ours_is_not_blamed_on_the_recording(tone, encode, monkeypatch):
    def mistaken(*_, **__):
        raise ValueError("frames must be specified")

    monkeypatch.setattr(soundfile.SoundFile, "read", mistaken)
    with pytest.raises(ValueError, match="frames must be specified") as caught:
        decode(encode(tone(440), container="FLAC"), AUDIO)
    assert not isinstance(caught.value, UnusableClipError)


def test_a_cut_flac_is_truncated_and_says_the_same_every_time(encode):
    noise = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    content = encode(noise, container="FLAC")
    details = set()
    for _ in range(2):
        with pytest.raises(UnusableClipError) as caught:
            decode(content[: len(content) // 2], AUDIO)
        details.add((caught.value.reason, caught.value.detail))
    assert details == {("truncated", "the header declares 1.000 s, but the file has 0.512 s")}


def test_a_damaged_flac_is_unreadable_and_names_no_address(encode):
    noise = np.random.default_rng(1).normal(0, 0.1, 64_000).astype(np.float32)
    content = encode(noise, container="FLAC")
    third = len(content) // 3
    with pytest.raises(UnusableClipError) as caught:
        decode(content[:third] + bytes(third) + content[2 * third :], AUDIO)
    assert caught.value.reason == "unreadable"
    assert "flac" in caught.value.detail
    assert "0x" not in caught.value.detail


def test_a_truncated_wav_is_refused_before_it_is_too_short_or_silent(tone, encode):
    content = encode(np.append(np.zeros(8_000, np.float32), tone(440, seconds=0.5)))
    for num_bytes in (16_000, 320):
        assert reason_of(content[: 44 + num_bytes]) == "truncated"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_no_number_is_counted(tone, encode, bad):
    frames = np.stack([tone(440), tone(440)], axis=1)
    frames[5] = bad
    frames[7, 1] = bad
    with pytest.raises(UnusableClipError, match=f"non_finite: 2 of {len(frames)} frames"):
        decode(encode(frames, subtype="FLOAT"), AUDIO)


@pytest.mark.parametrize("seconds", [0.01, 0.049])
def test_a_clip_below_the_least_length_is_too_short(tone, encode, seconds):
    assert reason_of(encode(tone(440, seconds))) == "too_short"
    assert len(decode(encode(tone(440, seconds)), AudioParams(min_seconds=seconds)).samples) == round(seconds * 16_000)


def test_less_than_a_sample_at_the_new_rate_is_too_short(encode):
    assert reason_of(encode(np.full(2, 0.5, np.float32), 44_100), min_seconds=0.0) == "too_short"


def test_a_clip_above_the_greatest_length_is_too_long(tone, encode):
    content = encode(tone(440, seconds=2.0))
    assert reason_of(content, max_file_seconds=1.9) == "too_long"
    assert decode(content, AudioParams(max_file_seconds=2.0)).duration_seconds == 2.0


def with_flac_length(content, frames, rate_hz=None):
    """Write another number of frames, and maybe another rate, into the STREAMINFO block of a FLAC file."""
    fields = int.from_bytes(content[18:26], "big")  # 20 bits rate, 3 channels, 5 sample size, 36 frames
    fields = fields >> 36 << 36 | frames
    if rate_hz is not None:
        fields = fields & (1 << 44) - 1 | rate_hz << 44
    return content[:18] + fields.to_bytes(8, "big") + content[26:]


def with_wav_field(content, at, size, value):
    return content[:at] + value.to_bytes(size, "little") + content[at + size :]


@pytest.mark.parametrize("frames", [16_000 * 3_601, 2**36 - 1, 16_000 * 3_599])
def test_a_length_that_only_the_header_has_costs_no_memory(tone, encode, frames):
    stereo = np.stack([tone(440), tone(440)], axis=1)
    content = with_flac_length(encode(stereo, container="FLAC"), frames)
    tracemalloc.start()
    try:
        assert reason_of(content) == "truncated"
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000


@pytest.mark.parametrize(
    ("at", "size", "value"),
    [
        (22, 2, MAX_CHANNELS + 1),
        (22, 2, 0),
        (24, 4, MAX_RATE_HZ + 1),
        (24, 4, 2**32 - 1),
        (24, 4, 0),
        (20, 2, 0xBEEF),
    ],
)
def test_an_absurd_header_is_unreadable(tone, encode, at, size, value):
    assert reason_of(with_wav_field(encode(tone(440)), at, size, value)) == "unreadable"


def test_a_long_silence_in_a_good_flac_is_not_taken_for_an_absurd_header(tone, encode):
    quiet = np.concatenate([np.zeros(16_000 * 300, np.float32), tone(440, 0.5)])
    recording = decode(encode(quiet, container="FLAC"), AUDIO)
    assert recording.duration_seconds == 300.5


@settings(deadline=None, max_examples=100, derandomize=True)
@given(data=st.data())
def test_damaged_bytes_are_decoded_or_have_a_reason(encode, tone, data):
    container, subtype, _ = data.draw(st.sampled_from(FORMATS))
    content = bytearray(encode(tone(440), RATE_HZ, container, subtype))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    recording, reason = decoded_or_reason(bytes(content), AUDIO)
    assert reason in (None, "unreadable", "truncated", "empty", "too_short", "too_long", "non_finite", "silent")
    if recording is not None:
        assert recording.samples.any()
        assert np.isfinite([recording.scale, recording.peak, recording.rms_db]).all()


def test_what_stays_below_the_silence_level_is_silent_and_the_level_can_be_lowered(encode, tone):
    quiet = encode(tone(440, peak=10 ** (-70 / 20)), subtype="PCM_24")
    assert reason_of(quiet) == "silent"
    recording = decode(quiet, AudioParams(silence_db=-80.0))
    assert recording.samples.any()
    assert decode(encode(tone(440, peak=10 ** (-50 / 20)), subtype="PCM_24"), AUDIO).samples.any()


def test_what_the_target_rate_cannot_hold_is_silent(encode):
    time = np.arange(96_000) / 96_000
    ultrasound = np.hanning(96_000) * np.sin(2 * np.pi * 30_000 * time)
    content = encode(0.5 * ultrasound, 96_000, "WAV", "FLOAT")
    with pytest.raises(UnusableClipError, match="every 16-bit sample at 16000 Hz is zero"):
        decode(content, AUDIO)
