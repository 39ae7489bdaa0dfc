from __future__ import annotations

import pytest

from audiocls.progress import progress_bar


def test_without_a_terminal_nothing_is_written(capsys):
    with progress_bar("decoding", 3) as bar:
        bar.advance(1)
        bar.advance(2)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_the_bar_shows_what_is_done_on_stderr_alone(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with progress_bar("decoding", 3) as bar:
        bar.advance(3)
    written = capsys.readouterr()
    assert written.out == ""
    assert "decoding" in written.err
    assert "3/3" in written.err


def test_an_error_in_the_work_comes_through():
    with pytest.raises(ValueError, match="a broken shard"), progress_bar("decoding", 3):
        raise ValueError("a broken shard")
