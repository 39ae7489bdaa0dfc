"""Does something that is not the sound tell the class? Then a model may learn that, and the test will not notice.

A class with one group cannot be told from its group, and where no group holds two classes, what sets groups apart may
be learnt in place of what sets classes apart. And where a small decision tree names the class of clips of groups that
it has never seen from the file format, the level, the length or the background alone, a network can too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from audiocls.audit.background import measure_backgrounds
from audiocls.audit.findings import Finding, Severity
from audiocls.errors import name_some

_FOLDS: Final = 5
_LEAST_CLIPS: Final = 6  # of a class that is judged
_LEAST_GROUPS: Final = 2  # of the same
_MOST_CLIPS: Final = 4_000  # looked at in all; the background of so many takes about six seconds
_STANDARD_ERRORS: Final = 2.0
_FEW_GROUPS: Final = 5  # of a class; of fewer, a test of a fifth gets one at most
# Groups hold one class each where those of several classes are at most this share of what chance would make. Where
# chance would make fewer than three, finding none means nothing.
_MIXED_SHARE: Final = 0.1
_LEAST_MIXED: Final = 3.0


@dataclass(frozen=True, slots=True)
class Nuisance:
    """Something that should not tell the class, and how far from guessing to knowing it may get."""

    name: str
    skill: float  # share of the way from chance to 1 above which it is reported
    severity: Severity
    title: str
    why: str


# Spoken digits, where nothing is wrong, reach skills of 0.00, 0.04, 0.06 and 0.02; prompts in five languages by one
# voice each 0.00, 0.08, 0.26 and 0.52. A format never belongs to a sound, so that less of it is too much.
NUISANCES: Final = (
    Nuisance(
        "source", 0.1, "problem", "The source alone tells the class",
        "Each of the pooled sources brings classes of its own, so that its microphones and rooms tell the class. Pool "
        "sources that each have clips of every class, or test on clips of a source that was not trained on.",
    ),
    Nuisance(
        "file format", 0.1, "problem", "The file format alone tells the class",
        "Sampling rate, channels and codec belong to whoever made the files. Make every class's files the same way: "
        "resampling cannot put back what a lower rate or a codec took away.",
    ),
    Nuisance(
        "duration", 0.2, "warning", "The length of a clip alone tells the class",
        "Unless the sounds themselves are that much longer or shorter, cut every class's clips by the same rule.",
    ),
    Nuisance(
        "level", 0.2, "warning", "The loudness of a clip alone tells the class",
        "Unless loudness is what the classes are about, each class was recorded or normalised in a way of its own.",
    ),
    Nuisance(
        "background", 0.2, "problem", "The pauses alone tell the class",
        "What is heard when the sound has stopped belongs to the room, the microphone and the codec: each class "
        "seems to come from a place, or a voice, of its own. Record every class in the same several places and by "
        "the same several speakers, or test on recordings from elsewhere.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Predictability:
    """How well one nuisance tells the class of clips of other groups."""

    nuisance: str
    balanced_accuracy: float
    chance: float
    threshold: float
    clips: int
    classes: int
    left_out: tuple[str, ...]  # classes with too few clips or groups that have it

    @property
    def reported(self) -> bool:
        """Whether it tells more than it should."""
        return self.balanced_accuracy > self.threshold


def measure_confounds(clips: pd.DataFrame, store: Path, sample_rate_hz: int) -> list[Predictability]:
    """Measure how well each nuisance tells the class; those that cannot be judged are left out."""
    looked_at = _sample(clips)
    values = {
        "source": _source_codes(looked_at),
        "file format": _format_codes(looked_at),
        "duration": looked_at[["duration_seconds"]].to_numpy(np.float64),
        "level": looked_at[["rms_db", "peak", "clipped_fraction"]].to_numpy(np.float64),
        "background": measure_backgrounds(looked_at, store, sample_rate_hz),
    }
    measured = (
        predictability(nuisance, values[nuisance.name], looked_at["label"], looked_at["group"])
        for nuisance in NUISANCES
    )
    return [found for found in measured if found is not None]


def _sample(clips: pd.DataFrame) -> pd.DataFrame:
    """Take as many clips of each class, drawn once and for all; in the order of the store, which reads quickest."""
    most = max(_LEAST_CLIPS, _MOST_CLIPS // clips["label"].nunique())
    drawn = clips.sample(frac=1, random_state=0).groupby("label").head(most)
    return drawn.sort_values(["shard", "first_sample"], ignore_index=True)


def _source_codes(clips: pd.DataFrame) -> NDArray[np.float64]:
    """One column a source; NaN where there is one source alone, which cannot tell anything."""
    codes = pd.get_dummies(clips["source"], dtype="float64").to_numpy()
    return codes if codes.shape[1] > 1 else np.full((len(clips), 1), np.nan)


def _format_codes(clips: pd.DataFrame) -> NDArray[np.float64]:
    codes, _ = pd.factorize(clips["source_format"], sort=True)
    return np.column_stack([clips["source_rate_hz"], clips["source_channels"], codes]).astype(np.float64)


def predictability(
    nuisance: Nuisance, values: NDArray[np.float64], labels: pd.Series, groups: pd.Series
) -> Predictability | None:
    """Predict the class from `values` across group-disjoint folds.

    Args:
        nuisance: What `values` measure.
        values: Shape (num_clips, num_measures); clips with a NaN are left out.
        labels: Class of each clip, shape (num_clips,).
        groups: Group of each clip, shape (num_clips,).

    Returns:
        None where fewer than half of the clips, or than two classes of several clips and groups, are left.
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
    # Clips of one group are no independent witnesses, so that the groups count.
    error = np.sqrt(chance * (1 - chance) * (1 / sizes["groups"]).sum()) / len(sizes)
    threshold = min(0.95, chance + nuisance.skill * (1 - chance) + _STANDARD_ERRORS * float(error))
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
    """Yield what tells the class and should not, in plain words."""
    yield from _single_groups(clips)
    yield from _groups_of_one_class(clips)
    yield from _left_out(clips, measured)
    by_name = {nuisance.name: nuisance for nuisance in NUISANCES}
    for found in measured:
        if found.reported:
            nuisance = by_name[found.nuisance]
            yield Finding(
                nuisance.severity,
                nuisance.title,
                f"From the {nuisance.name} alone, a small decision tree names the class of clips of groups that it "
                f"has never seen with a balanced accuracy of {found.balanced_accuracy:.2f}; guessing gets "
                f"{found.chance:.2f}, and above {found.threshold:.2f} it is reported. A model that learns this scores "
                f"well here and fails where it no longer holds. {nuisance.why}",
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
        f"{name_some(alone)}: what is one speaker's, place's or recording's cannot be told from what is the class's. "
        "Whatever the split, a model is scored on the very groups that it was trained on, or not on the class at all, "
        "so the test score will not tell how it does on a new one of theirs. Add clips of other groups: three a class "
        "at least.",
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
    which = f"{len(several) - mixed} of {len(several)} groups" if mixed else "Every group"
    few = groups_of.index[groups_of.between(2, _FEW_GROUPS - 1)]
    doubtful = (
        f" Least can be said of classes with fewer than {_FEW_GROUPS} groups, few of which fall to the test: "
        f"{name_some(few)}. Add clips of other groups to them."
    )
    yield Finding(
        "warning" if len(few) else "note",
        f"{which} of several clips {'hold' if mixed else 'holds'} one class alone",
        "A test on groups that were not trained on still tells how a model does on new ones, as long as one speaker, "
        "place or device does not stand behind several groups. But "
        f"{'hardly any' if mixed else 'no'} group shows two classes side by side, so that a model may learn "
        "what the groups of a class have in common, such as a room or a microphone, in place of the class. Where "
        f"it can be done, record several classes in each group.{doubtful if len(few) else ''}",
        spoils_score=bool(len(few)),
    )


def _mixed_by_chance(labels: pd.Series, sizes: pd.Series) -> float:
    """Count the groups, of these sizes, that would hold several classes if labels were dealt at random."""
    shares = labels.value_counts(normalize=True).to_numpy()
    counts = sizes.value_counts()
    return float(sum(groups * (1 - (shares**size).sum()) for size, groups in counts.items()))


def _left_out(clips: pd.DataFrame, measured: list[Predictability]) -> Iterator[Finding]:
    judged = set(_judged(_sample(clips)).index)
    of_all = sorted(set(clips["label"]) - judged)
    # Some clips have no pauses to measure, so that a class may be left out by one check alone.
    of_some = {found.nuisance: sorted(set(found.left_out) & judged) for found in measured}
    by_check = ({"all checks": of_all} if of_all else {}) | {name: left for name, left in of_some.items() if left}
    if not by_check:
        return
    count, left_out = clips["label"].nunique(), set().union(*by_check.values())
    none = f" Fewer than two of {count} classes are left, so that nothing was judged." if len(judged) < 2 else ""
    yield Finding(
        "note",
        f"{len(left_out)} of {count} classes are left out of confound checks",
        f"It takes {_LEAST_CLIPS} clips in {_LEAST_GROUPS} groups, with something to measure, to judge whether "
        "anything but the sound tells a class. Left out of "
        f"{'; of '.join(f'{name}: {name_some(left)}' for name, left in by_check.items())}.{none}",
    )
