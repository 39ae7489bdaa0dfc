from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from pydantic import ValidationError

from audiocls.audit.confounds import measure_confounds
from audiocls.audit.report import write_audit
from audiocls.errors import DataError
from audiocls.near_duplicates.pairs import find_near_duplicates
from audiocls.params.data import PoolData
from audiocls.params_file.reading import load_params
from audiocls.sources.manifest import list_clips
from audiocls.waveforms.corpus import collect_corpus


def pool(sources, **options):
    return PoolData.model_validate({"source": "pool", "sources": sources, **options})


@pytest.fixture
def two(root, touch, write_csv):
    """A folder and a table that use the same names for clips, classes and speakers."""
    touch(root, "ann/yes_1.wav", "bob/no_1.wav")
    table = write_csv(root, "path,label,who\nann/yes_1.wav,yes,ann\nc.wav,maybe,cyd\n")
    pattern = r"(?P<group>\w+)/(?P<label>[a-z]+)_\d+\.wav"
    return {
        "home": {"source": "folder", "path": str(root), "pattern": pattern, "exclude": ["*.csv"]},
        "lab": {"source": "table", "path": str(table), "group_column": "who"},
    }


def test_clips_of_all_sources_are_listed_with_the_name_of_their_source(two, list_rows):
    rows = list_rows(pool(two))
    assert [(row["clip_id"], row["source"], row["label"], row["group"]) for row in rows] == [
        ("home:ann/yes_1.wav", "home", "yes", "home:ann"),
        ("home:bob/no_1.wav", "home", "no", "home:bob"),
        ("lab:ann/yes_1.wav", "lab", "yes", "lab:ann"),
        ("lab:c.wav", "lab", "maybe", "lab:cyd"),
    ]


def test_groups_may_mean_the_same_in_every_source_where_they_are_named(two, list_rows, root):
    third = {"source": "folder", "path": str(root), "include": ["*/*.wav"]}
    rows = list_rows(pool(two | {"bare": third}, shared_groups=True))
    assert {row["clip_id"]: row["group"] for row in rows} == {
        "home:ann/yes_1.wav": "ann",
        "home:bob/no_1.wav": "bob",
        "lab:ann/yes_1.wav": "ann",
        "lab:c.wav": "cyd",
        # A file's own name says nothing of another source's.
        "bare:ann/yes_1.wav": "bare:ann/yes_1.wav",
        "bare:bob/no_1.wav": "bare:bob/no_1.wav",
    }


def test_the_order_of_the_sources_and_a_source_alone_make_no_difference(two, tmp_path):
    first = list_clips(pool(two), tmp_path)
    assert list_clips(pool(dict(reversed(two.items()))), tmp_path) == first
    alone = pd.read_parquet(list_clips(pool({"lab": two["lab"]}), tmp_path))
    both = pd.read_parquet(first)
    pd.testing.assert_frame_equal(alone, both[both["source"] == "lab"].reset_index(drop=True))


def test_a_split_is_given_by_all_sources_or_by_none(root, touch, write_csv, list_rows):
    touch(root, "cat/a.wav")
    split = write_csv(root, "path,label,split\na.wav,cat,train\nb.wav,cat,test\n")
    table = {"source": "table", "path": str(split), "split_column": "split"}
    folder = {"source": "folder", "path": str(root), "include": ["cat/*"]}
    with pytest.raises(DataError, match=r"data\.sources: b give a split and a, c do not\. Set split_column"):
        list_rows(pool({"a": folder, "b": table, "c": folder}))
    rows = list_rows(pool({"a": table, "b": table}))
    assert [row["split"] for row in rows] == ["train", "test", "train", "test"]


