"""The audit of a corpus: its statistics, its problems, and how much a test score on it means.

<folder>/audit.html     for readers: the verdict first, then the evidence; one self-contained file
<folder>/audit.json     the same content for programs
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from audiocls.audit.census import census_findings, count_corpus
from audiocls.audit.confounds import confound_findings, measure_confounds
from audiocls.audit.duplicates import (
    duplicate_findings,
    find_duplicates,
    name_near_duplicates,
    near_duplicate_findings,
)
from audiocls.audit.facts import CorpusFacts
from audiocls.audit.findings import Finding, by_severity, verdict
from audiocls.audit.lost import count_findings
from audiocls.audit.page import render_audit
from audiocls.audit.spelling import spelling_findings
from audiocls.files import replacing
from audiocls.markdown import escaped
from audiocls.waveforms import Corpus, check_quarantine, read_counts


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The files that were written, with the verdict and the findings."""

    html: Path
    json: Path
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def warns(self) -> bool:
        """Whether any finding is more than a note."""
        return any(finding.severity != "note" for finding in self.findings)

    @property
    def line(self) -> str:
        """One line for a log: the verdict, the findings behind it and the path of the page."""
        severe = "; ".join(finding.title for finding in self.findings if finding.severity != "note")
        return " ".join(f"{self.verdict} {f'{severe}. ' if severe else ''}See {self.html}".split())


def write_audit(corpus: Corpus, near_duplicates: Path, folder: Path, further: Iterable[Finding] = ()) -> AuditReport:
    """Audit a corpus and write the report.

    Args:
        corpus: The corpus to audit.
        near_duplicates: Table of the near-duplicate pairs that were found in it.
        folder: Where the report is written.
        further: Findings of later stages, such as what copies mean for the splits.

    Raises:
        DataError: There is no usable clip.
    """
    check_quarantine(corpus, max_bad_fraction=1.0)
    clips, quarantine = pd.read_parquet(corpus.clips), pd.read_parquet(corpus.quarantine)
    facts = CorpusFacts(
        census=count_corpus(clips, quarantine),
        counts=read_counts(corpus.counts),
        duplicates=find_duplicates(clips),
        near_duplicates=name_near_duplicates(clips, pd.read_parquet(near_duplicates)),
        confounds=measure_confounds(clips, corpus.store, _sample_rate_hz(corpus.store)),
    )
    findings = by_severity(
        [
            *count_findings(facts.counts),
            *spelling_findings(facts.counts, clips, quarantine),
            *confound_findings(clips, facts.confounds),
            *duplicate_findings(facts.duplicates),
            *near_duplicate_findings(facts.near_duplicates),
            *further,
            *census_findings(facts.census),
        ]
    )
    report = AuditReport(folder / "audit.html", folder / "audit.json", verdict(findings), findings)
    with replacing(report.html) as part:
        part.write_text(render_audit(report.verdict, findings, facts, clips, quarantine), encoding="utf-8")
    with replacing(report.json) as part:
        described = _as_json(corpus.digest, report, facts)
        part.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return report


def _sample_rate_hz(store: Path) -> int:
    return int(json.loads((store / "settings.json").read_text())["sample_rate_hz"])


def _as_json(digest: str, report: AuditReport, facts: CorpusFacts) -> dict[str, object]:
    return {
        "digest": digest,
        "verdict": report.verdict,
        "findings": [asdict(finding) for finding in report.findings],
        "corpus": asdict(facts.census),
        "counts": asdict(facts.counts),
        "duplicates": asdict(facts.duplicates),
        "near_duplicates": [asdict(pair) for pair in facts.near_duplicates],
        "confounds": [asdict(found) | {"reported": found.reported} for found in facts.confounds],
    }


def audit_markdown(report: AuditReport) -> str:
    """Format the verdict and the findings as Markdown."""
    lines = [f"**{escaped(report.verdict)}**", ""]
    lines += [f"- **{f.severity}: {escaped(f.title)}.** {escaped(f.text)}" for f in report.findings]
    return "\n".join([*lines, "", f"Full page: `{report.html}`"])
