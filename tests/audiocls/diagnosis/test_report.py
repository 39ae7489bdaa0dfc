from __future__ import annotations

import html
import json

import pytest

from audiocls.diagnosis.finding import Figure, Finding
from audiocls.diagnosis.report import HEALTHY, Diagnosis

OVERFITTING = Finding(
    "overfitting", "few_groups", "Only 3 groups.", (Figure("gap", 0.35, 0.2, 0.5), Figure("clips", 8.0)),
    ("group x",), ("training.weight_decay=0.1",), 0.35,
)  # fmt: skip
PADDING = Finding("long_audio", "padding", "Mostly padding.", overrides=("audio.pad=repeat",))


@pytest.mark.parametrize(("findings", "changes"), [(1, 0), (5, 0), (7, 0), (4, 3), (7, 3), (0, 7)])
def test_there_are_at_most_five_lines_and_what_is_left_out_is_counted(findings, changes):
    said = Diagnosis((OVERFITTING,) * findings, ("overfitting: gone",) * changes).lines
    shown = sum("few groups" in line for line in said)
    assert len(said) <= 5
    assert shown == findings or f"{findings - shown} more finding" in "\n".join(said)


def test_a_line_names_the_fault_its_cost_and_the_override_to_paste():
    assert Diagnosis((OVERFITTING,)).lines == (
        "**overfitting (few groups)**, up to +0.35 recall: `training.weight_decay=0.1`",
    )


def test_a_healthy_run_says_so_in_one_line():
    assert Diagnosis(()).lines == (HEALTHY,)
    assert Diagnosis(()).tags == {"findings": "none"}


def test_tags_let_runs_be_filtered_by_kind():
    tags = Diagnosis((OVERFITTING, PADDING)).tags
    assert tags == {
        "findings": "overfitting/few_groups, long_audio/padding",
        "finding.overfitting": "few_groups",
        "finding.long_audio": "padding",
    }


def test_a_finding_is_read_back_from_json():
    for finding in (OVERFITTING, PADDING):
        assert Finding.read(json.loads(json.dumps(finding.described()))) == finding


def test_the_full_text_has_the_figures_with_their_intervals_and_what_to_look_at():
    text = html.unescape(Diagnosis((OVERFITTING,), ("padding: gone since run x",)).markdown)
    for part in ("Only 3 groups.", "gap 0.35 [0.2, 0.5]", "group x", "`training.weight_decay=0.1`", "gone since run x"):
        assert part in text


def test_a_run_with_several_labels_is_not_called_healthy():
    assert HEALTHY not in Diagnosis((), judged=False).lines
    assert Diagnosis((), judged=False).tags == {"findings": "not judged"}


def test_an_override_that_a_shell_would_split_is_shown_in_quotes():
    finding = Finding("imbalance", "counts", "Rare.", overrides=("balance={method: oversample}",), gain=0.2)
    assert Diagnosis((finding,)).lines[0].endswith("`'balance={method: oversample}'`")
    assert "try: `'balance={method: oversample}'`" in Diagnosis((finding,)).markdown
