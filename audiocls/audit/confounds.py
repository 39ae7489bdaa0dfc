"""Confounds: properties other than the sound that predict the class. A model may learn them, unnoticed by the test.

A class with one group cannot be distinguished from its group. If no group has two classes, a model may learn what
distinguishes groups instead of classes. And if a small decision tree predicts the class of clips from unseen groups by
file format, level, duration or background alone, a network can too. Of clips with several labels, each label is
predicted on its own, and the one that a property predicts best is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from audiocls.audit.background import measure_backgrounds
from audiocls.audit.findings import Finding, Severity
from audiocls.errors import counted, name_some
from audiocls.sources import by_label, is_multi_label

_ABSENT: Final = ""  # no label is empty
_FOLDS: Final = 5
_LEAST_CLIPS: Final = 6  # of a class that is tested
_LEAST_GROUPS: Final = 2  # of a class that is tested
_MOST_CLIPS: Final = 4_000  # in total; measuring their backgrounds takes about six seconds
_STANDARD_ERRORS: Final = 2.0
_MOST_LABELS: Final = 20  # that are tested if clips have several, the most frequent first
_FEW_GROUPS: Final = 5  # of a class; with fewer, a test split of one fifth gets at most one
# Groups are reported to have one class each if those with several classes are at most this fraction of the number
# expected by chance. If fewer than three are expected, finding none means nothing.
_MIXED_SHARE: Final = 0.1
_LEAST_MIXED: Final = 3.0


@dataclass(frozen=True, slots=True)
class Nuisance:
    """A property that should not predict the class, and how well it may do so before it is reported."""

    name: str
    skill: float  # fraction of the way from chance to 1 above which it is reported
    severity: Severity
    title: str
    why: str


# Spoken digits without confounds reach skills of 0.00, 0.04, 0.06 and 0.02; prompts in five languages by one voice
# each reach 0.00, 0.08, 0.26 and 0.52. A file format is never part of a sound, so its limit is lower.
NUISANCES: Final = (
    Nuisance(
        "source", 0.1, "problem", "The source alone predicts the class",
        "Each pooled source has classes of its own, so its microphones and rooms predict the class. Pool sources that "
        "all have clips of every class, or test on a source that was not used in training.",
    ),
    Nuisance(
        "file format", 0.1, "problem", "The file format alone predicts the class",
        "Sampling rate, channels and codec depend on who made the files. Create the files of all classes in the same "
        "way: resampling cannot restore what a lower rate or a codec removed.",
    ),
    Nuisance(
        "duration", 0.2, "warning", "The length of a clip alone predicts the class",
        "Unless the sounds themselves differ that much in length, cut the clips of all classes by the same rule.",
    ),
    Nuisance(
        "level", 0.2, "warning", "The loudness of a clip alone predicts the class",
        "Unless loudness defines the classes, each class was recorded or normalized differently.",
    ),
    Nuisance(
        "background", 0.2, "problem", "The pauses alone predict the class",
        "The sound in the pauses comes from the room, the microphone and the codec: each class seems to have its own "
        "place or voice. Record all classes in the same places and with the same speakers, several of each, or test "
        "on recordings from elsewhere.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Predictability:
    """How well one nuisance predicts the class of clips from unseen groups."""

    nuisance: str
    balanced_accuracy: float
    chance: float
    threshold: float
    clips: int
    classes: int
    left_out: tuple[str, ...]  # classes with too few clips or groups to test
    label: str | None = None  # that is predicted, if clips have several

    @property
    def reported(self) -> bool:
        """Whether it predicts the class too well."""
        return self.balanced_accuracy > self.threshold


def measure_confounds(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> list[Predictability]:
    """Measure how well each nuisance predicts the class; those that cannot be tested are left out."""
    looked_at = _sample(clips)
    values = {
        "source": _source_codes(looked_at),
        "file format": _format_codes(looked_at),
        "duration": looked_at[["duration_seconds"]].to_numpy(np.float64),
        "level": looked_at[["rms_db", "peak", "clipped_fraction"]].to_numpy(np.float64),
        "background": measure_backgrounds(looked_at, store, sample_rate_hz),
    }
    predict = _predict_labels if is_multi_label(clips) else _predict_class
    measured = (predict(nuisance, values[nuisance.name], looked_at) for nuisance in NUISANCES)
    return [found for found in measured if found is not None]


def _predict_class(nuisance: Nuisance, values: NDArray[np.float64], clips: pd.DataFrame) -> Predictability | None:
    return predictability(nuisance, values, clips["label"], clips["group"])


def _predict_labels(nuisance: Nuisance, values: NDArray[np.float64], clips: pd.DataFrame) -> Predictability | None:
    """Predict the presence of each label; return the result that is furthest above its threshold."""
    rows = by_label(clips)
    labels = _judged(rows).sort_values("clips", ascending=False, kind="stable").index[:_MOST_LABELS]
    found = []
    for label in labels:
        present = clips.index.isin(rows.index[rows["label"] == label])
        presence = pd.Series(np.where(present, label, _ABSENT), clips.index)
        # The more labels are tested, the higher the best result by chance.
        errors = float(norm.isf(norm.sf(_STANDARD_ERRORS) / len(labels)))
        result = predictability(nuisance, values, presence, clips["group"], errors)
        if result is not None and not result.left_out:
            found.append(replace(result, label=label))
    return max(found, key=lambda each: each.balanced_accuracy - each.threshold, default=None)


def _sample(clips: pd.DataFrame) -> pd.DataFrame:
    """Draw up to the same number of clips per class with a fixed seed, in store order, which reads fastest."""
    if is_multi_label(clips):
        drawn = clips.sample(min(len(clips), _MOST_CLIPS), random_state=0)
    else:
        most = max(_LEAST_CLIPS, _MOST_CLIPS // clips["label"].nunique())
        drawn = clips.sample(frac=1, random_state=0).groupby("label").head(most)
    return drawn.sort_values(["shard", "first_sample"], ignore_index=True)


def _source_codes(clips: pd.DataFrame) -> NDArray[np.float64]:
    """Return one column per source; NaN if there is only one source."""
    codes = pd.get_dummies(clips["source"], dtype="float64").to_numpy()
    return codes if codes.shape[1] > 1 else np.full((len(clips), 1), np.nan)


def _format_codes(clips: pd.DataFrame) -> NDArray[np.float64]:
    codes, _ = pd.factorize(clips["source_format"], sort=True)
    return np.column_stack([clips["source_rate_hz"], clips["source_channels"], codes]).astype(np.float64)


def predictability(
    nuisance: Nuisance,
    values: NDArray[np.float64],
    labels: pd.Series,
    groups: pd.Series,
    standard_errors: float = _STANDARD_ERRORS,
) -> Predictability | None:
    """Predict the class from `values` across group-disjoint folds.

    Args:
        nuisance: What `values` measure.
        values: Shape (num_clips, num_measures); clips with a NaN are left out.
        labels: Class of each clip, shape (num_clips,).
        groups: Group of each clip, shape (num_clips,).
        standard_errors: How many, at least, a reported result is above what the nuisance may reach.

    Returns:
        None if fewer than half of the clips, or fewer than two classes with enough clips and groups, are left.
    """
    table = pd.DataFrame({"label": labels.to_numpy(), "group": groups.to_numpy()})
    kept = ~np.isnan(values).any(axis=1)
    if kept.mean() < 0.5:
        return None
    sizes = _judged(table[kept])
    if len(sizes) < 2:
        return None
    left_out = tuple(sorted(set(table["label"]) - set(sizes.index)))
    kept &= table["label"].isin(sizes.index).to_numpy()
    table, values = table[kept], values[kept]
    chance = 1 / len(sizes)
    # Clips of one group are not independent, so the standard error is based on groups.
    error = np.sqrt(chance * (1 - chance) * (1 / sizes["groups"]).sum()) / len(sizes)
    threshold = min(0.95, chance + nuisance.skill * (1 - chance) + standard_errors * float(error))
    accuracy = chance if (values == values[0]).all() else _cross_validated(values, table, int(sizes["groups"].min()))
    return Predictability(nuisance.name, accuracy, chance, threshold, len(table), len(sizes), left_out)


def _judged(clips: pd.DataFrame) -> pd.DataFrame:
    """Count the clips and groups of each class that has enough of both."""
    sizes = clips.groupby("label").agg(clips=("group", "size"), groups=("group", "nunique"))
    return sizes[(sizes["clips"] >= _LEAST_CLIPS) & (sizes["groups"] >= _LEAST_GROUPS)]


def _cross_validated(values: NDArray[np.float64], table: pd.DataFrame, fewest_groups: int) -> float:
    tree = DecisionTreeClassifier(max_depth=6, min_samples_leaf=3, class_weight="balanced", random_state=0)
    folds = StratifiedGroupKFold(min(_FOLDS, fewest_groups), shuffle=True, random_state=0)
    predicted = cross_val_predict(tree, values, table["label"], groups=table["group"], cv=folds)
    return float(balanced_accuracy_score(table["label"], predicted))


def confound_findings(clips: pd.DataFrame, measured: list[Predictability]) -> Iterator[Finding]:
    """Yield the confounds as findings."""
    yield from _single_groups(by_label(clips))
    yield from _groups_of_one_class(by_label(clips))
    yield from _left_out(clips, measured)
    by_name = {nuisance.name: nuisance for nuisance in NUISANCES}
    for found in measured:
        if found.reported:
            nuisance = by_name[found.nuisance]
            yield Finding(
                nuisance.severity,
                nuisance.title,
                f"From the {nuisance.name} alone, a small decision tree predicts "
                f"{'the class' if found.label is None else f'whether {found.label!r} is a label'} of clips from unseen "
                f"groups with a balanced accuracy of {found.balanced_accuracy:.2f}. Chance is {found.chance:.2f}; "
                f"values above {found.threshold:.2f} are reported. A model that learns this scores well here and fails "
                f"where it no longer holds. {nuisance.why}",
                spoils_score=True,
            )


def _single_groups(clips: pd.DataFrame) -> Iterator[Finding]:
    groups = clips.groupby("label")["group"].nunique()
    alone = groups.index[groups == 1]
    if not len(alone):
        return
    every = len(alone) == len(groups)
    which = "Every class has" if every else f"{len(alone)} of {len(groups)} classes have"
    yield Finding(
        "problem" if every else "warning",
        f"{which} a single group",
        f"{name_some(alone)}: the properties of one speaker, place or recording cannot be distinguished from those of "
        "the class. With any split, a model is scored either on groups that it was trained on or not on the class "
        "at all, so the test score does not show how it performs on new groups. Add clips of other groups, at least "
        "three groups per class.",
        spoils_score=True,
    )


def _groups_of_one_class(clips: pd.DataFrame) -> Iterator[Finding]:
    groups_of = clips.groupby("label")["group"].nunique()
    by_group = clips.groupby("group")["label"].agg(["size", "nunique"])
    several = by_group[by_group["size"] > 1]
    if (groups_of == 1).all() or several["size"].sum() < 0.5 * len(clips):
        return
    mixed, by_chance = int((several["nunique"] > 1).sum()), _mixed_by_chance(clips["label"], several["size"])
    if by_chance < _LEAST_MIXED or mixed > _MIXED_SHARE * by_chance:
        return
    which = f"{len(several) - mixed} of {counted(len(several), 'group')}" if mixed else "Every group"
    few = groups_of.index[groups_of.between(2, _FEW_GROUPS - 1)]
    doubtful = (
        f" The result is least certain for classes with fewer than {_FEW_GROUPS} groups, as few of these are in test: "
        f"{name_some(few)}. Add clips of other groups to them."
    )
    yield Finding(
        "warning" if len(few) else "note",
        f"{which} of several clips {'have' if mixed else 'has'} only one class",
        "A test on unseen groups still shows how a model performs on new ones, as long as several groups do not come "
        "from one speaker, place or device. But "
        f"{'hardly any' if mixed else 'no'} group contains two classes, so a model may learn what the groups of a "
        "class have in common, such as a room or a microphone, instead of the class. If possible, record several "
        f"classes in each group.{doubtful if len(few) else ''}",
        spoils_score=bool(len(few)),
    )


def _mixed_by_chance(labels: pd.Series, sizes: pd.Series) -> float:
    """Return the expected number of groups of these sizes with several classes if labels were assigned at random."""
    fractions = labels.value_counts(normalize=True).to_numpy()
    counts = sizes.value_counts()
    return float(sum(groups * (1 - (fractions**size).sum()) for size, groups in counts.items()))


def _left_out(clips: pd.DataFrame, measured: list[Predictability]) -> Iterator[Finding]:
    rows = by_label(clips)
    judged = set(_judged(by_label(_sample(clips))).index)
    of_all = sorted(set(rows["label"]) - judged)
    # Some clips have no pauses to measure, so a class may be left out of one check only.
    of_some = {found.nuisance: sorted(set(found.left_out) & judged) for found in measured}
    by_check = ({"all checks": of_all} if of_all else {}) | {name: left for name, left in of_some.items() if left}
    if not by_check:
        return
    count, left_out = rows["label"].nunique(), set().union(*by_check.values())
    fewest = 1 if is_multi_label(clips) else 2
    none = f" Fewer than two of {count} classes are left, so nothing was tested." if len(judged) < fewest else ""
    yield Finding(
        "note",
        f"{len(left_out)} of {counted(count, 'class')} are left out of confound checks",
        f"A class needs {_LEAST_CLIPS} measurable clips in {_LEAST_GROUPS} groups to be tested for properties other "
        "than the sound that predict it. Left out of "
        f"{'; of '.join(f'{name}: {name_some(left)}' for name, left in by_check.items())}.{none}",
    )
