"""Passwords and tokens in URIs, which no log, message, tag or param may show."""

from __future__ import annotations

import re
from typing import Any, Final

MASK: Final = "***"

# To white space, a quotation mark, or the next link of a chain: zip://a.csv::https://host/a.zip.
_URI: Final = re.compile(r"(?P<scheme>[A-Za-z][\w+.-]+://)(?P<rest>(?:(?!::[\w+.-]+:)[^\s'\"<>`])+)")
# Up to the last @ before the path; and, as the drivers of databases allow it, with slashes in the password.
_USER_AND_PASSWORD: Final = re.compile(r"(?P<user>[^/?#:@]*):(?:[^/?#]*|(?!\d+(?:[/?#]|$))[^?#]*)@")
_TOKEN: Final = re.compile(r"[^/?#@]+@")
_SECRET_VALUE: Final = re.compile(
    r"(?P<key>[?&][^=&#]*(?:token|secret|signature|sig|password|passwd|pwd|credential|api_?key|access_?key|auth)"
    r"[^=&#]*=)[^&#:]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Mask the secrets in all URIs of a text: https://user:***@host/x?token=***; what has none stays as it is."""
    return _URI.sub(_masked_uri, text)


def masked_values(values: Any) -> Any:
    """Mask every text in a nest of dicts and lists."""
    match values:
        case dict():
            return {key: masked_values(value) for key, value in values.items()}
        case list():
            return [masked_values(value) for value in values]
        case str():
            return masked(values)
    return values


def without_user(uri: str) -> tuple[str, str | None]:
    """Return a URI as anyone may see and follow it, and the user and password that stood in it, "user:password"."""
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
    elif scheme.lower().endswith(("http://", "https://")):  # elsewhere it is a bucket, or a user: abfs://container@host
        rest = _TOKEN.sub(f"{MASK}@", rest, count=1) if _TOKEN.match(rest) else rest
    return scheme + _SECRET_VALUE.sub(rf"\g<key>{MASK}", rest)
