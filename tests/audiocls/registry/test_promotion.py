"""Versions, aliases and the ledger: what is in use, who decided, and what a killed process leaves."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from tiny_classifiers import save_classifier

from audiocls.errors import ParamsError, RegistryError
from audiocls.params.run import RunParams
from audiocls.registry import in_use, ledger, promotion, smoke
from audiocls.registry.logged_model import log_model
from audiocls.registry.promotion import Registry
from audiocls.registry.smoke import SMOKE_TAG, check_smoke, smoke_answers
from audiocls.registry.versions import CHALLENGER, CHAMPION, PREVIOUS, aliases_of
from audiocls.tracking import tracked_run

CARD = "---\nlibrary_name: transformers\n---\n\n# A model\n"


@pytest.fixture(scope="module")
def workspace(tracked_workspace, tmp_path_factory):
    return tracked_workspace(tmp_path_factory.mktemp("registry") / "workspace")


@pytest.fixture(scope="module")
def runs(workspace):
    """(run id, smoke answers) of three runs with models of other weights."""
    found = []
    for seed in (1, 2, 3):
        params = RunParams.model_validate(
            {"workspace": str(workspace), "seed": seed, "data": {"source": "folder", "path": "recordings"}}
        )
        with tracked_run(params, f"run {seed}", {}) as run:
            folder = save_classifier(workspace / f"model-{seed}", seed=seed)
            (folder / "README.md").write_text(CARD)
            log_model(run, folder, {"test/f1_macro": 0.5}, 1)
        found.append((run.run_id, json.dumps(smoke_answers(str(folder)))))
    return found


@pytest.fixture(scope="module")
def uri(workspace):
    return f"sqlite:///{workspace / 'mlflow.db'}"


@pytest.fixture
def loaded(monkeypatch):
    """Versions whose smoke test was asked for; it is not done, as a new process takes seconds."""
    asked: list[int] = []
    monkeypatch.setattr(promotion, "check_smoke", lambda version, store: asked.append(version.number))
    return asked


@pytest.fixture
def registry(uri, workspace, request):
    return Registry(request.node.name, uri, workspace / "registry")


def add(registry: Registry, *runs: tuple[str, str]) -> None:
    for run_id, answers in runs:
        registry.register(run_id, {SMOKE_TAG: answers}, "a test")


def aliases(registry: Registry) -> dict[str, int]:
    return aliases_of(MlflowClient(registry.uri), registry.name)


def test_versions_are_registered_promoted_and_rolled_back_and_the_ledger_says_so(registry, runs, loaded):
    add(registry, *runs, runs[2])
    assert registry.champion() is None
    assert registry.decided() == []
    assert aliases(registry) == {CHALLENGER: 3}
    started = datetime.now(UTC)
    first = registry.promote(1, "the first", against=None)
    assert registry.promote(3, "better", {"f1_macro": 0.9}, against=1).replaced == 1
    assert aliases(registry) == {CHAMPION: 3, PREVIOUS: 1}
    assert registry.roll_back("it fails in production").version == 1
    assert aliases(registry) == {CHAMPION: 1, PREVIOUS: 3}
    registry.keep(2, "no better", {"f1_macro": -0.1})
    assert [version.number for version in registry.decided()] == [1, 2, 3]
    entries = registry.history()
    assert [(e.action, e.version, e.replaced, e.outcome) for e in entries] == [
        ("registered", 1, None, "done"), ("registered", 2, None, "done"), ("registered", 3, None, "done"),
        ("promoted", 1, None, "done"), ("promoted", 3, 1, "done"), ("rolled back", 1, 3, "done"),
        ("kept", 2, 1, "done"),
    ]  # fmt: skip
    assert entries[4].figures == {"f1_macro": 0.9}
    assert "@" in entries[4].who
    assert [in_use(entries, at) for at in (started, first.at, entries[4].at, datetime.now(UTC))] == [None, 1, 3, 1]
    assert loaded == [1, 3, 1]


def test_a_decision_about_another_champion_is_refused(registry, runs, loaded):
    add(registry, *runs)
    registry.promote(1, "the first")
    registry.promote(2, "better", against=1)
    with pytest.raises(RegistryError, match="compared with version 1, and the champion is version 2 by now"):
        registry.promote(3, "better", against=1)
    with pytest.raises(ParamsError, match="version 2 is the champion already"):
        registry.promote(2, "again")
    with pytest.raises(ParamsError, match="there is no version 9; its versions are 1, 2, 3"):
        registry.promote(9, "a mistake")
    assert aliases(registry) == {CHAMPION: 2, PREVIOUS: 1, CHALLENGER: 3}


def test_nothing_to_roll_back_to_and_no_model_are_told(registry, runs, loaded):
    with pytest.raises(ParamsError, match=r"not registered; run: audiocls register RUN"):
        registry.roll_back("a mistake")
    add(registry, runs[0])
    registry.promote(1, "the first")
    with pytest.raises(ParamsError, match="no version was in use before version 1"):
        registry.roll_back("a mistake")


@pytest.mark.parametrize(
    ("calls", "champion", "previous", "outcome"),
    [(0, 1, None, "abandoned"), (1, 1, None, "abandoned"), (2, 2, 1, "done")],
    ids=["before the aliases move", "between the aliases", "before the outcome is noted"],
)
def test_a_killed_promotion_is_settled_by_the_next_change(calls, champion, previous, outcome, registry, runs, loaded):
    add(registry, *runs)
    registry.promote(1, "the first")

    def die() -> None:
        method, left = MlflowClient.set_registered_model_alias, [calls]

        def move(client, *arguments):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            method(client, *arguments)

        MlflowClient.set_registered_model_alias = move
        if calls == 2:
            promotion.settle_entry = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        registry.promote(2, "killed")

    process = multiprocessing.get_context("fork").Process(target=die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert registry.champion().number in (1, 2)
    registry.keep(3, "any change", {})
    found = aliases(registry)
    assert (found[CHAMPION], found.get(PREVIOUS, 1) if previous is None else found[PREVIOUS]) == (champion, 1)
    killed = next(entry for entry in registry.history() if entry.why == "killed")
    assert killed.outcome == outcome


def test_a_change_of_another_machine_that_is_under_way_is_not_disturbed(registry, runs, loaded, monkeypatch):
    add(registry, *runs)
    registry.promote(1, "the first")
    client = MlflowClient(registry.uri)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(ledger, "_user", lambda: "somebody@elsewhere")
        ledger.write_entry(client, registry.name, "promoted", 3, 1, "under way", {})
    with pytest.raises(RegistryError, match="somebody@elsewhere is changing the champion at this moment"):
        registry.promote(2, "better")
    assert aliases(registry)[CHAMPION] == 1
    monkeypatch.setattr(promotion, "_OTHERS_TAKE", timedelta(0))  # it was killed
    registry.promote(2, "better")
    assert aliases(registry)[CHAMPION] == 2


def promote_here(registry: Registry, number: int) -> None:
    promotion.check_smoke = lambda version, store: None
    try:
        registry.promote(number, f"process {number}", against=1)
    except RegistryError:
        os._exit(7)


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(registry, runs, loaded):
    add(registry, *runs)
    registry.promote(1, "the first")
    both = [multiprocessing.get_context("fork").Process(target=promote_here, args=(registry, n)) for n in (2, 3)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert sorted(process.exitcode for process in both) == [0, 7]
    winner = 2 if both[0].exitcode == 0 else 3
    assert (aliases(registry)[CHAMPION], aliases(registry)[PREVIOUS]) == (winner, 1)
    assert [entry.version for entry in registry.history() if entry.moves_the_champion] == [1, winner]


def test_a_version_answers_in_a_new_process_as_it_did_and_other_weights_are_found(registry, runs, uri, loaded):
    add(registry, *runs[:2])
    version = registry.version(2)
    check_smoke(version, uri)
    mlflow.set_tracking_uri(uri)
    try:
        folder = Path(mlflow.artifacts.download_artifacts(registry.version(1).uri))
        other = next(folder.rglob("model.safetensors"))
        weights = next(Path(mlflow.artifacts.download_artifacts(version.uri)).rglob("model.safetensors"))
    finally:
        mlflow.set_tracking_uri(None)
    kept = weights.read_bytes()
    try:
        shutil.copy(other, weights)
        with pytest.raises(RegistryError, match=r"its answer to smoke sound 0 is .* when it was registered"):
            check_smoke(version, uri)
    finally:
        weights.write_bytes(kept)


def test_the_smoke_sounds_are_the_same_each_time_and_differ_from_each_other():
    sounds = smoke.smoke_sounds(16_000, 0.4)
    again = smoke.smoke_sounds(16_000, 0.4)
    assert all((a.samples == b.samples).all() for a, b in zip(sounds, again, strict=True))
    assert len({sound.samples.tobytes() for sound in sounds}) == len(sounds) == 5
    assert max(len(sound.samples) for sound in sounds) > 2 * 6_400
