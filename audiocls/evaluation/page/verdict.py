"""The result of a run in words: the score, what it is worth, and what to look at first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from audiocls.errors import counted, name_some
from audiocls.evaluation.page.predictions import Predictions
from audiocls.evaluation.page.records import Caution, ClassRow, CorruptionRow, Pair, ScoreRow, SliceRow, Verdict
from audiocls.evaluation.report import SHOWN_METRICS, SHOWN_OF_LABEL_SETS

_UNAUDITED: Final = "The data were not audited with this evaluation, so nothing limits or supports this score here."
_MAIN: Final = {
    False: ("macro-F1", SHOWN_METRICS["f1_macro"]),
    True: ("mAP", SHOWN_OF_LABEL_SETS["map_macro"]),
}
_WEAKEST: Final = 3
_WEAK_BELOW: Final = 0.9


def word_verdict(
    predictions: Predictions,
    scores: Sequence[ScoreRow],
    classes: Sequence[ClassRow],
    pairs: Sequence[Pair],
    slices: Sequence[SliceRow],
    corruptions: Sequence[CorruptionRow],
    audit: Path | None,
) -> Verdict:
    """Write the verdict.

    Args:
        predictions: Of test.
        scores: Of test; the main one is macro-F1, or the mean average precision.
        classes: The weakest first.
        pairs: The most confused first.
        slices: Parts of test.
        corruptions: Of test clips.
        audit: The run's `audit.json`; None if there is none.
    """
    name, shown = _MAIN[predictions.is_multi_label]
    main = next(row for row in scores if row.name == shown)
    worth, tone, cautions, notes = _audited(audit)
    return Verdict(
        score_name=name,
        score=main.test,
        headline=_headline(name, main, predictions),
        worth=worth,
        tone=tone,
        cautions=cautions,
        notes=notes,
        sentences=tuple(_sentences(predictions, classes, pairs, slices, corruptions)),
    )


def _headline(name: str, main: ScoreRow, predictions: Predictions) -> str:
    clips, groups = len(predictions.rows), len(np.unique(predictions.groups))
    where = f"{counted(clips, 'test clip')} of {counted(groups, 'group')}"
    score = f"The {name} is {main.test.value:.3f} on {where}"
    if np.isnan(main.test.low):
        return f"{score}. There are too few groups for an interval."
    return f"{score}; for other groups, the 95 % interval is {main.test.low:.3f} to {main.test.high:.3f}."


def _audited(audit: Path | None) -> tuple[str, str, tuple[Caution, ...], int]:
    """Return the audit's verdict, its severity, the findings that limit the score, and the number of others."""
    if audit is None or not audit.exists():
        return _UNAUDITED, "unknown", (), 0
    said = json.loads(audit.read_text(encoding="utf-8"))
    findings = said["findings"]
    severe = [each for each in findings if each["spoils_score"] or each["severity"] != "note"]
    cautions = tuple(Caution(each["severity"], each["title"], each["text"]) for each in severe)
    tone = findings[0]["severity"] if findings else "note"
    return said["verdict"], tone, cautions, len(findings) - len(severe)


def _sentences(
    predictions: Predictions,
    classes: Sequence[ClassRow],
    pairs: Sequence[Pair],
    slices: Sequence[SliceRow],
    corruptions: Sequence[CorruptionRow],
) -> Iterator[str]:
    wrong = int((predictions.wrongness > 0).sum())
    answers = "have a wrong label" if predictions.is_multi_label else "are wrong"
    yield f"{wrong:,} of {counted(len(predictions.rows), 'test clip')} {answers}.{_baseline(predictions)}"
    measured = [row for row in classes if row.clips]
    weak = [row for row in measured if row.f1.value < _WEAK_BELOW][:_WEAKEST]
    if weak:
        named = ", ".join(f"'{row.label}' ({row.f1.value:.2f} on {counted(row.clips, 'clip')})" for row in weak)
        yield f"The lowest F1: {named}."
    unmeasured = [f"'{row.label}'" for row in classes if not row.clips]
    if unmeasured:
        yield f"Not measured, for lack of test clips: {name_some(unmeasured)}."
    if pairs:
        first = pairs[0]
        both = counted(first.clips, "clip")
        yield f"Most confused: '{first.first}' and '{first.second}', in {first.errors} of {both}."
    failed = [f"{row.column} = {row.value}" for row in slices if row.verdict == "fail"]
    if failed:
        yield f"Parts of test that score lower than chance explains: {name_some(failed)}."
    lost = [row.kind.replace("_", " ") for row in corruptions if row.verdict == "fail"]
    if lost:
        yield f"The score falls with these corruptions, more than chance explains: {name_some(lost)}."


def _baseline(predictions: Predictions) -> str:
    if predictions.is_multi_label:
        return ""
    accuracy = float((predictions.predicted == predictions.targets).mean())
    frequent = np.bincount(predictions.targets, minlength=len(predictions.labels))
    answer = predictions.labels[int(frequent.argmax())]
    return (
        f" The accuracy is {accuracy:.3f}; always answering '{answer}', the most frequent class, would give "
        f"{frequent.max() / len(predictions.rows):.3f}."
    )
