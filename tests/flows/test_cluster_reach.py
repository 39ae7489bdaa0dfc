from __future__ import annotations

import logging
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

from audiocls.params.run import AudioParams, RunnerParams
from tasks import waveforms


def test_filling_a_store_warns_of_what_a_cluster_may_not_reach(tmp_path, monkeypatch, caplog):
    manifest = tmp_path / "manifest.parquet"
    pq.write_table(pa.table({"path": ["/shared/a.wav"]}), manifest)
    plan = SimpleNamespace(store=tmp_path / "waveforms" / "key", shards=("a shard",))
    monkeypatch.setattr(waveforms, "plan_store", lambda *_: plan)
    monkeypatch.setattr(waveforms, "run_shards", lambda *_: None)
    for runner, warnings in ((RunnerParams(), 0), (RunnerParams(kind="dask", address="tcp://host:8786"), 1)):
        with caplog.at_level(logging.WARNING, logger="audiocls"):
            waveforms.cache_waveforms(manifest, AudioParams(), tmp_path, runner)
        assert [record.name for record in caplog.records] == ["audiocls.waveforms.reach"] * warnings
