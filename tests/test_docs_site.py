"""The documentation builds without a warning, needs no other address, and says what the code says."""

from __future__ import annotations

import ast
import html
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from audiocls.errors import counted
from audiocls.params import RunParams

HOME = Path(__file__).resolve().parents[1]
DOCS = HOME / "docs"
ROOMS = {path.parent.name for path in (HOME / "audiocls").glob("*/__init__.py")}
PACKAGES = ("audiocls", "tasks", "flows")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; --strict makes a broken link or a page outside the navigation fail, but not with --quiet."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Loaded(HTMLParser):
    """Collects what a browser loads with a page: scripts, styles, pictures and frames, but no links to follow."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio") and attributes.get("src"):
            self.addresses.append(attributes["src"])
        if tag == "link" and attributes.get("rel") != "canonical":
            self.addresses.append(attributes.get("href", ""))


def test_the_site_has_every_page(site):
    names = {page.stem for page in DOCS.glob("*.md")} | {"params"}
    assert len(names) > 20
    assert names <= {page.stem for page in site.glob("*.html")}


def test_no_page_loads_anything_from_another_address(site):
    pages = sorted(site.glob("*.html"))
    assert pages
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text())
        assert len(loaded.addresses) > 3
        assert not [address for address in loaded.addresses if re.match(r"(\w+:)?//", address)], page.name


def test_no_page_has_what_makes_the_theme_load_scripts_or_figures_from_another_address(site):
    for page in site.glob("*.html"):
        text = page.read_text()
        assert 'class="mermaid"' not in text, page.name
        assert 'data-md-component="source"' not in text, page.name


def test_no_style_loads_a_font_or_a_picture_from_another_address(site):
    styles = sorted(site.rglob("*.css"))
    assert len(styles) > 2
    for style in styles:
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", style.read_text()), style.name


def test_nothing_of_the_build_itself_is_published(site):
    assert not list(site.rglob("*.py"))


def described_keys(model, path=()):
    """Yield every field of a model and of the models in its annotation: (name, field)."""
    for name, field in model.model_fields.items():
        yield name, field
        for inner in models_in(field.annotation):
            yield from described_keys(inner, (*path, name))


def models_in(annotation):
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]


def test_the_params_reference_has_every_key_with_its_default_and_description(site):
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", (site / "params.html").read_text())).split())
    found = list(described_keys(RunParams))
    assert len(found) > 150
    plain = re.sub(r"[`\s]", "", text)
    for name, field in found:
        assert f" {name} " in f" {text} "
        assert re.sub(r"[`\s]", "", field.description or "") in plain, name


def test_the_params_reference_says_defaults_and_bounds(site):
    rows = re.findall(r"<tr>(.*?)</tr>", (site / "params.html").read_text(), flags=re.DOTALL)
    cells = [[html.unescape(re.sub(r"<[^>]+>", "", c)) for c in re.findall(r"<td>(.*?)</td>", row)] for row in rows]
    by_key = {row[0]: row for row in cells if row}
    assert by_key["epochs"][1:4] == ["number", "10.0", "> 0"]
    assert by_key["optimizer"][1].split(", ") == ["adamw", "adafactor", "sgd", "rmsprop", "adagrad"]
    assert by_key["sample_rate_hz"][1:4] == ["integer", "16000", "≥ 4000, ≤ 192000"]
    assert by_key["learning_rate"][2] == "5e-05"
    assert by_key["exclude"][1:3] == ["list of string", "[]"]


def layers():
    """Return the rooms in the order in which import-linter holds them, lowest first."""
    contracts = tomllib.loads((HOME / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each.get("containers") == ["audiocls"])
    return [name for name in reversed(contract["layers"]) if name in ROOMS]


def test_the_rooms_are_those_of_the_library_in_their_order():
    page = (DOCS / "architecture.md").read_text()
    (table,) = re.findall(r"<!-- rooms.*?-->(.*?)<!-- end -->", page, flags=re.DOTALL)
    rooms = re.findall(r"^\| `(\w+)` \| \S", table, flags=re.MULTILINE)
    assert set(rooms) == ROOMS
    assert rooms == layers()


def test_the_map_in_the_contributing_guide_has_the_rooms_in_their_order():
    (listed,) = re.findall(
        r"<!-- rooms -->\s+```text\n(.*?)```", (HOME / "CONTRIBUTING.md").read_text(), flags=re.DOTALL
    )
    assert re.findall(r"\w+", listed) == layers()


def test_every_name_of_the_code_in_the_architecture_page_is_there():
    page = (DOCS / "architecture.md").read_text()
    paths = re.findall(r"`((?:audiocls|tasks|flows|tests)/[a-z0-9_/.]+)`", page)
    assert len(paths) > 10
    for path in paths:
        assert (HOME / path).exists(), path
    code = "\n".join(file.read_text() for package in PACKAGES for file in (HOME / package).rglob("*.py"))
    names = re.findall(r"`(_?[A-Z]\w*[A-Z_a-z]\w+|_list_source|build_loss)`", page)
    assert {"ADAPTERS", "SingleSource", "Transform", "TrainingLoss"} <= set(names)
    for name in set(names) - {"Literal"}:
        assert re.search(rf"^(?:class |def )?{name}\b", code, flags=re.MULTILINE), name


def templates():
    """Return every text of the code that is no docstring, with … for what is filled in."""
    found = []
    for file in (file for package in PACKAGES for file in (HOME / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                found.append(template(node))
    return found


def template(node):
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(template(part) if isinstance(part, ast.Constant) else filled_in(part) for part in node.values)


def filled_in(part):
    """Return "…", and for a number with its noun, `counted(number, "clip")`, the noun in the plural as well."""
    call = part.value
    if not (isinstance(call, ast.Call) and getattr(call.func, "id", "") == "counted"):
        return "…"
    words = [word.value for word in call.args[1:] if isinstance(word, ast.Constant)]
    return counted(2, *words).replace("2", "…", 1) if len(words) == len(call.args) - 1 else "…"


def test_every_message_in_troubleshooting_is_in_the_code():
    page = (DOCS / "troubleshooting.md").read_text()
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    assert len(messages) > 35
    known = templates()
    patterns = {m: re.compile(".*".join(map(re.escape, m.split("…"))), flags=re.DOTALL) for m in messages}
    assert [m for m, pattern in patterns.items() if not any(map(pattern.search, known))] == []


def test_every_reason_for_quarantine_is_one_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \|", (DOCS / "audit.md").read_text(), flags=re.MULTILINE)
    assert len(rows) > 10
    known = set(templates())
    assert [reason for reason in rows if reason not in known] == []
