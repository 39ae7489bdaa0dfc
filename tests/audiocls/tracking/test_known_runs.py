from __future__ import annotations

import pytest

from audiocls import tracking
from audiocls.errors import ParamsError
from audiocls.params.run import RunParams


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tracked_workspace):
    """(the store, three runs, two of them of one name)."""
    workspace = tracked_workspace(tmp_path_factory.mktemp("known"))
    params = RunParams.model_validate({"workspace": str(workspace), "data": {"source": "sample"}})
    made = [tracking.start_run(params, name, {"kind": "evaluate"}) for name in ("one run", "it's", "it's")]
    made.append(tracking.start_run(params, "twice", {}))
    made.append(tracking.start_run(params, "twice", {}))
    return params.tracking_uri, made


def test_a_run_is_found_by_its_id_the_beginning_of_it_and_its_name(runs):
    uri, (first, *_) = runs
    for asked in (first.run_id, first.run_id[:12], "one run"):
        found = tracking.find_run(asked, uri)
        assert found.run_id == first.run_id
        assert found.name == "one run"
        assert found.tags["kind"] == "evaluate"
    assert tracking.find_run("one", uri) is None
    assert tracking.find_run("it's", uri) is None  # MLflow's filters cannot ask for it
    assert tracking.find_run("", uri) is None


def test_a_name_of_several_runs_lists_their_ids(runs):
    uri, made = runs
    with pytest.raises(ParamsError, match=r"2 runs in .* match") as raised:
        tracking.find_run("twice", uri)
    assert all(run.run_id in str(raised.value) for run in made[-2:])


def test_a_store_that_is_not_there_has_no_run_and_is_not_created(tmp_path):
    assert tracking.find_run("first", f"sqlite:///{tmp_path}/none.db") is None
    assert not list(tmp_path.iterdir())


def test_a_file_of_a_run_is_downloaded_and_one_that_is_not_there_is_none(runs, tmp_path):
    uri, (first, *_) = runs
    tracking.log_json(first, {"a": 1}, "evaluation/a.json")
    found = tracking.find_run(first.run_id, uri)
    assert tracking.download_file(found, "evaluation/a.json", tmp_path / "down").read_text().split() == [
        "{",
        '"a":',
        "1",
        "}",
    ]
    assert tracking.download_file(found, "evaluation/b.json", tmp_path / "down") is None
    assert tracking.download_file(found, "other/b.json", tmp_path / "down") is None
