"""What the README and the Makefile promise is there. Its code blocks are tested in test_docs_blocks.py."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from audiocls.params.model import FAMILIES

HOME = Path(__file__).resolve().parents[1]
README = (HOME / "README.md").read_text()
TARGETS = re.findall(r"^([a-z-]+):.*## ", (HOME / "Makefile").read_text(), flags=re.MULTILINE)
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((HOME / "docs").glob("*.md")))]
MOST_IMAGE_BYTES = 200_000


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make"], cwd=HOME, capture_output=True, text=True, check=True).stdout
    assert len(TARGETS) > 8
    for target in TARGETS:
        assert f"make {target} " in listed


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_a_page_names_is_there(page):
    named = set(re.findall(r"`make ([a-z-]+)\b(?=[ `])", (HOME / page).read_text()))
    assert named <= set(TARGETS)


def test_the_readme_is_short_and_names_both_commands():
    assert len(README.splitlines()) <= 150
    assert {"train", "test"} <= set(re.findall(r"^make ([a-z-]+)", README, flags=re.MULTILINE))


def test_every_family_is_named():
    assert all(f"`{family}`" in (HOME / "docs" / "models.md").read_text() for family in FAMILIES)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", (HOME / page).read_text())
    for file, anchor in links:
        assert (HOME / file).is_file(), file
        if anchor:
            headings = re.findall(r"^#+ (.*)$", (HOME / file).read_text(), flags=re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]


def test_pictures_are_small():
    pictures = sorted((HOME / "docs" / "images").iterdir())
    assert pictures
    assert all(picture.stat().st_size < MOST_IMAGE_BYTES for picture in pictures)


def test_every_params_file_that_a_page_names_is_there():
    named = {path for page in PAGES for path in re.findall(r"params/[a-z]+\.yaml", (HOME / page).read_text())}
    assert len(named) > 3
    assert [path for path in named - {"params/mine.yaml"} if not (HOME / path).exists()] == []
