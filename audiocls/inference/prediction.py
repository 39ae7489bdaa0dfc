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

from audiocls.errors import ParamsError
from audiocls.files import replacing
from audiocls.inference.answers import Answer
from audiocls.inference.choices import RuntimeKind
from audiocls.inference.ensemble import Ensemble, find_models, fingerprint_of
from audiocls.inference.groups import Group, group_files
from audiocls.inference.journal import Journal, JournalWriter, journal_of, kept_fingerprint
from audiocls.inference.label_folder import write_label_folder
from audiocls.inference.outputs import check_output, write_rows
from audiocls.inference.parts import PartParams
from audiocls.inference.rows import Row, RowMaker, TableParams, row_maker
from audiocls.inference.runtime_choice import choose_runtime

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
    runtimes: tuple[RuntimeKind, ...] = ("torch",)
    """Of all models, or of each."""
    parts: PartParams | None = None
    """None: one answer for the whole of a recording."""


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
    """With the folders of the models, and the runtime of each."""
    shards: tuple[PredictShard, ...]
    labels: tuple[str, ...]
    rate_hz: int
    """Of the model's input."""
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
    parts: int | None = None
    """Segments or windows in the output, if these were asked for."""

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
        ParamsError: There is no such model, their labels differ, or they cannot be asked this.
    """
    folders = [folder.absolute() for folder in find_models(params.models)]
    runtimes = _settled(params, folders, kept_fingerprint(journal_of(out)))
    params = replace(params, models=tuple(map(str, folders)), runtimes=runtimes)
    fingerprint = fingerprint_of(folders, runtimes, params.device, params.parts)
    digest = xxhash.xxh3_128_hexdigest(json.dumps(fingerprint).encode())
    ensemble = _load_once(params, digest)
    journal = Journal(journal_of(out), fingerprint)
    groups = list(group_files(files))
    _write_groups(groups, journal.folder / _GROUPS)
    for old in journal.folder.glob("todo-*.txt"):
        old.unlink()
    missing = [group for group in groups if group.key not in journal]
    shards = tuple(_shards(missing, journal.folder, digest, shard_files or SHARD_FILES))
    scored = sum(len(group.paths) for group in missing)
    return PredictPlan(
        out, params, shards, tuple(ensemble.labels), ensemble.rate_hz, fingerprint, left_out, len(files) - scored
    )


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
    check_output(plan.out, table)
    journal = Journal(journal_of(plan.out), plan.fingerprint)
    groups = _read_groups(journal.folder / _GROUPS)
    keys = [group.key for group in groups]
    tally = Tally()
    answers = tally.count(
        (path, answer)
        for group, answers in zip(groups, journal.read(keys), strict=True)
        for path, answer in zip(group.paths, answers, strict=True)
    )
    if table.label_format is not None:
        paths = [path for group in groups for path in group.paths]
        write_label_folder(plan.out, paths, answers, table.label_format, plan.rate_hz / 2)
    else:
        maker = _row_maker(plan.labels, table, plan.params)
        write_rows((row for path, answer in answers for row in maker.rows(path, answer)), maker.schema, plan.out)
    journal.keep(keys)
    for file in journal.folder.glob("*.txt"):
        file.unlink()
    return tally.summary(plan.params, plan.left_out, plan.reused, str(plan.out))


def predict_rows(files: Sequence[str], params: PredictParams, table: TableParams, tally: Tally) -> Iterator[Row]:
    """Yield the rows of each file in its turn, without a journal, and count them."""
    folders = find_models(params.models)
    params = replace(params, models=tuple(map(str, folders)), runtimes=_of_each(params, folders))
    ensemble = _load(params)
    maker = _row_maker(ensemble.labels, table, params)
    groups = [group.paths for group in group_files(files)]
    for paths, answers in zip(groups, ensemble.answer_groups(groups), strict=True):
        for path, answer in tally.count(zip(paths, answers, strict=True)):
            yield from maker.rows(path, answer)


class Tally:
    """Counts answers, what is in them, and the reasons where there are none."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._reasons: Counter[str | None] = Counter()
        self._parts = 0

    def count(self, answers: Iterable[tuple[str, Answer]]) -> Iterator[tuple[str, Answer]]:
        """Yield the answers of files as they come, and count them."""
        for path, answer in answers:
            self._reasons[answer.reason] += 1
            self._parts += len(answer.parts)
            yield path, answer

    def summary(
        self, params: PredictParams, left_out: dict[str, int], reused: int = 0, out: str | None = None
    ) -> PredictSummary:
        """Return what was counted."""
        reasons = {reason: count for reason, count in sorted(self._reasons.items(), key=str) if reason is not None}
        parts = None if params.parts is None else self._parts
        return PredictSummary(self._reasons[None], sum(reasons.values()), reasons, left_out, reused, out, parts)


def _of_each(params: PredictParams, folders: Sequence[Path]) -> tuple[RuntimeKind, ...]:
    runtimes = params.runtimes * len(folders) if len(params.runtimes) == 1 else params.runtimes
    if len(runtimes) != len(folders):
        raise ParamsError(f"there are {len(runtimes)} runtimes for {len(folders)} models; name one, or one for each.")
    return runtimes


def _settled(params: PredictParams, folders: Sequence[Path], kept: dict[str, Any]) -> tuple[RuntimeKind, ...]:
    """Return the runtime of each model; for "auto" that of the answers that are kept, and else the faster one."""
    runtimes = _of_each(params, folders)
    if "auto" not in runtimes:
        return runtimes
    earlier = kept.get("runtimes", [])
    fits = len(earlier) == len(runtimes) and all(
        asked in ("auto", was) for asked, was in zip(runtimes, earlier, strict=True)
    )
    if fits and fingerprint_of(folders, earlier, params.device, params.parts) == kept:
        return tuple(earlier)
    return tuple(
        choose_runtime(folder, params.device) if kind == "auto" else kind
        for folder, kind in zip(folders, runtimes, strict=True)
    )


def _row_maker(labels: Sequence[str], table: TableParams, params: PredictParams) -> RowMaker:
    return row_maker(labels, table, None if params.parts is None else params.parts.kind)


def _load_once(params: PredictParams, digest: str) -> Ensemble:
    """Load the models once in a process, however many shards it scores; the digest tells when they have changed."""
    with _loading:  # transformers loads no two models at a time
        return _load_cached(params, digest)


@lru_cache(maxsize=1)
def _load_cached(params: PredictParams, digest: str) -> Ensemble:
    return _load(params)


def _load(params: PredictParams) -> Ensemble:
    """Load models whose folders and runtimes are known."""
    return Ensemble.load(
        params.models, device=params.device, runtimes=params.runtimes, threads=params.threads, parts=params.parts
    )


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
