"""The names that a user chooses from. Imports nothing heavy, so that the command line can list them."""

from __future__ import annotations

from typing import Literal

RuntimeKind = Literal["torch", "onnx", "onnx-int8", "auto"]
"""What computes the logits."""

PartKind = Literal["segments", "windows"]
"""What a recording can be divided into."""

LabelFormat = Literal["audacity", "raven", "rttm"]
"""Of an annotation tool."""
