"""`audio.chunk` replaces what cuts clips otherwise, and what contradicts it is refused."""

from __future__ import annotations

import pytest
import yaml

from audiocls.batches.lengths import input_samples
from audiocls.batches.windows import hop_samples
from audiocls.comparison.methods import plan_trainings
from audiocls.errors import ParamsError
from audiocls.params.run import AudioParams, RunParams
from audiocls.params_file.conflicts import find_conflicts
from audiocls.params_file.reading import dump_params, load_params

CHUNK = {"seconds": 2, "hop": 0.5, "per_epoch": 3}


def params(**sections) -> RunParams:
    return RunParams.model_validate({"data": {"source": "sample"}} | sections)


def test_a_chunk_is_the_input_and_its_hop_that_of_evaluation():
    audio = AudioParams.model_validate({"chunk": CHUNK})
    assert (audio.max_seconds, input_samples(audio), hop_samples(audio)) == (2, 32_000, 8_000)
    assert AudioParams.model_validate({"chunk": None}) == AudioParams()


def test_a_dump_is_read_back(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(dump_params(params(audio={"chunk": CHUNK})))
    assert load_params(file) == params(audio={"chunk": CHUNK})


@pytest.mark.parametrize(
    ("sections", "key", "said"),
    [
        ({"audio": {"chunk": CHUNK, "max_seconds": 10.0}}, "audio.max_seconds", "audio.chunk.seconds = 2"),
        (
            {"audio": {"chunk": CHUNK, "truncate": "fusion"}, "model": {"family": "clap"}},
            "audio.truncate",
            "clips as a whole",
        ),
        ({"audio": {"chunk": CHUNK, "truncate": "head"}}, "audio.truncate", "no effect"),
        ({"audio": {"chunk": CHUNK, "window_overlap": 0.25}}, "audio.window_overlap", "hop"),
        ({"audio": {"chunk": CHUNK}, "training": {"group_by_length": True}}, "training.group_by_length", "one length"),
        ({"audio": {"chunk": CHUNK}, "balance": {"method": "decoupled"}}, "balance.method", "one embedding"),
    ],
)
def test_what_contradicts_a_chunk_is_told(sections, key, said):
    ((where, message),) = find_conflicts(params(**sections))
    assert where == key
    assert said in message


@pytest.mark.parametrize(
    ("chunk", "lines"),
    [
        ({"seconds": 1, "hop": 2}, ["audio.chunk = {'hop': 2, 'seconds': 1}: hop = 2 must be at most seconds = 1"]),
        ({"seconds": 0, "hop": -1}, ["audio.chunk.seconds = 0: must be greater", "audio.chunk.hop = -1: must be"]),
        ({"seconds": "x"}, ["audio.chunk.seconds = 'x': must be a valid number", "audio.chunk.hop is missing"]),
        (3, ["audio.chunk = 3: must be a section"]),
    ],
)
def test_a_chunk_that_is_none_is_one_mistake_each(chunk, lines, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({"data": {"source": "sample"}, "audio": {"chunk": chunk}}))
    with pytest.raises(ParamsError) as caught:
        load_params(file)
    assert f"{len(lines)} mistake" in str(caught.value)
    for line in lines:
        assert line in str(caught.value)


def test_a_comparison_trains_on_windows_only_end_to_end(tmp_path):
    with pytest.raises(ParamsError, match="one embedding of each file"):
        plan_trainings(params(audio={"chunk": CHUNK}), tmp_path)
    comparison = {"methods": ["tau_norm"], "end_to_end": ["oversample"], "seeds": 1}
    assert len(plan_trainings(params(audio={"chunk": CHUNK}, comparison=comparison), tmp_path)) == 2
