"""Diagnose a run: gather the evidence, ask every diagnosis, rank what they find, and keep it in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from audiocls.diagnosis.evidence import Evidence
from audiocls.diagnosis.finding import Finding
from audiocls.diagnosis.gathering import folder_of, measure, read_evidence
from audiocls.diagnosis.kinds import DIAGNOSES
from audiocls.diagnosis.over_time import changes_since
from audiocls.diagnosis.report import Diagnosis
from audiocls.files import replacing
from audiocls.splits import PreparedData


def diagnose(model_folder: Path, data: PreparedData, run: Path) -> Diagnosis:
    """Measure a run after its evaluation, diagnose it, and write `diagnosis/findings.json`.

    Args:
        model_folder: The saved model.
        data: The run's.
        run: The run's folder, with the results of its training and evaluation.
    """
    if data.params.is_multi_label:
        return _write(Diagnosis((), judged=False), data.params.experiment, run)
    measure(model_folder, data, run)
    return diagnose_again(run)


def diagnose_again(run: Path) -> Diagnosis:
    """Diagnose a run by what its folder keeps; nothing is scored again.

    Raises:
        DataError: The folder has no measurements.
    """
    evidence = read_evidence(run)
    experiment = evidence.params.experiment
    findings = find_faults(evidence)
    return _write(Diagnosis(findings, changes_since(run, experiment, findings)), experiment, run)


def find_faults(evidence: Evidence) -> tuple[Finding, ...]:
    """Return all findings, those of the highest expected gain first."""
    return ranked(found for find in DIAGNOSES if (found := find(evidence)) is not None)


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort findings by their expected gain."""
    return tuple(sorted(findings, key=lambda each: -each.gain))


def _write(diagnosis: Diagnosis, experiment: str, run: Path) -> Diagnosis:
    file = folder_of(run) / "findings.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.now(UTC).isoformat()
    created = json.loads(file.read_text(encoding="utf-8"))["created"] if file.exists() else now
    said = {"experiment": experiment, "created": created} | diagnosis.described()
    with replacing(file) as part:
        part.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return diagnosis
