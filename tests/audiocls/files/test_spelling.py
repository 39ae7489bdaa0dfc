from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from audiocls.errors import name_some, visible
from audiocls.files.spelling import composed, look_alikes, spelled_on_disk


@pytest.mark.parametrize(
    "names",
    [
        ("Yes", "YES", "yes"),
        ("turn left", "turn  left", "turn\tleft", "turn\u00a0left", " turn left"),
        ("no", "no\u200b", "n\u200do", "\ufeffno", "no\ufe0f", "n\u00ado", "no\0"),
        ("07", "7", "007"),
        ("1", "1.0", "1.00", "01"),
        ("speaker-07", "speaker-7"),
        ("s01e02", "S1E2"),
        ("Straße", "STRASSE"),
        ("\u0130stanbul", "i\u0307stanbul"),
    ],
)
def test_names_that_differ_in_what_is_hard_to_see_look_alike(names):
    assert look_alikes([*names, "another"]) == [tuple(sorted(names))]


@pytest.mark.parametrize(
    "names",
    [
        ("yes", "no"), ("1", "10", "100"), ("v1.05", "v1.5"), ("1.05", "1.5"), ("0", "1"), ("a b", "ab"),
        ("e", "é"), ("s1", "s10"), ("", "x"), ("-1", "1"), ("_a", "a"),
    ],
)  # fmt: skip
def test_names_that_can_be_told_apart_do_not(names):
    assert look_alikes(names) == []


@given(st.lists(st.text(max_size=6), max_size=8))
def test_each_name_is_in_one_set_at_most_and_no_set_has_one_name(names):
    sets = look_alikes(names)
    found = [name for names in sets for name in names]
    assert len(found) == len(set(found))
    assert set(found) <= set(names)
    assert all(len(each) > 1 for each in sets)


@given(st.text())
def test_both_forms_of_a_text_are_composed_to_one(text):
    assert (
        composed(unicodedata.normalize("NFD", text)) == composed(unicodedata.normalize("NFC", text)) == composed(text)
    )


def test_what_cannot_be_seen_is_escaped_where_names_are_listed():
    assert visible("no\u200b") == r"no\u200b"
    assert name_some(["a", "b\u00a0c", "d\n", "é"]) == r"a, b\xa0c, d\n, é"


def test_a_name_is_spelled_as_the_disk_has_it_and_left_alone_where_it_has_none(tmp_path):
    forms = [unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")]
    (tmp_path / forms[0] / forms[1]).mkdir(parents=True)
    for first in forms:
        for second in forms:
            asked = str(tmp_path / first / second)
            assert spelled_on_disk(asked) == str(tmp_path / forms[0] / forms[1])
            assert spelled_on_disk(f"{asked}/nothing") == f"{asked}/nothing"
