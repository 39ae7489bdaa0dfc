"""What came and went since the last run of the same experiment."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from audiocls.diagnosis.finding import Finding
from audiocls.metrics import FEWEST_GROUPS, GroupCounts, f1_macro, interval, jackknife
from audiocls.params import RunParams

_SAME_RECIPE: Final = ("experiment", "workspace", "tracking", "runner")
_MOST_CHANGES: Final = 3


def changes_since(run: Path, experiment: str, findings: Sequence[Finding]) -> tuple[str, ...]:
    """Say which findings are new or gone since the last run of the experiment in this workspace, and what changed.

    Args:
        run: The run's folder, beside those of other runs.
        experiment: Its name.
        findings: Of this run.
    """
    before = _last_before(run, experiment)
    if before is None:
        return ()
    folder, said = before
    earlier = [Finding.read(each) for each in said["findings"]]
    were, are = {_key(each) for each in earlier}, {_key(each) for each in findings}
    if were == are:
        return ()
    why = f" ({'; '.join(filter(None, (_changed_params(folder, run), _gain(folder, run))))})"
    since = f"since run {folder.name}{why if why != ' ()' else ''}"
    gone = (f"{key}: gone {since}" for key in sorted(were - are))
    return (*gone, *(f"{key}: new {since}" for key in sorted(are - were)))


def _key(finding: Finding) -> str:
    """Name what is compared: the kind, or the cause if the kind is only that it lies in the data."""
    return (finding.cause if finding.kind == "data" else finding.kind).replace("_", " ")


def _last_before(run: Path, experiment: str) -> tuple[Path, dict[str, Any]] | None:
    own = run / "diagnosis" / "findings.json"
    until = json.loads(own.read_text(encoding="utf-8"))["created"] if own.exists() else None
    found = [
        (file.parents[1], json.loads(file.read_text(encoding="utf-8")))
        for file in run.parent.glob(f"*/{own.parent.name}/{own.name}")
    ]
    earlier = [
        (folder, said)
        for folder, said in found
        if folder != run and said["experiment"] == experiment and said["judged"]
        and (until is None or said["created"] < until)
    ]  # fmt: skip
    return max(earlier, key=lambda each: each[1]["created"], default=None)


def _changed_params(before: Path, run: Path) -> str:
    """Return what is different in the params."""
    old, new = (_params(folder) for folder in (before, run))
    differences = [
        _difference(key, old.get(key), new.get(key)) for key in sorted({*old, *new}) if old.get(key) != new.get(key)
    ]
    more = f" and {len(differences) - _MOST_CHANGES} more" if len(differences) > _MOST_CHANGES else ""
    return ", ".join(differences[:_MOST_CHANGES]) + more


def _params(run: Path) -> dict[str, Any]:
    measured = json.loads((run / "diagnosis" / "measured.json").read_text(encoding="utf-8"))
    params = RunParams.model_validate(measured["params"]).model_dump(mode="json")
    return dict(_flat({key: value for key, value in params.items() if key not in _SAME_RECIPE}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _difference(key: str, old: Any, new: Any) -> str:
    if not old and new:
        return f"{key} was added" if isinstance(new, list) else f"{key} is now {new}"
    return f"{key} was removed" if old and new in (None, [], {}) else f"{key} was {old} and is now {new}"


def _gain(before: Path, run: Path) -> str:
    """Return the gain in macro-F1 on the validation clips that both runs have, with its 95 % interval over groups."""
    old, new = (_validation(folder) for folder in (before, run))
    both = new.merge(old[["clip_id", "label", "predicted"]], on=["clip_id", "label"], suffixes=("", "_before"))
    if both["group"].nunique() < FEWEST_GROUPS:
        return ""
    labels = sorted({*both["label"], *both["predicted"], *both["predicted_before"]})
    codes = {
        name: pd.Categorical(both[name], labels).codes.astype(np.int64)
        for name in ("label", "predicted", "predicted_before")
    }
    groups = both["group"].to_numpy(str)
    after, earlier = (
        jackknife(GroupCounts.of(codes["label"], codes[name][None], groups, len(labels)), f1_macro)
        for name in ("predicted", "predicted_before")
    )
    found = interval(after.minus(earlier))
    return f"validation macro-F1 {float(found.value):+.2f} [{float(found.low):.2f}, {float(found.high):.2f}]"


def _validation(run: Path) -> pd.DataFrame:
    table = pd.read_parquet(
        run / "evaluation" / "predictions.parquet", columns=["clip_id", "label", "group", "split", "predicted"]
    )
    return table[table["split"] == "validation"]
