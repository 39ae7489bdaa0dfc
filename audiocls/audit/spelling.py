"""Labels and groups that look alike, usually one name typed in two ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from audiocls.audit.findings import Finding
from audiocls.errors import counted, name_some
from audiocls.files import hides_characters, look_alikes
from audiocls.waveforms import Counts, is_named


def spelling_findings(counts: Counts, clips: pd.DataFrame, quarantine: pd.DataFrame) -> Iterator[Finding]:
    """Yield the sets of labels and of groups that look alike, and labels with invisible characters.

    Args:
        counts: Counts of the corpus, with the listed labels.
        clips: The usable clips, with `clip_id` and `group`.
        quarantine: The other clips, with the same columns.
    """
    rows = pd.concat([clips[["clip_id", "group"]], quarantine[["clip_id", "group"]]])
    groups = {group for group, clip_id in zip(rows["group"], rows["clip_id"], strict=True) if is_named(group, clip_id)}
    differ = "case, white space, invisible characters, leading zeros, or as 1 and 1.0"
    for what, names, meaning in (
        ("labels", counts.listed.classes, "each label is a separate class. Fix the labels if they mean one class"),
        ("groups", groups, "each may be in another split. Fix the names if they mean one speaker, place or device"),
    ):
        sets = look_alikes(names)
        if sets:
            yield Finding(
                "warning",
                f"{counted(len(sets), f'set of {what} looks', f'sets of {what} look')} alike",
                f"{_shown(sets)}. They differ only in {differ}, and {meaning}.",
                spoils_score=what == "groups",
            )
    hidden = [label for label in counts.listed.classes if hides_characters(label)]
    if hidden:
        yield Finding(
            "warning",
            f"{len(hidden)} of {counted(len(counts.listed.classes), 'label')} contain invisible characters",
            f"{name_some(map(repr, hidden))}. Code that compares predictions with a label must include them.",
        )


def _shown(sets: Sequence[tuple[str, ...]]) -> str:
    return name_some(" ~ ".join(map(repr, names)) for names in sets)
