"""Text files from users: UTF-8 with or without a byte order mark, or UTF-16 with one; no other encoding."""

from __future__ import annotations

import codecs
import io
from typing import Final

_UTF_16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
# The most common encoding of text that is not UTF-8.
_LIKELY: Final = "Windows-1252"


class EncodingFault(ValueError):
    """A file is not text in a supported encoding; the message is one sentence without the file's name."""


def as_utf8(content: bytes) -> bytes:
    """Return the bytes of a text file as UTF-8 without a byte order mark.

    Raises:
        EncodingFault: The bytes are not valid text; the message names the line, the column in bytes, and the byte.
    """
    if content.startswith(_UTF_32):
        raise EncodingFault("the file is UTF-32; save it as UTF-8")
    content = content.removeprefix(codecs.BOM_UTF8)
    for mark, encoding in _UTF_16.items():
        if content.startswith(mark):
            content = _from_utf16(content[len(mark) :], encoding)
    for number, line in enumerate(io.BytesIO(content), start=1):
        _check_line(number, line)
    return content


def _from_utf16(content: bytes, encoding: str) -> bytes:
    try:
        return content.decode(encoding).encode()
    except UnicodeDecodeError as error:
        number = content[: error.start].decode(encoding, "replace").count("\n") + 1
        raise EncodingFault(f"line {number} is not valid UTF-16 ({error.reason}); save the file as UTF-8") from error


def _check_line(number: int, line: bytes) -> None:
    if b"\0" in line:
        column = line.index(b"\0") + 1
        raise EncodingFault(
            f"line {number} is not text (a zero byte at column {column}); if the file is UTF-16 without a byte order "
            "mark, save it as UTF-8"
        )
    try:
        line.decode()
    except UnicodeDecodeError as error:
        byte = line[error.start : error.start + 1]
        likely = byte.decode(_LIKELY, "replace")
        guess = f", {likely!r} in {_LIKELY}" if likely.isprintable() and likely != "\ufffd" else ""
        raise EncodingFault(
            f"line {number} is not UTF-8 (byte {byte[0]:#04x} at column {error.start + 1}{guess}); save the file as "
            "UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
        ) from error
