"""Files to a table of predictions: planned, scored in shards, and written; a killed run goes on where it was."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import xxhash

from audiocls.files import replacing
from audiocls.inference.ensemble import Answer, Ensemble, find_models, fingerprint_of
from audiocls.inference.groups import Group, group_files
from audiocls.inference.journal import Journal, JournalWriter, journal_of
from audiocls.inference.outputs import Row, RowMaker, TableParams, check_output, write_rows

SHARD_FILES: Final = 512
SHARD_BYTES: Final = 256_000_000

_GROUPS: Final = "groups.txt"
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class PredictParams:
    """The models, and what computes them."""

    models: tuple[str, ...]
    device: str = "auto"
    threads: int | None = None
    """Batches that a shard scores at a time; None: as many as torch has threads."""


@dataclass(frozen=True, slots=True)
class PredictShard:
    """Files that one task scores: those of the groups that a text file lists, a line each."""

    journal: Path
    groups: Path
    digest: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class PredictPlan:
    """What is to be scored for an output, and how many files are answered already."""

    out: Path
    params: PredictParams
    """With the folders of the models."""
    shards: tuple[PredictShard, ...]
    labels: tuple[str, ...]
    fingerprint: dict[str, Any]
    left_out: dict[str, int]
    reused: int


@dataclass(frozen=True, slots=True)
class PredictSummary:
    """How many files were answered, how many not and why, and how many others were left out."""

    answered: int
    unanswered: int
    reasons: dict[str, int]
    left_out: dict[str, int]
    reused: int = 0
    """Answers that an earlier run had left."""
    out: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what is printed as JSON."""
        return asdict(self)


def plan_predictions(
    files: Sequence[str], left_out: dict[str, int], params: PredictParams, out: Path, shard_files: int | None = None
) -> PredictPlan:
    """Find out which files an output lacks answers for; its journal must be locked, see `locked_journal`.

    Args:
        files: Paths and URIs, each once.
        left_out: How many others were left out, for the summary.
        params: The models.
        out: The output; its journal is beside it.
        shard_files: About as many small files are in a shard; None: SHARD_FILES.

    Raises:
        ParamsError: There is no such model, their labels differ, or the suffix of the output names no format.
    """
    check_output(out)
    folders = [folder.absolute() for folder in find_models(params.models)]
    params = replace(params, models=tuple(map(str, folders)))
    fingerprint = fingerprint_of(folders, params.device)
    digest = xxhash.xxh3_128_hexdigest(json.dumps(fingerprint).encode())
    labels = tuple(_load_once(params, digest).labels)
    journal = Journal(journal_of(out), fingerprint)
    groups = list(group_files(files))
    _write_groups(groups, journal.folder / _GROUPS)
    for old in journal.folder.glob("todo-*.txt"):
        old.unlink()
    missing = [group for group in groups if group.key not in journal]
    shards = tuple(_shards(missing, journal.folder, digest, shard_files or SHARD_FILES))
    scored = sum(len(group.paths) for group in missing)
    return PredictPlan(out, params, shards, labels, fingerprint, left_out, len(files) - scored)


def score_shard(shard: PredictShard, params: PredictParams, advance: Callable[[int], None] = lambda _: None) -> int:
    """Add the answers of a shard to the journal, group by group; return of how many files.

    Args:
        shard: Of a plan.
        params: Of the plan.
        advance: Is told of how many files answers have been added.
    """
    ensemble = _load_once(params, shard.digest)
    groups = _read_groups(shard.groups)
    with JournalWriter(shard.journal) as writer:
        for group, answers in zip(groups, ensemble.answer_groups(group.paths for group in groups), strict=True):
            writer.add(group.key, answers)
            advance(len(answers))
    return shard.stop - shard.start


def write_predictions(plan: PredictPlan, table: TableParams) -> PredictSummary:
    """Write the output of a plan all of whose shards are scored; the same bytes, however often it was begun anew."""
    journal = Journal(journal_of(plan.out), plan.fingerprint)
    groups = _read_groups(journal.folder / _GROUPS)
    keys = [group.key for group in groups]
    maker = RowMaker(plan.labels, table)
    counts: Counter[str | None] = Counter()
    rows = (
        row
        for group, answers in zip(groups, journal.read(keys), strict=True)
        for row in _rows(group.paths, answers, maker, counts)
    )
    write_rows(rows, maker.schema, plan.out)
    journal.keep(keys)
    for file in journal.folder.glob("*.txt"):
        file.unlink()
    return _summary(counts, plan.left_out, plan.reused, str(plan.out))


def predict_rows(
    files: Sequence[str], params: PredictParams, table: TableParams, counts: Counter[str | None]
) -> Iterator[Row]:
    """Yield the row of each file in its turn, without a journal, and count the reasons; answers count as None."""
    ensemble = _load(params)
    maker = RowMaker(ensemble.labels, table)
    groups = [group.paths for group in group_files(files)]
    for paths, answers in zip(groups, ensemble.answer_groups(groups), strict=True):
        yield from _rows(paths, answers, maker, counts)


def summarise(counts: Counter[str | None], left_out: dict[str, int]) -> PredictSummary:
    """Return the summary of what `predict_rows` has counted."""
    return _summary(counts, left_out, 0, None)


def _load_once(params: PredictParams, digest: str) -> Ensemble:
    """Load the models once in a process, however many shards it scores; the digest tells when they have changed."""
    with _loading:  # transformers loads no two models at a time
        return _load_cached(params, digest)


@lru_cache(maxsize=1)
def _load_cached(params: PredictParams, digest: str) -> Ensemble:
    return _load(params)


def _load(params: PredictParams) -> Ensemble:
    folders = [str(folder) for folder in find_models(params.models)]
    return Ensemble.load(folders, device=params.device, threads=params.threads)


def _rows(
    paths: Sequence[str], answers: Sequence[Answer], maker: RowMaker, counts: Counter[str | None]
) -> Iterator[Row]:
    for path, answer in zip(paths, answers, strict=True):
        counts[answer.reason] += 1
        yield maker.row(path, answer)


def _summary(counts: Counter[str | None], left_out: dict[str, int], reused: int, out: str | None) -> PredictSummary:
    reasons = {reason: count for reason, count in sorted(counts.items(), key=str) if reason is not None}
    return PredictSummary(counts[None], sum(reasons.values()), reasons, left_out, reused, out)


def _shards(groups: Iterable[Group], folder: Path, digest: str, most_files: int) -> Iterator[PredictShard]:
    """Write the lists of groups of about equal work."""
    begun: list[Group] = []
    files = size = start = 0
    count = 0

    def finish() -> PredictShard:
        listed = folder / f"todo-{count:06d}.txt"
        _write_groups(begun, listed)
        return PredictShard(folder, listed, digest, start, start + files)

    for group in groups:
        begun.append(group)
        files += len(group.paths)
        size += group.size_bytes
        if files >= most_files or size >= SHARD_BYTES:
            yield finish()
            begun, count, start, files, size = [], count + 1, start + files, 0, 0
    if begun:
        yield finish()


def _write_groups(groups: Iterable[Group], file: Path) -> None:
    with replacing(file) as part, part.open("w") as lines:
        lines.writelines(json.dumps([group.key, group.paths, group.size_bytes]) + "\n" for group in groups)


def _read_groups(file: Path) -> list[Group]:
    with file.open() as lines:
        return [Group(key, tuple(paths), size) for key, paths, size in map(json.loads, lines)]
