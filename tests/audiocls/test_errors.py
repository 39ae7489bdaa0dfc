from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from audiocls import errors
from audiocls.errors import AudioclsError, counted, name_some


def test_a_few_names_are_all_said():
    assert name_some(["a", "b", "c"]) == "a, b, c"


def test_beyond_the_limit_the_rest_is_counted():
    assert name_some(range(14)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more"


def test_exactly_the_limit_has_no_rest():
    assert name_some("abc", most=3) == "a, b, c"


def test_no_names_are_nothing():
    assert name_some([]) == ""


def test_an_iterator_is_read_once_and_whole():
    assert name_some((name for name in "abcd"), most=2) == "a, b and 2 more"


@pytest.mark.parametrize(
    ("words", "one", "many"),
    [
        (("clip",), "1 clip", "2,000 clips"),
        (("class",), "1 class", "2,000 classes"),
        (("clip is", "clips are"), "1 clip is", "2,000 clips are"),
    ],
)
def test_a_number_and_its_words_agree(words, one, many):
    assert (counted(1, *words), counted(2_000, *words)) == (one, many)
    assert counted(0, *words) == many.replace("2,000", "0")


@given(count=st.integers(0, 60), most=st.integers(1, 20))
def test_what_is_said_and_what_is_counted_make_up_the_whole(count, most):
    said = name_some(["x"] * count, most)
    left = int(said.split(" and ")[1].split()[0]) if " more" in said else 0
    assert said.count("x") + left == count
    assert said.count("x") <= most


def test_every_error_stands_in_the_tree_that_the_module_draws():
    raised = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(raised) >= 9
    for kind in raised:
        assert issubclass(kind, AudioclsError)
        assert kind.__name__ in errors.__doc__
