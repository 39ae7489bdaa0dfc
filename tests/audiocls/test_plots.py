from __future__ import annotations

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from audiocls.plots import draw_class_counts, draw_confusion

ODD_LABELS = ["a$b_{", "<script>", "né\nwline", "x" * 60, "日本"]


def is_legible(path) -> bool:
    """Whether a picture is no smaller and no larger than a page can show, and not blank."""
    pixels = matplotlib.image.imread(path)
    return min(pixels.shape[:2]) > 200 and max(pixels.shape[:2]) < 8_000 and bool(pixels[..., :3].std() > 0.01)


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
@pytest.mark.parametrize("labels", [["a"], ODD_LABELS, [f"class {i}" for i in range(120)]], ids=["one", "odd", "many"])
def test_a_matrix_of_any_size_and_with_any_labels_is_drawn(labels, tmp_path):
    counts = pd.DataFrame(np.eye(len(labels), dtype=int) * 7, index=labels, columns=labels)
    assert is_legible(draw_confusion(counts, "test: $1 & <b>", tmp_path / "new" / "matrix.png"))


def test_the_diagonal_is_dark_and_the_rest_is_light(tmp_path):
    labels = ["a", "b"]
    good = pd.DataFrame([[9, 0], [0, 9]], index=labels, columns=labels)
    bad = pd.DataFrame([[0, 9], [9, 0]], index=labels, columns=labels)
    drawn = [draw_confusion(counts, "", tmp_path / f"{i}.png") for i, counts in enumerate((good, bad))]
    assert all(map(is_legible, drawn))
    assert not np.array_equal(*map(matplotlib.image.imread, drawn))


def test_a_class_without_clips_divides_nothing_by_zero(tmp_path):
    counts = pd.DataFrame([[3, 0], [0, 0]], index=["a", "b"], columns=["a", "b"])
    assert is_legible(draw_confusion(counts, "", tmp_path / "matrix.png"))


@pytest.mark.filterwarnings("ignore:Glyph .* missing from font")
@pytest.mark.parametrize(
    "labels", [["a", "b"], ODD_LABELS, [f"class {i}" for i in range(200)]], ids=["two", "odd", "many"]
)
def test_class_counts_before_and_after_are_drawn(labels, tmp_path):
    before = {label: i + 1 for i, label in enumerate(labels)}
    assert is_legible(draw_class_counts(before, dict.fromkeys(labels, len(labels)), tmp_path / "counts.png"))
