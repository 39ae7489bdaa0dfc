"""The common stages of flows: from a source to clips that are split, checked and ready for training."""

from __future__ import annotations

from pathlib import Path

from audiocls import tracking, waveforms
from audiocls.params import RunParams
from audiocls.splits import PreparedData
from tasks.audit import audit_corpus
from tasks.augmentation import check_augmentation
from tasks.corpus import check_lost_classes, check_quarantine, collect_corpus
from tasks.manifest import ingest
from tasks.near_duplicates import find_near_duplicates
from tasks.preflight import check_run
from tasks.splits import assign_splits
from tasks.tracking import log_audit, log_corpus, log_counts, log_splits
from tasks.waveforms import cache_waveforms


def gather_corpus(params: RunParams, run: tracking.TrackedRun, context: str = "training") -> waveforms.Corpus:
    """List and decode the clips, and log the usable ones before any check can stop the run.

    Args:
        params: Of the run.
        run: Is told of the corpus.
        context: What MLflow says that the corpus is used for.
    """
    manifest = ingest(params.data, params.workspace)
    filled = cache_waveforms(manifest, params.audio, params.workspace, params.runner)
    corpus = collect_corpus(manifest, filled, params.workspace)
    log_corpus(run, corpus, context)
    return corpus


def check_corpus(corpus: waveforms.Corpus, params: RunParams) -> None:
    """Stop the run if too many clips, or all clips of a class, are unusable."""
    check_quarantine(corpus, params.data.max_bad_fraction)
    check_lost_classes(corpus, allow=params.data.allow_lost_classes)


def audit_test_corpus(
    corpus: waveforms.Corpus, params: RunParams, run: tracking.TrackedRun, *, test_only: bool
) -> Path:
    """Audit a corpus that a saved model is tested on; return its clips.

    Args:
        corpus: With labels.
        params: Of the evaluation.
        run: Gets the audit.
        test_only: Split the clips as a training with these params does, and return the table with their splits.
    """
    near_duplicates = find_near_duplicates(corpus)
    log_audit(run, audit_corpus(corpus, near_duplicates, run.folder / "data"))
    return assign_splits(corpus, near_duplicates, params) if test_only else corpus.clips


def prepare_data(params: RunParams, run: tracking.TrackedRun) -> tuple[waveforms.Corpus, PreparedData]:
    """Run every stage before balancing; return the corpus, and the data to train and evaluate on."""
    check_run(params)
    corpus = gather_corpus(params, run)
    check_corpus(corpus, params)
    near_duplicates = find_near_duplicates(corpus)
    log_audit(run, audit_corpus(corpus, near_duplicates, run.folder / "data"))
    splits = assign_splits(corpus, near_duplicates, params)
    log_counts(run, corpus, splits)
    log_splits(run, splits)
    return corpus, check_augmentation(PreparedData(splits, corpus.store, params, digest=corpus.digest))
