"""Fill the template of a page: everything inline, all text escaped, and no script but the page's own."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audiocls.evaluation.page.records import Page

_PACKAGE: Final = "audiocls.evaluation.page"
_SCRIPTS: Final = ("start.js", "plots.js", "matrix.js", "projection.js", "errors.js")


def render(page: Page) -> str:
    """Return the HTML of a page."""
    style, script = _file("page.css"), "\n".join(map(_file, _SCRIPTS))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "media-src data:; base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("page.html")
    return template.render(page=page, policy=policy, style=Markup(style), script=Markup(script))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(_PACKAGE, "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "percent": _percent}
    environment.tests["number"] = lambda value: value is not None and not math.isnan(value)
    return environment


def _file(name: str) -> str:
    return files(_PACKAGE).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _score(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
