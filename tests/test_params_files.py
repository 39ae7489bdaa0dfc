from __future__ import annotations

from pathlib import Path

import pytest

from audiocls.params_file.reading import dump_params, load_params

HOME = Path(__file__).resolve().parents[1]
FILES = sorted((HOME / "params").glob("*.yaml"))


def test_there_are_params_files_to_check():
    assert {"quickstart.yaml", "phrases.yaml"} <= {file.name for file in FILES}


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request) -> Path:
    return request.param


def test_it_loads_and_comes_back_the_same(file, tmp_path):
    params = load_params(file)
    (tmp_path / "again.yaml").write_text(dump_params(params))
    assert load_params(tmp_path / "again.yaml") == params


def test_it_opens_with_how_to_launch_it(file):
    opening = [line for line in file.read_text().splitlines()[:8] if line.startswith("#")]
    assert f"params/{file.name}" in " ".join(opening)
    assert "make train" in " ".join(opening)


def test_it_has_an_experiment_of_its_own(file):
    others = [load_params(other).experiment for other in FILES if other != file]
    assert load_params(file).experiment not in others