def test_a_mistake_in_one_source_names_it(two, list_rows):
    with pytest.raises(DataError, match=r"^data\.sources\.far: data\.path = .*none: no such directory"):
        list_rows(pool(two | {"far": {"source": "folder", "path": "none"}}))


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a/b", ".a"])
def test_a_name_cannot_be_mistaken_for_a_part_of_a_path(two, name):
    with pytest.raises(ValidationError, match="should match pattern"):
        pool({name: two["lab"]})


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("{source: pool, sources: {a: {path: x}}}", "data.sources.a.source is missing"),
        ("{source: pool, sources: {a: {source: pool}}}", "data.sources.a.source = 'pool': must be one of 'folder', "),
        ("{source: pool, sources: {a: {source: table}}}", "data.sources.a.path is missing"),
        (
            "{source: pool, sources: {a: {source: table, path: x, group_by: file}}}",
            "data.sources.a.group_by = 'file': unknown key of data.sources.a.source=table; it belongs to "
            "data.sources.a.source=folder",
        ),
        (
            "{source: pool, sources: {a: {source: sample, max_bad_fraction: 0.5}}}",
            "data.sources.a.max_bad_fraction = 0.5: applies to all sources together; set data.max_bad_fraction instead",
        ),
        (
            "{source: pool, sources: {a: {source: sample, allow_lost_classes: true}}}",
            "data.sources.a.allow_lost_classes = true: applies to all sources together; "
            "set data.allow_lost_classes instead",
        ),
        (
            "{source: pool, sources: {a: {source: folder, path: x, group_by: folder, "
            "pattern: '(?P<label>.)(?P<group>.)'}}}",
            "data.sources.a.group_by = 'folder': data.sources.a.pattern already has a group (?P<group>...)",
        ),
    ],
)
def test_a_mistake_in_the_params_of_a_source_has_its_whole_key(tmp_path, data, line):
    (tmp_path / "run.yaml").write_text(f"data: {data}\n")
    with pytest.raises(Exception, match="1 mistake in the params") as caught:
        load_params(tmp_path / "run.yaml")
    assert str(caught.value).split("\n  ")[1].startswith(line)


# In the corpus and in its audit


@pytest.fixture
def corpus_of(tmp_path, tone, fill_store):
    """A function that pools folders of tones, {source: {label: groups}}, and returns the corpus."""

    def collected(sources, name):
        for source, labels in sources.items():
            for number, (label, groups) in enumerate(labels.items()):
                for i in range(groups * 2):
                    path = tmp_path / name / source / label / f"speaker-{i // 2}" / f"{i}.wav"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    hz = 200 + 100 * number + 7 * i + (3 if source == "b" else 0)
                    soundfile.write(path, tone(hz, 0.1 + 0.01 * (i % 5)).astype(np.float32), 16_000)
        folders = {
            source: {"source": "folder", "path": str(tmp_path / name / source), "group_by": "folder"}
            for source in sources
        }
        manifest = list_clips(pool(folders), tmp_path)
        return collect_corpus(manifest, fill_store(manifest, tmp_path), tmp_path)

    return collected


def test_the_source_is_kept_and_where_it_tells_the_class_the_audit_says_so(corpus_of, tmp_path):
    corpus = corpus_of({"a": {"yes": 6}, "b": {"no": 6, "maybe": 6}}, "apart")
    near = find_near_duplicates(corpus.clips, corpus.store)
    report = write_audit(corpus, near, tmp_path / "audit")
    assert set(pd.read_parquet(corpus.clips)["source"]) == {"a", "b"}
    (found,) = [finding for finding in report.findings if finding.title == "The source alone predicts the class"]
    assert (found.severity, found.spoils_score) == ("problem", True)
    facts = json.loads(report.json.read_text())
    assert [(row["source"], row["clips"], row["classes"]) for row in facts["corpus"]["sources"]] == [
        ("b", 24, 2),
        ("a", 12, 1),
    ]
    assert "<h2>Sources</h2>" in report.html.read_text()


def test_sources_that_hold_the_same_classes_tell_nothing(corpus_of):
    corpus = corpus_of({"a": {"yes": 6, "no": 6}, "b": {"yes": 6, "no": 6}}, "together")
    measured = measure_confounds(pd.read_parquet(corpus.clips), corpus.store, 16_000)
    (source,) = [found for found in measured if found.nuisance == "source"]
    assert source.balanced_accuracy == pytest.approx(0.5, abs=0.1)
    assert not source.reported


def test_one_source_alone_is_no_confound(corpus_of):
    corpus = corpus_of({"a": {"yes": 6, "no": 6}}, "alone")
    measured = measure_confounds(pd.read_parquet(corpus.clips), corpus.store, 16_000)
    assert "source" not in [found.nuisance for found in measured]


def test_the_digest_changes_with_the_name_of_a_source(corpus_of):
    digests = [corpus_of({name: {"yes": 1}}, f"pool-{name}").digest for name in ("a", "b")]
    assert len(set(digests)) == 2
