from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, strategies as st

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.lengths import fill, input_samples
from audiocls.models.families import build_extractor
from audiocls.params.model import FAMILIES, ModelParams
from audiocls.params.run import AudioParams
from audiocls.waveforms.mapped import MappedWaveforms

SAMPLES = 1_600  # 0.1 s


def dataset(tmp_path, lengths: list[int], *, training: bool, seed: int = 0, **audio) -> ClipDataset:
    """Clips whose sample i has the value i, so that a cut shows where it was made."""
    (tmp_path / "shards").mkdir(exist_ok=True)
    ramps = [np.arange(length, dtype="<i2") for length in lengths]
    table = pa.table({"samples": pa.array([ramp.tobytes() for ramp in ramps], pa.binary())})
    pq.write_table(table, tmp_path / "shards" / "one.parquet")
    first = np.cumsum([0, *lengths[:-1]])
    clips = pd.DataFrame({"label": "a", "shard": "one", "first_sample": first, "num_samples": lengths, "scale": 1.0})
    params = AudioParams(max_seconds=0.1, **audio)
    return ClipDataset(clips, MappedWaveforms(clips, tmp_path), ["a", "b"], params, training=training, seed=seed)


def first_sample(example) -> int:
    return round(float(example[0][0]) * 32_768)


def test_head_keeps_the_beginning(tmp_path):
    assert first_sample(dataset(tmp_path, [5_000], training=True, truncate="head")[0]) == 0


def test_center_keeps_the_middle(tmp_path):
    assert first_sample(dataset(tmp_path, [5_000], training=True, truncate="center")[0]) == 1_700


def cuts(clips: ClipDataset, epoch: int) -> list[int]:
    clips.set_epoch(epoch)
    return [first_sample(clips[i]) for i in range(len(clips))]


def test_random_cuts_elsewhere_in_every_epoch_and_everywhere_in_the_end(tmp_path):
    clips = dataset(tmp_path, [1_604] * 20, training=True, truncate="random")
    found = [cuts(clips, epoch) for epoch in range(20)]
    assert set(np.ravel(found)) == {0, 1, 2, 3, 4}
    assert len(set(map(tuple, found))) == 20
    counts = np.bincount(np.ravel(found))
    assert counts.min() > 40  # of 400, 80 each


def test_random_is_the_centre_in_evaluation(tmp_path):
    clips = dataset(tmp_path, [5_000], training=False, truncate="random")
    assert {first_sample(clips[0]) for _ in range(20)} == {1_700}


def test_cuts_follow_from_seed_epoch_and_row_and_from_nothing_else(tmp_path):
    clips = dataset(tmp_path, [5_000] * 6, training=True, truncate="random", seed=7)
    expected = cuts(clips, 3)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # a global generator that must not matter
    again = dataset(tmp_path, [5_000] * 6, training=True, truncate="random", seed=7)
    again.set_epoch(3)
    assert [first_sample(again[i]) for i in (4, 2)] == [expected[4], expected[2]]
    assert first_sample([again.__getitems__([5]).waveforms[0]]) == expected[5]
    assert cuts(dataset(tmp_path, [5_000] * 6, training=True, truncate="random", seed=8), 3) != expected


def test_fused_clips_come_whole_with_crops_that_follow_from_seed_epoch_and_row(tmp_path):
    clips = dataset(tmp_path, [5_000, 700] * 3, training=True, truncate="fusion", seed=7)
    clips.set_epoch(3)
    batch = clips.__getitems__([4, 1])
    assert batch.lengths.tolist() == [5_000, 700]
    assert first_sample(batch.waveforms) == 0
    assert (batch.waveforms[0, -1] * 32_768).round() == 4_999
    again = dataset(tmp_path, [5_000, 700] * 3, training=True, truncate="fusion", seed=7)
    assert not np.isin(again.__getitems__([4]).places, batch.places).any()
    again.set_epoch(3)
    assert np.array_equal(again.__getitems__([1, 4]).places, batch.places[::-1])
    assert (dataset(tmp_path, [5_000], training=False, truncate="fusion").__getitems__([0]).places == 0.5).all()


def test_a_cut_has_the_length_of_the_input(tmp_path):
    clips = dataset(tmp_path, [5_000, SAMPLES, 100], training=True)
    assert [len(clips[i][0]) for i in range(3)] == [SAMPLES, SAMPLES, 100]


@pytest.mark.parametrize(
    ("pad", "expected"),
    [("zero", [1, 2, 3]), ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]), ("repeat_pad", [1, 2, 3, 1, 2, 3])],
)
def test_short_clips_are_filled_as_the_policy_says(pad, expected):
    assert fill(np.array([1, 2, 3], np.float32), 8, pad).tolist() == expected


@given(length=st.integers(1, 50), samples=st.integers(1, 50), pad=st.sampled_from(["zero", "repeat", "repeat_pad"]))
def test_a_filled_clip_begins_with_the_clip_and_is_no_longer_than_the_input(length, samples, pad):
    waveform = np.arange(1, min(length, samples) + 1, dtype=np.float32)
    filled = fill(waveform, samples, pad)
    assert len(waveform) <= len(filled) <= samples
    assert np.array_equal(filled[: len(waveform)], waveform)
    assert pad != "repeat" or len(filled) == samples


def test_the_input_length_is_in_samples():
    assert input_samples(AudioParams(max_seconds=2.0, sample_rate_hz=8_000)) == 16_000


@pytest.mark.parametrize("lengths", [[5_000, 500, SAMPLES, 700], [5_000, 3_000]], ids=["ragged", "full"])
@pytest.mark.parametrize("pad", ["zero", "repeat", "repeat_pad"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_read_at_once_is_the_batch_of_clips_read_one_by_one(family, pad, lengths, tmp_path):
    audio = AudioParams(max_seconds=0.1, pad=pad)
    clips = dataset(tmp_path, lengths, training=True, pad=pad)
    collate = Collator(build_extractor(ModelParams(family=family), audio), audio)
    one_by_one = collate([clips[i] for i in range(len(lengths))])
    at_once = collate(clips.__getitems__(list(range(len(lengths)))))
    assert one_by_one.keys() == at_once.keys()
    for name, tensor in one_by_one.items():
        assert at_once[name].dtype == tensor.dtype
        assert torch.equal(at_once[name], tensor)


def test_the_data_loader_reads_whole_batches_and_every_clip_once(tmp_path):
    clips = dataset(tmp_path, [100 + i for i in range(10)], training=False)
    audio = AudioParams(max_seconds=0.1)
    collate = Collator(build_extractor(ModelParams(), audio), audio)
    loaded = list(torch.utils.data.DataLoader(clips, batch_size=4, collate_fn=collate))
    assert [len(batch["labels"]) for batch in loaded] == [4, 4, 2]
    assert torch.cat([batch["attention_mask"].sum(dim=1) for batch in loaded]).tolist() == [100 + i for i in range(10)]


def test_changing_a_batch_does_not_touch_the_store(tmp_path):
    clips = dataset(tmp_path, [5_000], training=False, truncate="head")
    clips.__getitems__([0]).waveforms[:] = 7
    assert first_sample(clips[0]) == 0
