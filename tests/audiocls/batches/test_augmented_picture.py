from __future__ import annotations

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from audiocls.batches.augmented_picture import augmented_panels, draw_augmented
from audiocls.params.augmentation import AugmentationParams
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store


@pytest.fixture(scope="module")
def draw(tones, tmp_path_factory):
    """A function that draws tones with some transforms, and returns the panels, params and (split clips, store)."""
    workspace = tmp_path_factory.mktemp("picture")
    source = {"source": "folder", "path": str(tones), "group_by": "file"}
    params = RunParams.model_validate({"data": source, "audio": {"max_seconds": 0.4}})
    manifest = list_clips(params.data, workspace)
    plan = plan_store(manifest, params.audio, workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    corpus = collect_corpus(manifest, plan, workspace)
    splits = workspace / "splits.parquet"
    pd.read_parquet(corpus.clips).assign(split="train").to_parquet(splits)

    def drawn(*sections):
        steps = TypeAdapter(list[AugmentationParams]).validate_python(list(sections))
        data = PreparedData(splits, corpus.store, params.model_copy(update={"augmentation": steps}))
        return augmented_panels(data), data

    return drawn


def test_a_row_each_shows_what_a_transform_does(draw):
    rows, _ = draw({"kind": "gain", "min_db": -30.0, "max_db": -30.0, "probability": 0.01}, {"kind": "mixup"})
    assert list(rows) == ["as it is", "1. gain", "2. mixup", "all"]
    plain, quiet = rows["as it is"], rows["1. gain"]
    assert sorted(panel.title for panel in plain) == ["high", "low", "middle"]
    for before, after in zip(plain, quiet, strict=True):
        assert before.levels_db.max() == pytest.approx(
            20 * np.log10(0.3), abs=3.5
        )  # the lowest bins are narrower than the window's lobe
        assert after.levels_db.max() == pytest.approx(before.levels_db.max() - 30, abs=0.1)
        assert before.seconds == pytest.approx(before.levels_db.shape[1] / 100, abs=0.02)
    bins = {panel.title: panel.levels_db.mean(1).argmax() for panel in plain}
    assert bins["low"] < bins["middle"] < bins["high"]
    assert any(" + " in panel.title for panel in rows["2. mixup"])


def test_the_picture_is_drawn(draw, tmp_path):
    _, data = draw({"kind": "noise", "min_snr_db": 0.0})
    pixels = matplotlib.image.imread(draw_augmented(data, tmp_path / "new" / "augmentation.png"))
    assert min(pixels.shape[:2]) > 200
    assert pixels[..., :3].std() > 0.1
