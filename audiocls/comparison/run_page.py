"""The comparison of runs as one self-contained HTML page, with the flipped clips to listen to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd

from audiocls.comparison.clip_audio import encode_clip
from audiocls.comparison.flips import BROKEN, FIXED, KINDS
from audiocls.comparison.paired import LOWER_IS_BETTER, NAMES, Compared, Verdict
from audiocls.comparison.run_facts import Facts, changed_cells, count_flips
from audiocls.comparison.run_page_style import STYLE
from audiocls.comparison.run_summary import about, headlines, levelled, signed
from audiocls.errors import counted

MOST_AUDIO_BYTES: Final = 12_000_000
"""Of all players of a page; flipped clips beyond it are listed without one."""

_MOST_FLIPS: Final = 60  # of each run
_MOST_CELLS: Final = 30
_MOST_MATRIX_CLASSES: Final = 30
_MOST_CLASSES: Final = 300
_TITLES: Final = {
    BROKEN: "Broken: right before, wrong now",
    FIXED: "Fixed: wrong before, right now",
    "changed": "Wrong in both, in another way",
}


def render_page(facts: Facts) -> str:
    """Render the page; all text from the data is escaped."""
    title = escape(" and ".join(run.name for run in facts.runs))
    body = [
        "<h1>Runs compared on the same test clips</h1>",
        _verdicts(facts),
        _legend(facts),
        *(f'<p class="differs">{escape(each)}</p>' for each in facts.common.differences),
        f'<p class="quiet">{escape(about(facts))}</p>',
        "<h2>Metrics</h2>",
        _metric_table(facts.names, [("", "", each) for each in facts.metrics], ()),
        *_flipped(facts),
        *_classes(facts),
        *_confusions(facts),
        *_params(facts),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _verdicts(facts: Facts) -> str:
    leading = facts.metrics[0]
    lines = (
        f'<p class="{_class_of(verdict)}">{escape(text)}</p>'
        for text, verdict in zip(headlines(facts), leading.verdicts, strict=True)
    )
    return f'<div class="verdicts">{"".join(lines)}</div>'


def _legend(facts: Facts) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.legend)
    return f'<div class="card"><table class="text">{rows}</table></div>'


def _class_of(verdict: Verdict) -> str:
    return {"better": "better", "worse": "worse"}.get(verdict, "open")


def _metric_table(
    names: Sequence[str], rows: Iterable[tuple[str, str, Compared]], heads: Sequence[str] = ("class", "clips, groups")
) -> str:
    """Return a table of metrics; a row has a class and its size, or neither."""
    head = "".join(f"<th>{escape(name)}</th>" for name in (*heads, "metric", *names))
    head += "".join(f"<th>{escape(name)} &minus; {escape(names[0])}</th>" for name in names[1:])
    lines = []
    for label, size, each in rows:
        cells = [f"<td>{escape(text)}</td>" for text in ((label, size) if heads else ())]
        lower = '<span class="quiet"> (lower is better)</span>' if each.metric in LOWER_IS_BETTER else ""
        cells.append(f"<td>{escape(NAMES[each.metric])}{lower}</td>")
        cells += [f"<td>{escape(levelled(score))}</td>" for score in each.scores]
        for gain, verdict in zip(each.differences, each.verdicts, strict=True):
            mark = f'<span class="mark {_class_of(verdict)}">{escape(verdict)}</span>'
            cells.append(f"<td>{escape(signed(gain))} {mark}</td>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="card"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def _classes(facts: Facts) -> list[str]:
    if not facts.classes:
        return []
    rows = [
        (each.label if not number else "", f"{each.clips}, {each.groups}" if not number else "", metric)
        for each in facts.classes[:_MOST_CLASSES]
        for number, metric in enumerate(each.metrics)
    ]
    left_out = len(facts.classes) - _MOST_CLASSES
    more = f" {counted(left_out, 'more class is', 'more classes are')} in comparison.json." if left_out > 0 else ""
    note = (
        f"With {counted(len(facts.classes), 'class')} and several metrics, about one verdict of 20 is wrong by chance "
        f"where nothing differs.{more}"
    )
    return ["<h2>Classes</h2>", f'<p class="quiet">{escape(note)}</p>', _metric_table(facts.names, rows)]


def _flipped(facts: Facts) -> list[str]:
    lines, room = ["<h2>Flipped clips</h2>"], MOST_AUDIO_BYTES
    for name, flips in zip(facts.names[1:], facts.flips, strict=True):
        counts = count_flips(flips)
        said = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
        lines.append(f"<h3>{escape(name)}: {escape(said)}</h3>")
        shown = 0
        for kind in KINDS:
            rows = flips[flips["kind"] == kind].head(_MOST_FLIPS // len(KINDS))
            if rows.empty:
                continue
            cards = []
            for row in rows.itertuples(index=False):
                player = encode_clip(row.path, row.start_seconds, row.end_seconds) if room > 0 else None
                room -= len(player or "")
                cards.append(_flip(row, player))
            shown += len(rows)
            lines.append(f'<h4>{escape(_TITLES[kind])}</h4><div class="flips">{"".join(cards)}</div>')
        if len(flips) > shown:
            lines.append(f'<p class="quiet">{counted(len(flips) - shown, "more clip")} in flipped.csv.</p>')
    return lines


def _flip(row: Any, player: str | None) -> str:
    audio = f'<audio controls preload="none" src="{player}"></audio>' if player else '<p class="quiet">no file here</p>'
    return (
        f'<div class="flip"><p class="clip">{escape(str(row.clip_id))}</p>{audio}'
        f"<p>label <b>{escape(str(row.label))}</b>, group {escape(str(row.group))}</p>"
        f"<p>{escape(row.predicted_before)} <span>{row.probability_before:.2f}</span> &rarr; "
        f"{escape(row.predicted)} <span>{row.probability:.2f}</span></p></div>"
    )


def _confusions(facts: Facts) -> list[str]:
    lines: list[str] = []
    for name, counts in zip(facts.names[1:], facts.confusions[1:], strict=False):
        before = facts.confusions[0]
        cells = changed_cells(before, counts)
        lines.append(f"<h2>Confusions of {escape(name)} less those of {escape(facts.names[0])}</h2>")
        if not cells:
            lines.append('<p class="quiet">Both runs have the same confusion matrix.</p>')
        elif len(before) <= _MOST_MATRIX_CLASSES:
            lines.append(_matrix(counts - before))
        else:
            lines.append(_cell_list(cells))
    return lines


def _matrix(difference: pd.DataFrame) -> str:
    """Return the differences as a table: green is better, more on the diagonal or less beside it."""
    values = difference.to_numpy()
    most = max(int(np.abs(values).max()), 1)
    head = "".join(f'<th class="turned"><span>{escape(str(name))}</span></th>' for name in difference.columns)
    rows = []
    for i, label in enumerate(difference.index):
        cells = []
        for j, value in enumerate(values[i].tolist()):
            good = (value > 0) == (i == j)
            style = f' class="{"gain" if good else "loss"}" style="--share:{abs(value) / most:.2f}"' if value else ""
            cells.append(f"<td{style}>{f'{value:+d}' if value else ''}</td>")
        rows.append(f"<tr><th>{escape(str(label))}</th>{''.join(cells)}</tr>")
    return (
        '<p class="quiet">Rows are true classes, columns predicted ones. Green is better, red is worse.</p>'
        f'<div class="card"><table class="matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    )


def _cell_list(cells: Sequence[dict[str, Any]]) -> str:
    names = ("true", "predicted", "before", "now", "difference")
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(str(cell[name]))}</td>' for name in names)}</tr>" for cell in cells[:_MOST_CELLS]
    )
    left_out = len(cells) - _MOST_CELLS
    more = f'<p class="quiet">{counted(left_out, "more cell")} in comparison.json.</p>' if left_out > 0 else ""
    return f'<div class="card"><table><tr>{head}</tr>{rows}</table>{more}</div>'


def _params(facts: Facts) -> list[str]:
    lines = ["<h2>Params that differ</h2>"]
    unknown = [name for name, run in zip(facts.names, facts.runs, strict=True) if not run.params]
    if unknown:
        lines.append(f'<p class="quiet">Unknown of {escape(", ".join(unknown))}.</p>')
    if not facts.params:
        return [*lines, '<p class="quiet">None.</p>']
    head = "".join(f"<th>{escape(name)}</th>" for name in ("param", *facts.names))
    rows = "".join(
        f"<tr><td>{escape(key)}</td>{''.join(f'<td>{escape(value or str())}</td>' for value in values)}</tr>"
        for key, values in facts.params.items()
    )
    return [*lines, f'<div class="card"><table class="text"><tr>{head}</tr>{rows}</table></div>']
