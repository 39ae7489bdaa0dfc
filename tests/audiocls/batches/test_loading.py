from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.batches.loading import Loading, choose_loading
from audiocls.batches.training_batches import ORIGIN, TrainingClips, TrainingCollator
from audiocls.models.waveform_extractor import WaveformFeatureExtractor
from audiocls.params.run import AudioParams
from audiocls.params.training import TrainingParams
from audiocls.training.arguments import training_arguments
from audiocls.waveforms.mapped import MappedWaveforms


@pytest.mark.parametrize(
    ("device", "cores", "expected"),
    [
        ("cpu", 16, Loading(workers=0, prefetch=None, pinned=False)),
        ("cuda", 16, Loading(workers=4, prefetch=2, pinned=True)),
        ("cuda", 3, Loading(workers=2, prefetch=2, pinned=True)),
        ("cuda", 1, Loading(workers=0, prefetch=None, pinned=True)),
    ],
)
def test_a_cpu_reads_for_itself_and_a_gpu_is_read_for(device, cores, expected):
    assert choose_loading(device, cores) == expected


def test_trainer_takes_what_was_chosen(tmp_path):
    arguments = training_arguments(TrainingParams(device="cpu"), 1, tmp_path)
    assert arguments.dataloader_num_workers == 0
    assert not arguments.dataloader_pin_memory
    assert arguments.accelerator_config.non_blocking is False


def test_workers_read_the_batches_that_training_would_read_itself(tmp_path):
    lengths = [5_000, 700, 3_000, 1_600, 2_400]
    (tmp_path / "shards").mkdir()
    noise = [np.random.default_rng(i).integers(-9_999, 9_999, n).astype("<i2") for i, n in enumerate(lengths)]
    table = pa.table({"samples": pa.array([clip.tobytes() for clip in noise], pa.binary())})
    pq.write_table(table, tmp_path / "shards" / "one.parquet")
    first = np.cumsum([0, *lengths[:-1]])
    clips = pd.DataFrame({"label": "a", "shard": "one", "first_sample": first, "num_samples": lengths, "scale": 1.0})
    audio = AudioParams(max_seconds=0.1, truncate="random")
    dataset = TrainingClips(ClipDataset(clips, MappedWaveforms(clips, tmp_path), ["a"], audio, training=True), 17)
    dataset.set_epoch(3)
    collate = TrainingCollator(Collator(WaveformFeatureExtractor(), audio), None, leave_to_device=False)
    # Pinning takes a GPU. Not forked off this process, in which other tests may have left threads.
    for_gpu = dataclasses.replace(choose_loading("cuda", cores=3), pinned=False, workers=1)
    here, there = (
        list(DataLoader(dataset, batch_size=2, collate_fn=collate, **loading.loader_options(), **context))
        for loading, context in ((choose_loading("cpu"), {}), (for_gpu, {"multiprocessing_context": "spawn"}))
    )
    assert len(here) == len(there) == 3
    for own, theirs in zip(here, there, strict=True):
        assert own[ORIGIN] == theirs[ORIGIN]
        assert all(torch.equal(own[name], theirs[name]) for name in own if name != ORIGIN)
