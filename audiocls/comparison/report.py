"""Report a comparison of balance methods: a verdict, tables, a plot, and a params file for the best method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiocls.comparison.scores import METRICS, thirds_of
from audiocls.errors import counted
from audiocls.files import masked, replacing
from audiocls.markdown import escaped
from audiocls.metrics import FEWEST_GROUPS, FEWEST_SEEDS
from audiocls.params import RunParams
from audiocls.params_file import NONE, Candidate, dump_params, params_to_train, trains_encoder
from audiocls.plots import draw_gains

_SHOWN_CLASSES = 10
_PARTS = ("low", "high", "gain", "gain_low", "gain_high")
_FEW_GROUPS = 3  # of a class
_TOO_FEW_SEEDS = (
    "two seeds that differ do not show how much seeds vary, so their mean has no interval; "
    f"compare with {FEWEST_SEEDS} seeds or more, or with one for these models alone"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison."""

    method: str  # the recommended one
    verdict: str
    summary: str  # Markdown
    metrics: dict[str, float]  # of the recommended method, and its gain over `none`
    params_file: Path  # trains with it
    folder: Path  # scores.parquet and .csv, runs.parquet, gains.png, comparison.md, train.yaml without passwords


def choose(validation: pd.DataFrame) -> str:
    """Return the method with the best macro-F1 on validation; `none` if no other is better."""
    best = validation["f1_macro"].max()
    names: list[str] = validation.loc[validation["f1_macro"] >= best - 1e-12, "method"].tolist()
    return NONE if NONE in names else names[0]


def judge(scores: pd.DataFrame, num_groups: int, num_seeds: int, num_trainings: int | None) -> tuple[str, str]:
    """Return the recommended method, and the reason in one sentence.

    Validation chooses one method, and test decides only whether this one helps: the best of many methods on test would
    look better than it is.

    Args:
        scores: Scores from `compare_scores` of validation and test, with a column `split`.
        num_groups: Number of groups in test.
        num_seeds: Number of seeds per method.
        num_trainings: Trainings of the encoder per method; None if it is pretrained and frozen.
    """
    if num_groups < FEWEST_GROUPS:
        return NONE, (
            f"Whether balancing helps is unknown here: test has {counted(num_groups, 'group')}, and intervals need at "
            f"least {FEWEST_GROUPS}, so take none."
        )
    validation, test = (scores[scores["split"] == split] for split in ("validation", "test"))
    chosen, others = choose(validation), len(test) - 1
    if chosen == NONE:
        return NONE, f"Balancing did not help here: no method of {others} beats none on validation, so take none."
    row = test[test["method"] == chosen].iloc[0]
    if np.isnan(row["f1_macro_gain_low"]):
        if 1 < num_seeds < FEWEST_SEEDS:
            return NONE, f"Whether balancing helps is unknown here: {_TOO_FEW_SEEDS}, so take none."
        return NONE, (
            "Whether balancing helps is unknown here: nearly all test clips are of one group, and intervals "
            f"need at least {FEWEST_GROUPS} groups of similar size, so take none."
        )
    if not row["f1_macro_gain_low"] > 0:
        return NONE, (
            f"Balancing did not help here: {chosen}, the best of {counted(others, 'method')} on validation, changes "
            f"macro-F1 on test by {_gain(row, 'f1_macro')}{_doubt(row)}, so take none{_in_hindsight(test)}."
        )
    single = "one training of the encoder" if num_trainings == 1 else "one seed" if num_seeds == 1 else None
    return chosen, (
        f"Take {chosen}: macro-F1 on test {_gain(row, 'f1_macro')} over none; the rarest third of the classes "
        f"{_gain(row, 'f1_rarest_third')}, and the most frequent third {_gain(row, 'f1_most_frequent_third')}"
        f"{f'; all on {single}, another may differ' if single else ''}."
    )


def _doubt(row: Any) -> str:
    if row["f1_macro_gain_high"] < 0:
        return ", a loss"
    return ", which may be chance" if row["f1_macro_gain_high"] > row["f1_macro_gain_low"] else ""


def _in_hindsight(test: pd.DataFrame) -> str:
    """Name the methods that beat `none` on test: a reason to compare on more clips, not to take one."""
    better = test.loc[test["f1_macro_gain_low"] > 0, "method"].tolist()
    if not better:
        return ""
    named = f"{better[0]} beats" if len(better) == 1 else f"{len(better)} others, {better[0]} the most, beat"
    return f"; in hindsight {named} none on test, so compare again with more validation clips"


def write_report(
    scores: pd.DataFrame,
    clips: pd.DataFrame,
    candidates: Mapping[str, Candidate],
    refused: Mapping[str, str],
    params: RunParams,
    folder: Path,
) -> Comparison:
    """Write the report.

    Args:
        scores: Scores from `compare_scores` of validation and test, with a column `split`.
        clips: The clips table with its splits.
        candidates: Candidates by name.
        refused: By name, why the class counts do not allow a method.
        params: The run's params.
        folder: The run's folder; gets `train.yaml` and `comparison/`.
    """
    test_groups = clips.loc[clips["split"] == "test", "group"].nunique()
    trainings = (params.comparison.seeds if params.comparison.end_to_end else 1) if trains_encoder(params) else None
    method, verdict = judge(scores, test_groups, params.comparison.seeds, trainings)
    to_train = params_to_train(params, candidates[method])
    file = folder / "train.yaml"
    _write(file, _train_file(to_train, verdict, file))
    _write(folder / "comparison" / "train.yaml", masked(_train_file(to_train, verdict, file)))
    test = scores[scores["split"] == "test"]
    draw_gains(test, "test: gain over none, 95 % intervals", folder / "comparison" / "gains.png")
    summary = "\n".join(
        [
            f"**{verdict}**",
            "",
            *_how(clips, params),
            "",
            *_tables(scores, method),
            "",
            *(f"Not compared: {escaped(name)}. {escaped(why)}" for name, why in refused.items()),
            "",
            f"Train with {method}: `audiocls train {file}`",
        ]
    )
    _write(folder / "comparison" / "comparison.md", summary + "\n")
    return Comparison(method, verdict, summary, _metrics(scores, method), file, folder / "comparison")


