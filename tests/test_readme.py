"""What the README and the Makefile promise is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from audiocls.params.model import FAMILIES
from audiocls.params.run import RunParams
from audiocls.params_file.reading import load_params

HOME = Path(__file__).resolve().parents[1]
README = (HOME / "README.md").read_text()
TARGETS = re.findall(r"^([a-z]+):.*## ", (HOME / "Makefile").read_text(), flags=re.MULTILINE)


def test_make_alone_lists_every_target():
    listed = subprocess.run(["make"], cwd=HOME, capture_output=True, text=True, check=True).stdout
    assert len(TARGETS) > 8
    for target in TARGETS:
        assert f"make {target} " in listed


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\bmake ([a-z]+)\b(?=[ `)])", README))))
def test_every_target_that_the_readme_names_is_there(target):
    assert target in TARGETS


def test_every_family_is_named():
    assert all(f"`{family}`" in README for family in FAMILIES)


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))
def test_every_params_example_is_valid(block, tmp_path):
    file = tmp_path / "example.yaml"
    file.write_text(block)
    assert isinstance(load_params(file), RunParams)
    assert yaml.safe_load(block)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"params/[a-z]+\.yaml", README)) - {"params/mine.yaml"}))
def test_every_params_file_that_the_readme_names_is_there(path):
    assert (HOME / path).exists()
