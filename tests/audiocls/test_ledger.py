from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiocls.errors import DataError
from audiocls.ledger import remembered_splits
from audiocls.params import SplitParams
from audiocls.splits import assign_splits, ledger_of

PARAMS = SplitParams(test_fraction=0.2, validation_fraction=0.2)


def assign(groups: list[str], folder, ledger, classes: int = 2, copies: dict[str, str] | None = None) -> dict[str, str]:
    """Split one clip a class and group; return the split of each group. `copies` gives groups a common recording."""
    rows = [
        (f"{g}-{c}", g, f"class {c}", (copies or {}).get(g, f"{g}-{c}") if c == 0 else f"{g}-{c}")
        for g in groups
        for c in range(classes)
    ]
    table = pd.DataFrame(rows, columns=["clip_id", "group", "label", "audio_hash"]).assign(split=None)
    path = folder / "corpora" / "digest" / "clips.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path)
    made = pd.read_parquet(assign_splits(path, PARAMS, 1, folder, ledger))
    return made.groupby("group")["split"].first().to_dict()


def without_some(names: list[str], splits: dict[str, str], number: int) -> list[str]:
    """Let some groups go, but the last one of no split."""
    kept = list(names)
    for name in names[:number]:
        if sum(splits[other] == splits[name] for other in kept) > 1:
            kept.remove(name)
    return kept


@given(
    first=st.sets(st.integers(0, 200), min_size=5, max_size=40),
    later=st.sets(st.integers(0, 200), max_size=40),
    dropped=st.integers(0, 10),
)
@settings(deadline=None, max_examples=20)
def test_no_earlier_group_moves_when_others_come_or_go(first, later, dropped, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    ledger = folder / "ledger.parquet"
    names = [f"speaker {i}" for i in sorted(first)]
    before = assign(names, folder, ledger)
    kept = without_some(names, before, dropped)
    after = assign(kept + [f"speaker {i}" for i in sorted(later - first)], folder, ledger)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    # And those that went are remembered when they come back.
    again = assign(names, folder, ledger)
    assert again == before


def test_new_groups_are_stratified_around_the_old_ones(tmp_path):
    ledger = tmp_path / "ledger.parquet"
    assign([f"old {i}" for i in range(20)], tmp_path, ledger)
    after = assign([f"old {i}" for i in range(20)] + [f"new {i}" for i in range(80)], tmp_path, ledger)
    counts = pd.Series(after).value_counts()
    assert counts["test"] == pytest.approx(20, abs=1)
    assert counts["validation"] == pytest.approx(20, abs=1)


def test_a_split_that_is_refused_is_not_remembered(tmp_path):
    ledger = tmp_path / "ledger.parquet"
    with pytest.raises(DataError):
        assign(["only one"], tmp_path, ledger)
    assert not ledger.exists()


def test_groups_that_a_new_copy_links_go_to_training_together(tmp_path):
    ledger = tmp_path / "ledger.parquet"
    names = [f"speaker {i}" for i in range(30)]
    before = assign(names, tmp_path, ledger)
    one = next(name for name in names if before[name] == "train")
    other = next(name for name in names if before[name] == "test")
    after = assign(names, tmp_path, ledger, copies={one: "the same", other: "the same"})
    assert after[one] == after[other] == "train"
    assert {n: s for n, s in after.items() if n != other} == {n: s for n, s in before.items() if n != other}


def test_what_the_block_adds_is_written_and_an_error_writes_nothing(tmp_path):
    ledger = tmp_path / "new" / "ledger.parquet"
    with remembered_splits(ledger) as splits:
        splits["ann"] = "test"
    with pytest.raises(ZeroDivisionError), remembered_splits(ledger) as splits:  # noqa: PT012 - the block is the subject
        splits["bob"] = "train"
        raise ZeroDivisionError
    with remembered_splits(ledger) as splits:
        assert splits == {"ann": "test"}


def test_runs_of_one_experiment_seed_and_shares_have_one_ledger(tmp_path):
    mine = ledger_of("birds", PARAMS, 1, tmp_path)
    assert ledger_of("birds", PARAMS.model_copy(update={"duplicates": "move"}), 1, tmp_path) == mine
    others = {
        ledger_of("frogs", PARAMS, 1, tmp_path),
        ledger_of("birds", PARAMS, 2, tmp_path),
        ledger_of("birds", SplitParams(), 1, tmp_path),
    }
    assert mine not in others
    assert len(others) == 3


def test_a_given_test_split_is_not_added_to_from_memory(tmp_path):
    names = [f"speaker {i}" for i in range(20)]
    before = assign(names, tmp_path, tmp_path / "ledger.parquet")
    table = pd.read_parquet(tmp_path / "corpora" / "digest" / "clips.parquet")
    given = [name for name in names if before[name] == "train"][:3]
    table["split"] = table["group"].isin(given).map({True: "test", False: "train"})
    path = tmp_path / "given.parquet"
    table.to_parquet(path)
    made = pd.read_parquet(assign_splits(path, PARAMS, 1, tmp_path, tmp_path / "ledger.parquet"))
    assert set(made.loc[made["split"] == "test", "group"]) == set(given)


def test_groups_under_other_names_stay_where_their_sounds_were(tmp_path):
    """As when a folder is renamed, or becomes one of several sources."""
    ledger = tmp_path / "ledger.parquet"
    names = [f"speaker {i}" for i in range(30)]
    sounds = {name: f"sound of {name}" for name in names}
    before = assign(names, tmp_path, ledger, classes=2, copies=sounds)
    renamed = {f"studio/{name}": sound for name, sound in sounds.items()}
    after = assign([*renamed, "new"], tmp_path, ledger, copies=renamed)
    assert {name: after[f"studio/{name}"] for name in names} == before


def test_a_move_by_a_new_copy_is_told(tmp_path, caplog):
    ledger = tmp_path / "ledger.parquet"
    names = [f"speaker {i}" for i in range(30)]
    before = assign(names, tmp_path, ledger)
    one = next(name for name in names if before[name] == "train")
    other = next(name for name in names if before[name] == "test")
    assign(names, tmp_path, ledger)
    assert "go to training" not in caplog.text
    assign(names, tmp_path, ledger, copies={one: "the same", other: "the same"})
    assert "go to training, as a copy that is new links them" in caplog.text
    assert other in caplog.text


def test_a_part_of_a_corpus_that_has_no_test_by_its_ledger_names_it(tmp_path):
    ledger = tmp_path / "ledger.parquet"
    before = assign([f"speaker {i}" for i in range(30)], tmp_path, ledger)
    trained = [name for name, split in before.items() if split == "train"]
    with pytest.raises(DataError, match=r"stay where they were \(.*ledger\.parquet\).*another `experiment`"):
        assign(trained[:8], tmp_path, ledger)


def test_groups_of_a_ledger_are_known_whichever_way_they_were_composed(tmp_path):
    ledger = tmp_path / "ledger.parquet"
    rows = [("Zoe\u0308", "test"), ("Zo\u00eb", "train"), ("Jose\u0301", "validation")]
    pd.DataFrame(rows, columns=["group", "split"]).to_parquet(ledger)
    with remembered_splits(ledger) as remembered:
        assert remembered == {"Zo\u00eb": "train", "Jos\u00e9": "validation"}
