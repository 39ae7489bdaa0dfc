"""Mask passwords and tokens in URIs, which must not appear in logs, messages, tags or params."""

from __future__ import annotations

import re
from typing import Any, Final

MASK: Final = "***"

# Up to white space, a quotation mark, or the next link of a chain: zip://a.csv::https://host/a.zip.
_URI: Final = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]+://)(?P<rest>(?:(?!::[\w+.-]+:)[^\s'\"<>`])+)")
# Up to the last @ before the path. The password may contain slashes, as database drivers allow.
_USER_AND_PASSWORD: Final = re.compile(r"(?P<user>[^/?#:@]*):(?:[^/?#]*|(?!\d+(?:[/?#]|$))[^?#]*)@")
_TOKEN: Final = re.compile(r"[^/?#@]+@")
_SECRET_VALUE: Final = re.compile(
    r"(?P<key>[?&][^=&#]*(?:token|secret|signature|sig|password|passwd|pwd|credential|api_?key|access_?key|auth)"
    r"[^=&#]*=)[^&#:]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Mask the secrets in all URIs of a text, as in https://user:***@host/x?token=***; keep other text unchanged."""
    return _URI.sub(_masked_uri, text)


def masked_values(values: Any) -> Any:
    """Mask every string in nested dicts and lists."""
    match values:
        case dict():
            return {key: masked_values(value) for key, value in values.items()}
        case list():
            return [masked_values(value) for value in values]
        case str():
            return masked(values)
    return values


def without_user(uri: str) -> tuple[str, str | None]:
    """Split a URI into a URI without credentials and its "user:password", None if absent."""
    scheme, mark, rest = uri.partition("://")
    before, at, after = rest.partition("/")[0].rpartition("@")
    if not at:
        return uri, None
    return f"{scheme}{mark}{after}{rest[len(before) + 1 + len(after) :]}", before


def _masked_uri(found: re.Match[str]) -> str:
    scheme, rest = found["scheme"], found["rest"]
    user = _USER_AND_PASSWORD.match(rest)
    if user is not None:
        rest = f"{user['user']}:{MASK}@{rest[user.end() :]}"
    elif scheme.lower().endswith(
        ("http://", "https://")
    ):  # in other schemes it is a bucket or a user: abfs://container@host
        rest = _TOKEN.sub(f"{MASK}@", rest, count=1) if _TOKEN.match(rest) else rest
    return scheme + _SECRET_VALUE.sub(rf"\g<key>{MASK}", rest)
