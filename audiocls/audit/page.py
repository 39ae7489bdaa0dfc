"""The audit as one self-contained HTML page: embedded images, no scripts, no external links."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

import pandas as pd

from audiocls.audit import plots
from audiocls.audit.census import DC_OFFSET, Census
from audiocls.audit.confounds import Predictability
from audiocls.audit.duplicates import Duplicates, NearDuplicate
from audiocls.audit.facts import CorpusFacts
from audiocls.audit.findings import Finding
from audiocls.decoding import SILENCE_BELOW_LOUDEST_DB
from audiocls.waveforms import Counts, left_out_table, stage_table

_MOST_ROWS: Final = 200
_NEAR_DUPLICATES: Final = (
    "The waveforms of these clips match once aligned: they were re-encoded, resampled, louder, trimmed or padded. In "
    "a test with copies planted among telephone prompts, all that were encoded at 16 to 35 kbit/s, resampled, padded "
    "or made noisy were found, and nine in ten of the trimmed ones. No pair with a planted copy was wrong, and no clip "
    "played 5 % faster was taken for a copy. Repetitive sounds, such as a hum, are not compared. Listen before you "
    "delete."
)
_STYLE: Final = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; background: #f4f6f8; margin: 0; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 15px; font-weight: 600; color: #52606d; margin: 0 0 10px; }
h2 { font-size: 19px; margin: 36px 0 10px; }
.verdict { background: #fff; border-radius: 8px; border-left: 8px solid #2f855a; padding: 18px 24px; }
.verdict.problem { border-color: #c53030; } .verdict.warning { border-color: #d69e2e; }
.verdict > p { font-size: 23px; line-height: 1.3; font-weight: 650; margin: 0 0 4px; }
.finding { margin: 14px 0 0; padding-left: 92px; position: relative; }
.finding b { display: block; }
.finding span { position: absolute; left: 0; top: 2px; width: 76px; text-align: center; font-size: 12px;
  border-radius: 4px; background: #e4e7eb; }
.problem > span { background: #c53030; color: #fff; } .warning > span { background: #f6d88a; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 0; }
.tiles div { background: #fff; border-radius: 8px; padding: 10px 14px; flex: 1; min-width: 90px; }
.tiles b { display: block; font-size: 23px; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; align-items: start; }
.pair.uneven { grid-template-columns: 5fr 6fr; }
.three { display: grid; grid-template-columns: 1.4fr 1fr 1fr; gap: 14px; align-items: start; }
@media (max-width: 1060px) { .pair.uneven { grid-template-columns: 1fr; } }
@media (max-width: 800px) { .pair, .three { grid-template-columns: 1fr; } }
figure, .card { background: #fff; border-radius: 8px; margin: 0; padding: 14px 18px; overflow-x: auto; }
figure img { display: block; width: 100%; max-width: 660px; margin: 0 auto; }
figcaption { font-weight: 600; margin-bottom: 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 6px; border-bottom: 1px solid #e4e7eb; vertical-align: top; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { overflow-wrap: anywhere; }
th { font-weight: 600; color: #52606d; } tr:last-child td { border: 0; }
.below { margin-top: 14px; }
.quiet { color: #52606d; }
"""


