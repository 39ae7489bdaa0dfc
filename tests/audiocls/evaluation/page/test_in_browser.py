"""The report page in a real browser: hostile names, keys, sounds, the projection, both themes and two widths."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from made_evaluations import make_evaluation

from audiocls.evaluation.page.writing import PageContext, write_page

playwright = pytest.importorskip("playwright.sync_api", reason="NOT TESTED: pip install playwright")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="NOT TESTED: pip install axe-playwright-python"
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="NOT TESTED: the report page; there is no Chromium")

HOSTILE = "<img src=x onerror=window.hacked=1>"
LABELS = [HOSTILE, "</script><script>window.hacked=1</script>", "'\"&amp;`${window.hacked=1}", *map(str, range(30))]
AUDIO = "document.querySelector('audio')"
NAME = "clips/<svg onload=window.hacked=1>{}.wav"


@dataclass
class Opened:
    """A page in the browser, and what went wrong there."""

    page: Any
    trouble: list[str] = field(default_factory=list)

    def entries(self) -> list[str]:
        return self.page.locator("#browser-list .option").all_inner_texts()

    def position(self) -> str:
        return self.page.inner_text("#browser-detail .position")


@pytest.fixture(scope="module")
def written(recorded, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "evaluation"
    evaluation, data = make_evaluation(folder, recorded, LABELS, 400, NAME)
    clips = pd.read_parquet(folder / "predictions.parquet", columns=["clip_id", "path", "group", "split", "label"])
    clips[["clip_id"]].assign(x=[i % 20 for i in range(400)], y=[i // 20 for i in range(400)]).to_parquet(
        folder / "projection.parquet"
    )
    likely = clips.head(3).assign(suggested=HOSTILE, quality=0.1, rank=[1, 2, 3])
    likely.to_csv(folder / "label_errors.csv", index=False)
    return write_page(evaluation, data, PageContext(HOSTILE, {"run": HOSTILE}))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser, written):
    def open_page(width: int = 1400, theme: str = "light") -> Opened:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        found = Opened(page)
        page.on("console", lambda message: found.trouble.append(message.text))
        page.on("pageerror", lambda error: found.trouble.append(str(error)))
        page.on("dialog", lambda dialog: found.trouble.append(dialog.message))
        page.on("request", lambda request: found.trouble.append(request.url) if is_outside(request.url) else None)
        page.goto(written.as_uri())
        pages.append(page)
        return found

    def is_outside(url: str) -> bool:
        return url != written.as_uri() and not url.startswith("data:")

    pages: list[Any] = []
    yield open_page
    for page in pages:
        page.close()


def test_hostile_names_are_shown_and_do_nothing(opened):
    shown = opened()
    for key in ("pairs", "labels", "worst"):
        shown.page.check(f"input[value={key}]")
        for _ in shown.entries():
            shown.page.keyboard.press("j")
    shown.page.focus("#map")
    shown.page.keyboard.press("ArrowRight")
    shown.page.focus("#matrix")
    shown.page.keyboard.press("ArrowRight")
    assert HOSTILE in shown.page.inner_text("#map-readout")
    assert "window.hacked" in shown.page.inner_text("#matrix-readout")
    assert shown.page.inner_text("h1") == HOSTILE
    assert shown.page.evaluate("window.hacked") is None
    assert shown.page.evaluate("document.querySelectorAll('img').length") == 1  # the spectrogram
    assert shown.trouble == []


def test_keys_step_through_the_errors_of_a_class_and_play_them(opened):
    shown = opened()
    everything = len(shown.entries())
    assert shown.position() == f"1 of {everything}"
    shown.page.keyboard.press("j")  # from anywhere on the page
    shown.page.keyboard.press("ArrowDown")
    assert shown.position() == f"3 of {everything}"
    shown.page.keyboard.press("k")
    assert shown.position() == f"2 of {everything}"
    shown.page.evaluate(f"() => {{ window.playing = new Promise((done) => ({AUDIO}.ontimeupdate = done)); }}")
    shown.page.keyboard.press(" ")
    assert shown.page.evaluate(f"window.playing.then(() => {AUDIO}.error === null && {AUDIO}.duration > 0)")
    assert shown.page.evaluate("document.querySelector('.spectrogram').naturalWidth") == 320
    shown.page.select_option("#browser-class", HOSTILE)
    of_class = shown.entries()
    assert 0 < len(of_class) < everything
    assert all(HOSTILE in entry for entry in of_class)
    assert shown.trouble == []


def test_pointing_at_a_clip_names_it_and_a_click_opens_its_error(opened):
    shown = opened()
    height = shown.page.evaluate("document.querySelector('#map canvas').clientHeight")
    shown.page.hover("#map canvas", position={"x": 12, "y": height - 12})
    assert shown.page.inner_text("#map-readout").startswith(f"{NAME.format(0)}: ")
    data = shown.page.evaluate("JSON.parse(document.getElementById('map-data').textContent)")
    wrong = data["wrong"].index(1)
    shown.page.focus("#map")
    shown.page.select_option("#map-class", data["labels"][data["label"][wrong]])
    shown.page.focus("#map")
    while data["clip"][wrong] not in shown.page.inner_text("#map-readout"):
        shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Enter")
    assert data["clip"][wrong] in shown.page.inner_text("#browser-list [aria-selected=true]")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_axe_finds_no_fault_and_nothing_is_wider_than_the_window(opened, width, theme):
    shown = opened(width, theme)
    found = axe.Axe().run(shown.page).response["violations"]
    assert [(fault["impact"], fault["id"]) for fault in found] == []
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width
    assert shown.trouble == []