def _metrics(scores: pd.DataFrame, method: str) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for split, table in scores.groupby("split"):
        row = table.set_index("method").loc[method]
        metrics |= {f"{split}/{metric}": float(row[metric]) for metric in METRICS}
        metrics |= {f"{split}/f1_macro_{part}": float(row[f"f1_macro_{part}"]) for part in _PARTS}
    # A split with too few groups has no intervals.
    return {name: value for name, value in metrics.items() if not np.isnan(value)}


def _how(clips: pd.DataFrame, params: RunParams) -> list[str]:
    """Describe the compared models, the splits and the intervals."""
    sizes = {split: (len(rows), rows["group"].nunique()) for split, rows in clips.groupby("split")}
    if not trains_encoder(params):
        encoder = f"Heads on the embeddings of `{escaped(str(params.model.pretrained))}`, with a frozen encoder."
    elif params.comparison.end_to_end:
        encoder = "Each seed trains a model without balancing, `none`, and one with each method `end to end`; all "
        encoder += "other methods change the head of `none`."
    else:
        encoder = "One model was trained without balancing, `none`; all other methods change its head. The "
        encoder += "intervals do not include the variation between trainings of the encoder."
    counts = clips.loc[clips["split"] == "train", "label"].value_counts().sort_index()
    rarest = counts.index[thirds_of(counts.to_numpy(np.int64))[0]].tolist()
    groups = clips[clips["split"] == "test"].groupby("label")["group"].nunique()
    in_few = groups.index[groups < _FEW_GROUPS].tolist()
    return [
        f"{encoder} Seeds: {params.comparison.seeds}. Validation ({_size(sizes['validation'])}) chose the method; the "
        f"scores are of test ({_size(sizes['test'])}). {_meaning(params.comparison.seeds)} Gains are over `none`, on "
        f"the same groups and seeds. The rarest third: {_listed(rarest)}, of {counts.min()} training clips or more; "
        f"the most frequent class has {counts.max()}.",
        *(
            ["", f"In only one or two groups of test, so the intervals are unreliable: {_listed(in_few)}."]
            if in_few
            else []
        ),
    ]


def _meaning(num_seeds: int) -> str:
    """Say what the intervals hold for."""
    if num_seeds == 1:
        return "95 % intervals are in brackets: they hold for other groups and these models; other seeds may differ."
    if num_seeds < FEWEST_SEEDS:
        return f"95 % intervals are in brackets where all seeds give the same scores; elsewhere {_TOO_FEW_SEEDS}."
    return "95 % intervals are in brackets: they hold for other groups and other seeds."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(escaped(name) for name in names[:_SHOWN_CLASSES]) + (", …" if names[_SHOWN_CLASSES:] else "")


def _size(counts: tuple[int, int]) -> str:
    return f"{counted(counts[0], 'clip')}, {counted(counts[1], 'group')}"


def _tables(scores: pd.DataFrame, method: str) -> list[str]:
    """Return two tables, each of which fits into 80 columns."""
    validation = scores[scores["split"] == "validation"].set_index("method")["f1_macro"]
    all_classes = [
        "| method | macro-F1 | over none | on validation | balanced accuracy |",
        "|---|---|---|---|---|",
    ]
    thirds = [
        "| method | rarest third, F1 | over none | most frequent third, F1 | over none | calibration error |",
        "|---|---|---|---|---|---|",
    ]
    for _, row in scores[scores["split"] == "test"].iterrows():
        name = f"**{escaped(row['method'])}**" if row["method"] == method else escaped(row["method"])
        on_validation = f"{validation[row['method']]:.3f}"
        overall = [_level(row, "f1_macro"), _gain(row, "f1_macro"), on_validation, _level(row, "balanced_accuracy")]
        all_classes.append(f"| {' | '.join([name, *overall])} |")
        rare, frequent = "f1_rarest_third", "f1_most_frequent_third"
        by_third = [_level(row, rare), _gain(row, rare), _level(row, frequent), _gain(row, frequent)]
        thirds.append(f"| {' | '.join([name, *by_third, _level(row, 'calibration_error')])} |")
    # MLflow's page leaves no gap between two tables.
    return [*all_classes, "", "The rarest and the most frequent third of the classes in training:", "", *thirds]


def _level(row: Any, metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    return f"{row[metric]:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def _gain(row: Any, metric: str) -> str:
    if row["method"] == NONE:
        return ""
    low, high = row[f"{metric}_gain_low"], row[f"{metric}_gain_high"]
    return f"{row[f'{metric}_gain']:+.3f}" + ("" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")


def _train_file(params: RunParams, verdict: str, file: Path) -> str:
    return f"# {verdict}\n#\n#   audiocls train {file}\n\n{dump_params(params)}"


def _write(file: Path, text: str) -> None:
    with replacing(file) as part:
        part.write_text(text, encoding="utf-8")