def render_audit(
    verdict: str, findings: Sequence[Finding], facts: CorpusFacts, clips: pd.DataFrame, quarantine: pd.DataFrame
) -> str:
    """Render the page; all text from the data is escaped."""
    census = facts.census
    body = [
        _verdict(verdict, findings),
        _tiles(census, facts.duplicates, facts.near_duplicates),
        "<h2>From the source to the corpus</h2>",
        _stages(facts.counts),
        "<h2>What else could predict the class</h2>",
        _confounds(facts.confounds),
        "<h2>Classes</h2>",
        _picture("Clips and groups by class", plots.draw_classes(census.classes)),
        _classes(census),
        *_label_sets(census),
        *_pooled(census),
        "<h2>Recordings</h2>",
        '<div class="pair">',
        _picture("Length", plots.draw_durations(census.duration_histogram)),
        _picture("Loudness", plots.draw_levels(clips)),
        _picture(
            f"Silence: frames {SILENCE_BELOW_LOUDEST_DB:.0f} dB or more below the loudest",
            plots.draw_silence(clips),
        ),
        _levels(census),
        "</div>",
        _sources(census),
        *_duplicates(facts.duplicates),
        *_near_duplicates(facts.near_duplicates),
        *_quarantine(quarantine),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Corpus audit</title>'
        '<meta name="viewport" content="width=device-width">'
        f"<style>{_STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def _verdict(verdict: str, findings: Sequence[Finding]) -> str:
    worst = findings[0].severity if findings else "note"
    rows = "".join(
        f'<div class="finding {f.severity}"><span>{f.severity}</span><b>{escape(f.title)}</b>{escape(f.text)}</div>'
        for f in findings
    )
    return f'<h1>Corpus audit</h1><section class="verdict {worst}"><p>{escape(verdict)}</p>{rows}</section>'


def _tiles(census: Census, duplicates: Duplicates, near: Sequence[NearDuplicate]) -> str:
    hours = f"{census.hours:.1f}" if census.hours >= 1 else f"{60 * census.hours:.0f}"
    tiles = {
        "clips": f"{census.clips:,}",
        "hours" if census.hours >= 1 else "minutes": hours,
        "classes": f"{len(census.classes):,}",
        "groups": f"{census.groups:,}",
        "in quarantine": f"{sum(census.quarantined.values()):,}",
        "exact copies": f"{duplicates.clips - len(duplicates.sets):,}",
        "near-duplicates": f"{len(near):,}",
    }
    return f'<div class="tiles">{"".join(f"<div><b>{value}</b>{name}</div>" for name, value in tiles.items())}</div>'


def _stages(counts: Counts) -> str:
    left_out = left_out_table(counts)
    tables = [_table(("", "files", "clips", "groups", "classes"), stage_table(counts))]
    tables += [_table(("not listed", ""), left_out)] if left_out else []
    return f'<div class="pair">{"".join(f"""<div class="card">{table}</div>""" for table in tables)}</div>'


def _confounds(confounds: Sequence[Predictability]) -> str:
    if not confounds:
        return '<p class="card">Not tested: this needs two classes with six clips in two groups each.</p>'
    rows = [
        (_predicts(c), f"{c.balanced_accuracy:.2f}", f"{c.chance:.2f}", f"{c.threshold:.2f}", f"{c.clips:,}", c.classes)
        for c in confounds
    ]
    # "source" is not mentioned if there is only one.
    missing = {"file format", "duration", "level", "background"} - {c.nuisance for c in confounds}
    left_out = f" Not tested, for lack of suitable clips: {', '.join(sorted(missing))}." if missing else ""
    return (
        '<p class="quiet">A small decision tree gets only one of these properties and predicts the class of clips '
        "from unseen groups. The background is the sound in the pauses. This check cannot detect one speaker under "
        f"several group names.{left_out}</p>"
        f'<div class="pair uneven">{_picture("", plots.draw_confounds(confounds))}<div class="card">'
        + _table(("property", "balanced accuracy", "chance", "reported above", "clips", "classes"), rows)
        + "</div></div>"
    )


def _predicts(found: Predictability) -> str:
    return found.nuisance if found.label is None else f"{found.nuisance} ({found.label})"


def _classes(census: Census) -> str:
    rows = [
        (
            row["label"], f"{row['clips']:,}", f"{row['hours'] * 60:.1f}", f"{row['groups']:,}",
            f"{row['largest_group']:,}", f"{row['median_seconds']:.2f}", f"{row['median_rms_db']:.1f}",
        )
        for row in census.classes
    ]  # fmt: skip
    heads = ("class", "clips", "minutes", "groups", "clips of the largest group", "median seconds", "median RMS dB")
    return f'<div class="card below">{_table(heads, rows)}</div>'


def _label_sets(census: Census) -> list[str]:
    if census.label_sets is None:
        return []
    numbers = [(number, f"{clips:,}") for number, clips in census.label_sets.clips_by_number.items()]
    together = [(first, second, f"{clips:,}") for first, second, clips in census.label_sets.together]
    cards = [_table(("labels of a clip", "clips"), numbers), _table(("label", "with", "clips"), together)]
    return [
        "<h2>Labels together</h2>",
        f'<p class="quiet">{census.label_sets.sets:,} different sets of labels; {census.label_sets.unknown:,} labels '
        "of clips are unknown, and left out of loss and metrics.</p>",
        f'<div class="pair">{"".join(f"""<div class="card">{card}</div>""" for card in cards)}</div>',
    ]


def _pooled(census: Census) -> list[str]:
    if not census.sources:
        return []
    rows = [
        (row["source"], f"{row['clips']:,}", f"{row['hours'] * 60:.1f}", f"{row['classes']:,}", f"{row['groups']:,}")
        for row in census.sources
    ]
    heads = ("source", "clips", "minutes", "classes", "groups")
    return ["<h2>Sources</h2>", f'<div class="card">{_table(heads, rows)}</div>']


def _sources(census: Census) -> str:
    tables = {
        "format": census.source_formats,
        "sampling rate, Hz": census.source_rates_hz,
        "channels": census.source_channels,
    }
    cards = [
        f'<div class="card">{_table((name, "clips"), [(value, f"{n:,}") for value, n in counts.items()])}</div>'
        for name, counts in tables.items()
    ]
    return f'<div class="three below">{"".join(cards)}</div>'


def _levels(census: Census) -> str:
    rows = [
        ("clipped clips", f"{census.clipped:,}"),
        ("median RMS", f"{census.rms_db['median']:.1f} dB"),
        ("median peak", f"{census.peak['median']:.2f}"),
        ("median length", f"{census.duration_seconds['median']:.2f} s"),
        ("longest", f"{census.duration_seconds['most']:.2f} s"),
        ("median silence", f"{census.silence_fraction['median']:.0%}"),
        ("mostly silent clips", f"{census.mostly_silent:,}"),
        ("largest DC offset", f"{census.dc_offset['most']:.4f}"),
        (f"clips with a DC offset of at least {DC_OFFSET}", f"{len(census.dc_offsets):,}"),
    ]
    return f'<div class="card">{_table(("level and length", ""), rows)}</div>'


def _duplicates(duplicates: Duplicates) -> list[str]:
    if not duplicates.sets:
        return []
    rows = [(", ".join(s["clip_ids"]), ", ".join(s["labels"]), ", ".join(s["groups"])) for s in duplicates.sets]
    return ["<h2>The same audio more than once</h2>", _card(("clips", "labels", "groups"), rows)]


def _near_duplicates(near: Sequence[NearDuplicate]) -> list[str]:
    if not near:
        return []
    rows = [
        (
            " ~ ".join(p.clip_ids),
            ", ".join(p.labels),
            ", ".join(p.groups),
            f"{p.similarity:.2f}",
            f"{p.shift_seconds:.2f}",
        )
        for p in near
    ]
    return [
        "<h2>The same recording in several forms</h2>",
        f'<p class="quiet">{escape(_NEAR_DUPLICATES)}</p>',
        _card(("clips", "labels", "groups", "similarity", "second starts at, s"), rows),
    ]


def _quarantine(quarantine: pd.DataFrame) -> list[str]:
    if quarantine.empty:
        return []
    columns = ["clip_id", "label", "reason", "detail"]
    rows = list(quarantine[columns].fillna("").sort_values(["reason", "clip_id"]).itertuples(index=False, name=None))
    return ["<h2>In quarantine</h2>", _card(("clip", "label", "reason", "detail"), rows)]


def _card(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    left_out = len(rows) - _MOST_ROWS
    more = f'<p class="quiet">and {left_out:,} more</p>' if left_out > 0 else ""
    return f'<div class="card">{_table(heads, rows[:_MOST_ROWS], text=True)}{more}</div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]], *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name in heads)
    lines = ("".join(f"<td{kind}>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _picture(caption: str, png: bytes) -> str:
    title = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    data = base64.b64encode(png).decode()
    return f'<figure>{title}<img alt="{escape(caption)}" src="data:image/png;base64,{data}"></figure>'
