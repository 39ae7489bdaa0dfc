#!/usr/bin/env python3
"""Extract recordings from Debian packages into a folder with a manifest.csv. On Debian and Ubuntu, without root.

    python benchmarks/corpora.py data phrases letters

phrases  Telephone prompts in five languages, 8 kHz WAV, one voice per language; the label is the language. The group
         is the prompt, so that a sentence is only in one split, and the split is a hash of the group.
letters  Spoken letters and syllables in some twenty languages, OGG at 22 to 128 kHz, mono and stereo, long-tailed. The
         group is the initial of the spoken text; no split.

The recordings are under CC-BY-SA 3.0 and GPL/GFDL, as stated by the packages, and are not part of the repository.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LANGUAGES = ("en", "es", "fr", "it", "ru")
PACKAGES = {
    "phrases": [f"asterisk-core-sounds-{language}-wav" for language in LANGUAGES],
    "letters": ["klettres-data"],
}
FOLDS = {0: "test", 1: "validation"}  # of five; the other three are for training


class Clip(NamedTuple):
    """One recording in an unpacked package."""

    source: Path
    label: str
    group: str


def main(arguments: list[str]) -> int:
    """Build the corpora that are named, or say how."""
    if len(arguments) < 2 or not set(arguments[1:]) <= set(PACKAGES):
        sys.stderr.write(f"usage: corpora.py FOLDER {{{','.join(PACKAGES)}}} ...\n")
        return 2
    for name in arguments[1:]:
        try:
            build(name, Path(arguments[0]).resolve())
        except FileNotFoundError as error:
            sys.stderr.write(f"error: {error.filename} is not on this machine; the corpora need Debian or Ubuntu.\n")
            return 1
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"error: {error.stderr.decode()}Perhaps `sudo apt-get update` helps.\n")
            return 1
    return 0


def build(name: str, folder: Path) -> None:
    """Unpack the packages of one corpus and lay out FOLDER/NAME; the manifest comes last, when all is there."""
    packages = folder / ".packages" / name
    unpack(PACKAGES[name], packages)
    home = folder / name
    shutil.rmtree(home, ignore_errors=True)
    clips = list(phrases(packages) if name == "phrases" else letters(packages))
    rows = [(copy(clip, packages, home), clip.label, clip.group, split_of(clip.group)) for clip in clips]
    columns = 4 if name == "phrases" else 3
    with (home / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(row[:columns] for row in [("path", "label", "group", "split"), *rows])
    sys.stderr.write(f"{home}: {len(rows)} clips, {len({clip.label for clip in clips})} classes\n")


def unpack(names: list[str], folder: Path) -> None:
    """Download and unpack Debian packages, each into a folder of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (folder / name).exists():
            continue
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True, capture_output=True)
        archive = next(folder.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg", "-x", archive.name, f"{name}.part"], cwd=folder, check=True, capture_output=True)
        (folder / f"{name}.part").rename(folder / name)
        archive.unlink()


def recordings(folder: Path) -> list[Path]:
    """List WAV and OGG files in sorted order; links are other names of the same recording."""
    return sorted(p for p in folder.rglob("*") if p.suffix in {".wav", ".ogg"} and p.is_file() and not p.is_symlink())


def phrases(packages: Path) -> Iterator[Clip]:
    """Label each prompt by the language of its folder: .../sounds/en_US_f_Allison/digits/1.wav."""
    for path in recordings(packages):
        _, inside, below = path.as_posix().partition("/sounds/")
        voice, _, prompt = below.partition("/")
        if inside and voice[:2] in LANGUAGES and not voice[2:3].isalpha():
            yield Clip(path, voice[:2], prompt)


def letters(packages: Path) -> Iterator[Clip]:
    """Label each sound by the language of its folder: .../klettres/fr/alpha/a-0.ogg."""
    for path in recordings(packages):
        language, kind = path.parent.parent.name, path.parent.name
        yield Clip(path, language, f"{language}/{kind}/{path.stem[:1]}")


def copy(clip: Clip, packages: Path, home: Path) -> str:
    """Copy a recording to clips/LABEL/ under a name that no other one has; return the path from `home`."""
    name = clip.group.replace("/", "-").removesuffix(clip.source.suffix)
    # Tells apart what would have one name; nothing depends on it being hard to forge.
    unique = hashlib.md5(str(clip.source.relative_to(packages)).encode(), usedforsecurity=False).hexdigest()[:6]
    target = home / "clips" / clip.label / f"{name}-{unique}{clip.source.suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(clip.source, target)
    return target.relative_to(home).as_posix()


def split_of(group: str) -> str:
    """Draw a split by a hash of the group's name: one fifth for test and one for validation."""
    return FOLDS.get(int(hashlib.sha256(group.encode()).hexdigest(), 16) % 5, "train")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
