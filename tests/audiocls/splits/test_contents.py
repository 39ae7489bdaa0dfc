from __future__ import annotations

import pandas as pd

from audiocls.splits.contents import split_contents


def test_a_digest_changes_with_sounds_and_labels_and_not_with_names_or_order(tmp_path):
    rows = [("train", "h1", "a", "1.wav"), ("train", "h2", "b", "2.wav"), ("test", "h3", "a", "3.wav")]
    table = pd.DataFrame(rows, columns=["split", "audio_hash", "label", "clip_id"])

    def contents(changed):
        changed.to_parquet(tmp_path / "clips.parquet")
        return {each.split: (each.clips, each.digest) for each in split_contents(tmp_path / "clips.parquet")}

    plain = contents(table)
    assert {split: clips for split, (clips, _) in plain.items()} == {"train": 2, "test": 1}
    assert contents(table.iloc[::-1].assign(clip_id="x.wav")) == plain
    for name, value in (("label", "c"), ("audio_hash", "h4")):
        changed = contents(table.assign(**{name: [value, *table[name][1:]]}))
        assert changed["train"] != plain["train"]
        assert changed["test"] == plain["test"]
