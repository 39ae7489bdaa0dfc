"""A saved model is evaluated as `Classifier` uses it, and is not changed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from tiny_classifiers import save_classifier

from audiocls.errors import DataError, ParamsError
from audiocls.evaluation.model_report import intervals_of_test
from audiocls.evaluation.saved_model import find_saved_model
from audiocls.evaluation.scoring import evaluate
from audiocls.evaluation.selection import read_label_map, select_clips
from audiocls.inference import Classifier
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.prepared_data import PreparedData
from audiocls.waveforms.corpus import collect_corpus

LABELS = {False: ("a", "b", "c", "unheard"), True: ("a", "a,c", "", "b,unheard")}


@pytest.fixture(scope="module", params=[False, True], ids=["one label", "any number of labels"])
def corpus(request, tmp_path_factory, fill_store):
    """(its params, the corpus): 24 clips of noise, longer than the model's input, by six speakers."""
    workspace, rows = tmp_path_factory.mktemp("corpus"), []
    for number in range(24):
        rng = np.random.default_rng(number)
        soundfile.write(workspace / f"{number}.wav", rng.uniform(-0.3, 0.3, 12_000) * rng.random(), 16_000)
        rows.append((f"{number}.wav", LABELS[request.param][number % 4], number % 6))
    pd.DataFrame(rows, columns=["path", "label", "speaker"]).to_csv(workspace / "clips.csv", index=False)
    data = {"source": "table", "path": str(workspace / "clips.csv"), "group_column": "speaker"}
    params = RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": data | {"labels": "multi" if request.param else "single"},
            "audio": {"max_seconds": 0.3, "max_file_seconds": 60.0},
            "evaluation": {"robustness_clips": 4},
        }
    )
    manifest = list_clips(params.data, workspace)
    return params, collect_corpus(manifest, fill_store(manifest, workspace, params.audio), workspace)


@pytest.fixture
def model(corpus, tmp_path):
    """A model with a temperature, a pooling and thresholds of its own."""
    multi_label = corpus[0].is_multi_label
    folder = save_classifier(tmp_path / "model", multi_label=multi_label)
    settings = json.loads((folder / "inference.json").read_text())
    chosen = {"thresholds": {"a": 0.3, "b": 0.7}} if multi_label else {"temperature": 3.0}
    (folder / "inference.json").write_text(json.dumps(settings | {"pooling": "max"} | chosen))
    return folder


def test_a_saved_model_is_evaluated_as_it_is_used_and_stays_as_it_is(corpus, model, tmp_path):
    params, gathered = corpus
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    saved = find_saved_model(str(model), params)
    assert saved.params.audio.max_seconds == 0.4
    assert saved.params.audio.max_file_seconds == 60
    assert saved.notes == ("audio.max_seconds = 0.3 is not used: the model has 0.4.",)
    selection = select_clips(gathered.clips, saved, tmp_path / "report")
    data = PreparedData(selection.clips, gathered.store, saved.params)
    found = evaluate(saved.folder, data, tmp_path / "report", saved.settings)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    table = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    for row in table.to_dict(orient="records"):
        used = Classifier.load(model).predict(row["path"])
        assert [row[f"probability/{label}"] for label in "abc"] == pytest.approx(
            [*used.probabilities.values()], abs=2e-3
        )
        if not params.is_multi_label:
            assert row["predicted"] == used.label
    assert not any(name.startswith("validation/") for name in found.metrics)
    assert found.pooling == "max"
    assert selection.sentences()[0].startswith("The model does not say which clips it was trained on")
    assert selection.unknown == {"unheard": 6}
    assert selection.num_clips == (24 if params.is_multi_label else 18)
    intervals = intervals_of_test(tmp_path / "report" / "predictions.parquet", ["a", "b", "c"])
    name = "map_macro" if params.is_multi_label else "f1_macro"
    assert float(intervals[name].value) == pytest.approx(found.metrics[f"test/{name}"])
    assert intervals[name].low < intervals[name].value < intervals[name].high


def test_a_model_of_the_other_kind_is_refused(corpus, tmp_path):
    params = corpus[0]
    folder = save_classifier(tmp_path / "other", multi_label=not params.is_multi_label)
    needed = "single" if params.is_multi_label else "multi"
    with pytest.raises(ParamsError, match=f"set data.labels={needed}"):
        find_saved_model(str(folder), params)


def test_a_checkpoint_without_settings_is_evaluated_with_defaults_and_says_so(corpus, model):
    params = corpus[0]
    (model / "inference.json").unlink()
    saved = find_saved_model(str(model), params)
    assert saved.notes[-1].startswith("The model has no inference.json")
    assert saved.run_id is None
    assert saved.settings.labels == ["a", "b", "c"]


def test_labels_are_renamed_to_those_of_the_model(corpus, model, tmp_path):
    params, gathered = corpus
    saved = find_saved_model(str(model), params)
    file = tmp_path / "names.yaml"
    file.write_text("unheard: c\n")
    names = read_label_map(file)
    selection = select_clips(gathered.clips, saved, tmp_path / "report", names=names)
    assert (selection.num_clips, selection.unknown) == (24, {})
    labels = pd.read_parquet(selection.clips)["label"]
    assert set(labels) == ({"a", "a + c", "(none)", "b + c"} if params.is_multi_label else {"a", "b", "c"})
    with pytest.raises(ParamsError, match="no clip has the label nothing"):
        select_clips(gathered.clips, saved, tmp_path / "report", names={"nothing": "a"})
    file.write_text("- a\n")
    with pytest.raises(ParamsError, match="must have a line for each label"):
        read_label_map(file)


def test_without_a_clip_that_can_be_scored_the_labels_of_the_model_are_named(corpus, tmp_path):
    params, gathered = corpus
    folder = save_classifier(tmp_path / "other", "xyz", multi_label=params.is_multi_label)
    saved = find_saved_model(str(folder), params)
    with pytest.raises(DataError, match=r"no clip is left.*Its labels are x, y, z; --label-map renames"):
        select_clips(gathered.clips, saved, tmp_path)
