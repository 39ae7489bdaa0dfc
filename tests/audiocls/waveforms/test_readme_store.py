"""The snippet of the documentation on reading a store does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from audiocls.waveforms.corpus import collect_corpus

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "stores.md").read_text()
(SNIPPET,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL) if "duckdb" in block]
BY_OTHERS, BY_PANDAS = SNIPPET.split("\n\n")[1:]


@pytest.fixture
def stored(tmp_path, monkeypatch, write_tone, list_table, fill_store):
    """A folder with a workspace of two tones, 0.1 and 0.2 s; the snippet's NAME and KEY in it."""
    for seconds, hz in ((0.1, 200.0), (0.2, 300.0)):
        write_tone(tmp_path / "audio" / f"{seconds}.wav", hz, seconds=seconds)
    rows = [(path, f"{path.stem} s") for path in sorted((tmp_path / "audio").iterdir())]
    manifest = list_table(tmp_path / "workspace", rows)
    plan = fill_store(manifest, tmp_path / "workspace")
    corpus = collect_corpus(manifest, plan, tmp_path / "workspace")
    monkeypatch.chdir(tmp_path)
    return {"NAME": corpus.clips.parent.name, "KEY": plan.store.name}


def run(code, named, names):
    for name, value in named.items():
        code = code.replace(f"/{name}/", f"/{value}/")
    exec(code, names)
    return names


def test_the_waveform_of_a_clip_is_read_with_pandas(stored, tone):
    names = run(BY_PANDAS, stored, {"np": np, "pd": pd})
    expected = np.rint(tone(200.0, 0.1) * 32_767) / 32_768
    np.testing.assert_allclose(names["waveform"], expected, atol=2 / 32_768)


def test_the_tables_are_read_with_polars_and_duckdb(stored):
    pytest.importorskip("polars", reason="NOT TESTED: the snippet needs pip install polars duckdb")
    pytest.importorskip("duckdb", reason="NOT TESTED: the snippet needs pip install polars duckdb")
    imports, *statements = SNIPPET.split("\n\n")[0].splitlines() + BY_OTHERS.splitlines()
    names: dict = {}
    for statement in statements:
        if statement.startswith(("pl.", "duckdb.")):
            statement = f"found_{statement[:2]} = {statement}"
        run(f"{imports}\n{statement}", stored, names)
    assert sorted(names["found_pl"]["duration_seconds"].to_list()) == pytest.approx([0.1, 0.2])
    hours = {label: (clips, hours) for label, clips, hours in names["found_du"].fetchall()}
    assert hours == {"0.1 s": (1, pytest.approx(0.1 / 3600)), "0.2 s": (1, pytest.approx(0.2 / 3600))}
