"""No sound is lost in silence: every format, however it was written, against the signal that was encoded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

pytest.importorskip("av", reason="PyAV is in an extra: pip install 'audiocls[formats]'")

FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "formats.py"
spec = importlib.util.spec_from_file_location("formats", FILE)
formats = importlib.util.module_from_spec(spec)
sys.modules["formats"] = formats
spec.loader.exec_module(formats)

WHOLE = ["seekable", "piped", "no size", "joined"]
# Their header has no length when written to a pipe, and they are not written in packets that say how long they are.
UNDECLARED = {"WAV", "W64", "AIFF", "AU", "CAF"}
# A cut between two frames or packets leaves no trace where there is no length either.
CUT_BETWEEN_FRAMES = {("MP2", "cut"), ("MP2", "piped, cut"), ("WMA", "piped, cut")}

names = pytest.mark.parametrize("name", [kind.name for kind in formats.FORMATS])


def cases(name, situation=None):
    return [case for case in formats.measure_all() if case.format == name and situation in (None, case.situation)]


def test_the_matrix_has_every_situation_at_several_rates_with_one_channel_and_two():
    found = formats.measure_all()
    assert len(found) > 500
    assert len({case.format for case in found}) == len(formats.FORMATS) >= 30
    for situation in formats.SITUATIONS:
        held = [case for case in found if case.situation == situation]
        assert len({case.format for case in held}) >= 12
        assert {case.channels for case in held} == {1, 2}
        assert {8_000, 44_100} <= {case.rate_hz for case in held}


@names
def test_what_is_whole_is_decoded_to_the_signal_that_was_encoded(name):
    whole = [case for case in cases(name) if case.situation in WHOLE]
    assert {"seekable", "joined"} <= {case.situation for case in whole}
    assert {case.outcome for case in whole} == {"decoded"}, whole


@names
def test_what_is_cut_is_truncated_wherever_anything_in_the_file_tells(name):
    for situation in ("cut", "piped, cut"):
        found = {case.outcome for case in cases(name, situation)}
        if situation == "piped, cut" and name.split(",")[0] in UNDECLARED and name != "WAV, MP3":
            assert found <= {"the part"}
        elif (name, situation) in CUT_BETWEEN_FRAMES:
            assert found <= {"truncated", "unreadable", "the part"}
        else:
            assert found <= {"truncated"}


@names
def test_without_the_extra_no_sound_is_lost_either(name):
    for case in cases(name):
        assert case.without_extra in ({case.outcome} if case.without_extra != "extra" else {"extra"})


@names
def test_what_is_decoded_is_no_shorter_than_what_ffmpeg_decodes(name):
    for case in cases(name):
        # The header of the second of two joined SPHERE files is taken for sound by FFmpeg.
        if case.outcome == "decoded" and (name, case.situation) != ("NIST SPHERE", "joined"):
            assert case.seconds > case.seconds_by_ffmpeg - 0.05


def test_the_page_has_the_measured_tables():
    assert formats.PAGE.read_text() == formats.page(), "run: python benchmarks/formats.py"
