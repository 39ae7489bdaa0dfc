"""A params file to start from, with comments, for a folder or a table of recordings."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

from audiocls.errors import ParamsError, counted, visible
from audiocls.files import masked
from audiocls.params_file.first_look import FirstLook, look_at
from audiocls.params_file.reading import dump_yaml, load_params

# A rarest class with less than two thirds of the clips of the most frequent one is worth a weighted loss.
_BALANCED: Final = 1.5


def write_starter(source: str, file: Path) -> FirstLook:
    """Write a params file for a folder or a table, and say what was seen there.

    Raises:
        DataError: There is nothing to train on.
        ParamsError: The params file is there already, or its folder is not.
    """
    if file.exists():
        raise ParamsError(f"{file}: is there already, and is not written over. Choose another file with --out.")
    look = look_at(source)
    text = starter(source, file, look)
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except FileNotFoundError as error:
        raise ParamsError(f"{file}: the folder {file.parent} is not there. Make it, or choose another.") from error
    load_params(file)
    return look


def starter(source: str, file: Path, look: FirstLook) -> str:
    """Return the text of a params file."""
    counts = look.labels.values()
    imbalanced = max(counts) > _BALANCED * min(counts)
    lines = [
        *(
            line
            for seen in look.seen
            for line in textwrap.wrap(seen, 118, initial_indent="# ", subsequent_indent="#   ")
        ),
        "#",
        f"#   audiocls train {visible(str(file))}",
        "#",
        "# `audiocls schema` prints every key, with its meaning and its default.",
        "",
        *_lines({"experiment": _experiment(source)}),
        "# The one number that every stage draws its randomness from.",
        *_lines({"seed": 17}),
        "# Decoded audio, runs and MLflow's database.",
        *_lines({"workspace": "workspace"}),
        *_lines({"data": look.data}),
        "audio:",
        "  # The length of the model's input. Longer clips are cut anew in each epoch, and scored as a whole.",
        *_lines({"max_seconds": look.max_seconds or 10.0}, indent=2),
        "split:",
        "  # Shares of the clips; a group stands in one split alone.",
        *_lines({"test_fraction": 0.15, "validation_fraction": 0.15}, indent=2),
        "model:",
        "  # A small network trained from scratch. With a pretrained model: family: wav2vec2 and",
        "  # pretrained: facebook/wav2vec2-base, a learning_rate of 3.0e-5 and a smaller batch_size.",
        *_lines({"family": "logmel-resnet"}, indent=2),
        "balance:",
        f"  # The most frequent class has {counted(max(counts), 'clip')}, the rarest {min(counts):,}.",
        "  # `audiocls balance` compares methods.",
        *_lines({"method": "weighted_loss" if imbalanced else "none"}, indent=2),
        "training:",
        *_lines({"epochs": 10, "batch_size": 32, "learning_rate": 3e-3, "schedule": "cosine"}, indent=2),
        "  # A GPU where there is one.",
        *_lines({"device": "auto"}, indent=2),
    ]
    return "\n".join(lines) + "\n"


def _lines(section: dict[str, Any], indent: int = 0) -> list[str]:
    return [" " * indent + line for line in dump_yaml(section).splitlines()]


def _experiment(source: str) -> str:
    """Name the experiment by the folder or the table."""
    path = Path(masked(source).rstrip("/"))
    return path.stem if path.suffix else path.resolve().name or "audiocls"
