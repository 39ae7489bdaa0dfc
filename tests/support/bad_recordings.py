"""Files of every kind that users have by mistake, and some that only look like it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

REASONS = {
    "text.wav": "unreadable",
    "empty.wav": "empty",
    "no_frames.wav": "empty",
    "cut.wav": "truncated",
    "nan.wav": "non_finite",
    "silent.wav": "silent",
    "short.wav": "too_short",
    "folder.wav": "not_a_file",
    "none.wav": "missing",
    "dangling.wav": "missing",
    "locked.wav": "unreadable",
    "rate_0.wav": "unreadable",
    "rate_192000.wav": None,
    "channels_8.wav": None,
}
"""The reason of each file; None: it can be used."""


def write_bad_recordings(folder: Path) -> list[Path]:
    """Write the files of `REASONS`, in their order."""
    sound = np.random.default_rng(0).uniform(-0.3, 0.3, (192_000, 8)).astype(np.float32)
    mono = sound[:16_000, 0]
    for name, samples, rate_hz in [
        ("no_frames.wav", mono[:0], 16_000),
        ("cut.wav", mono, 16_000),
        ("nan.wav", np.where(np.arange(16_000) == 9_000, np.nan, mono), 16_000),
        ("silent.wav", 0 * mono, 16_000),
        ("short.wav", mono[:100], 16_000),
        ("locked.wav", mono, 16_000),
        ("rate_0.wav", mono, 16_000),
        ("rate_192000.wav", sound[:, 0], 192_000),
        ("channels_8.wav", sound[:16_000], 16_000),
    ]:
        soundfile.write(folder / name, samples, rate_hz, subtype="FLOAT" if name == "nan.wav" else "PCM_16")
    (folder / "text.wav").write_text("no audio")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "folder.wav").mkdir()
    (folder / "dangling.wav").symlink_to(folder / "nowhere.wav")
    (folder / "locked.wav").chmod(0)
    _change(folder / "cut.wav", lambda content: content[:-8_000])
    _change(folder / "rate_0.wav", lambda content: content[:24] + struct.pack("<I", 0) + content[28:])
    return [folder / name for name in REASONS]


def lock(monkeypatch) -> None:
    """Let reading of `locked.wav` fail, which root may do despite its mode."""
    opened = Path.open

    def refuse(path, *arguments, **options):
        if path.name == "locked.wav":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)


def _change(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))
