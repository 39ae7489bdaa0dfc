"""Retraining: whether there is anything new to train on, and what becomes of the model that was trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from audiocls.errors import ParamsError, RegistryError
from audiocls.evaluation import find_saved_model
from audiocls.params import RunParams
from audiocls.registry.evidence import Judged, judge
from audiocls.registry.facts import version_tags
from audiocls.registry.promotion import Registry
from audiocls.registry.versions import Version, open_registry
from audiocls.splits import PreparedData
from audiocls.tracking import KnownRun, find_run, git_revision

FINGERPRINT_TAG: Final = "audiocls.fingerprint"
GATE_TAG: Final = "audiocls.gate"

_ELSEWHERE: Final = {"workspace", "tracking", "runner", "registry", "gate"}
"""Sections that change nothing of a model."""


@dataclass(frozen=True, slots=True)
class News:
    """What a retraining would start from.

    Attributes:
        fingerprint: Of the data, the params and the code.
        known: The version that was trained on just that; None: there is something new.
    """

    fingerprint: str
    known: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a challenger."""

    version: int
    champion: int | None
    """Before the decision."""
    judged: Judged
    folder: Path

    @property
    def promoted(self) -> bool:
        """Whether the challenger is the champion now."""
        return self.judged.decision.promote


def registry_of(params: RunParams) -> Registry:
    """Return the registry of the model that these params train."""
    return Registry(params.registry.model or params.experiment, params.tracking_uri, params.workspace / "registry")


@contextmanager
def retraining_alone(params: RunParams) -> Iterator[None]:
    """Let one retraining of a model run at a time.

    Raises:
        RegistryError: Another one is under way.
    """
    registry = registry_of(params)
    folder = params.workspace / "registry"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{registry.name}.retraining.lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise RegistryError(f"{registry.name}: another retraining is under way; this one does nothing.") from error


def find_news(params: RunParams, corpus_digest: str) -> News:
    """Compare data, params and code with those of the registered versions."""
    registry = registry_of(params)
    fingerprint = _fingerprint(params, corpus_digest)
    # A version that was registered by a retraining that was killed before its decision is not known.
    known = [v.number for v in registry.decided() if v.tags.get(FINGERPRINT_TAG) == fingerprint]
    return News(fingerprint, known[-1] if known else None)


def settle_challenger(run_id: str, data: PreparedData, news: News) -> Verdict:
    """Register the model of a run, compare it with the champion, and promote it if it passes the gate.

    The decision is written into the run's folder and to the run, at the version, and into the ledger.

    Args:
        run_id: Of the training.
        data: That it was trained and tested on.
        news: Found before the training.

    Raises:
        RegistryError: The registered model does not answer as the run's; the champion stays.
    """
    params = data.params
    registry = registry_of(params)
    run = _run(run_id, params)
    version = registry.register(run_id, version_tags(run) | {FINGERPRINT_TAG: news.fingerprint}, "retrained")
    champion = registry.champion()
    folder = params.workspace / "runs" / run_id / "gate"
    models = [None if each is None else find_saved_model(each.uri, params) for each in (version, champion)]
    assert models[0] is not None
    judged = judge(models[0], models[1], data, folder)
    _write_decision(judged, version, champion, run, folder)
    figures = {"metric": judged.decision.metric} | {
        check.name: dict(check.figures) for check in judged.decision.checks if check.name in ("gain", "no champion")
    }
    against = None if champion is None else champion.number
    if judged.decision.promote:
        registry.promote(version.number, judged.decision.sentence, figures, against=against)
    else:
        registry.keep(version.number, judged.decision.sentence, figures)
    return Verdict(version.number, against, judged, folder)


def _run(run_id: str, params: RunParams) -> KnownRun:
    run = find_run(run_id, params.tracking_uri)
    if run is None:
        raise ParamsError(f"{run_id}: the MLflow store does not know the run; send it with audiocls sync.")
    return run


def _write_decision(judged: Judged, version: Version, champion: Version | None, run: KnownRun, folder: Path) -> None:
    said: dict[str, Any] = judged.decision.as_dict() | {
        "challenger": version.number, "champion": None if champion is None else champion.number,
        "clips": judged.clips, "groups": judged.groups, "left_out": dict(judged.left_out),
    }  # fmt: skip
    file = folder / "decision.json"
    file.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    with open_registry(run.uri) as client:
        client.log_artifact(run.run_id, str(file), "gate")
        client.set_model_version_tag(version.name, str(version.number), GATE_TAG, judged.decision.sentence)


def _fingerprint(params: RunParams, corpus_digest: str) -> str:
    told = params.model_dump(mode="json", exclude=_ELSEWHERE)
    said = {"data": corpus_digest, "params": told, "code": [version_of("audiocls"), git_revision()]}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
