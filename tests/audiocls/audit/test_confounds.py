from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from audiocls.audit.confounds import NUISANCES, confound_findings, predictability
from audiocls.audit.findings import verdict

ONE_CLASS = "Every group of several clips has only one class"


def listed(rows):
    """The columns that the findings look at, of clips given as (label, group)."""
    table = pd.DataFrame(rows, columns=["label", "group"])
    return table.assign(shard=0, first_sample=range(len(table)))


def groups_of_their_own(classes=3, groups=3, clips=4):
    return [(f"c{c}", f"c{c}-g{g}") for c in range(classes) for g in range(groups) for _ in range(clips)]


def found(rows):
    return {finding.title: finding for finding in confound_findings(listed(rows), [])}


def test_few_groups_that_hold_one_class_each_are_a_warning_that_names_the_classes():
    findings = found(
        [*groups_of_their_own(), *((f"many-{c}", f"{c}-{g}") for c in "ab" for g in range(6) for _ in "xy")]
    )
    finding = findings[ONE_CLASS]
    assert finding.severity == "warning"
    assert "fewer than 5 groups, as few of these are in test: c0, c1, c2." in finding.text
    assert "may be too optimistic" in verdict(findings.values())


def test_many_groups_that_hold_one_class_each_are_a_note():
    findings = found(groups_of_their_own(groups=8))
    assert findings[ONE_CLASS].severity == "note"
    assert "fewer than" not in findings[ONE_CLASS].text
    assert verdict(findings.values()) == "No problem was found."


def test_nearly_every_group_is_counted():
    findings = found([*groups_of_their_own(groups=8), ("c1", "c0-g0")])
    assert list(findings) == ["23 of 24 groups of several clips have only one class"]


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([(f"c{c}", f"g{g}") for c in range(3) for g in range(8) for _ in range(3)], id="shared groups"),
        pytest.param([(f"c{i % 3}", f"g{i}") for i in range(60)], id="every clip a group"),
        pytest.param([*groups_of_their_own(), *((f"c{i % 3}", f"g{i}") for i in range(60))], id="most clips a group"),
        pytest.param([("most", f"g{i // 2}") for i in range(60)] + [("rare", f"r{g}") for g in range(3)], id="chance"),
        pytest.param([("c0", f"g{g}") for g in range(8) for _ in range(4)], id="one class"),
    ],
)  # fmt: skip
def test_groups_that_say_little_of_the_class_are_not_reported(rows):
    assert not any("only one class" in title for title in found(rows))


def test_one_group_a_class_is_said_once():
    assert ONE_CLASS not in found(groups_of_their_own(groups=1, clips=8))


def test_classes_left_out_of_the_checks_are_named():
    findings = found([*groups_of_their_own(groups=8), ("short", "c0-g0"), *[("alone", "c1-g1")] * 8])
    text = findings["2 of 5 classes are left out of confound checks"].text
    assert "Left out of all checks: alone, short." in text
    assert "nothing was tested" not in text


def test_where_no_two_classes_are_judged_it_is_said():
    text = found([("yes", "ann"), ("no", "bob")])["2 of 2 classes are left out of confound checks"].text
    assert "nothing was tested" in text


def test_a_class_that_one_check_leaves_out_is_named_with_it():
    clips = listed(groups_of_their_own(groups=8))
    values = np.where(clips[["label"]] == "c2", np.nan, 1.0)
    measured = predictability(NUISANCES[-1], values, clips["label"], clips["group"])
    titles = {finding.title: finding.text for finding in confound_findings(clips, [measured])}
    assert "Left out of background: c2." in titles["1 of 3 classes are left out of confound checks"]
