"""The leakage firewall of augmentation: recordings mixed into training clips must not contain validation or test clips.

Every file that a transform names is checked. Files are decoded into the waveform store, like clips, and compared with
the held-out clips: by content, by samples, and piece by piece as near-duplicates, so that a test clip inside a long
background is found too.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from audiocls.augmentation.recordings import list_recordings
from audiocls.errors import LeakageError, counted, name_some
from audiocls.files import write_table
from audiocls.near_duplicates import search
from audiocls.params import AnyAugmentation, Background, ImpulseResponse, RunParams
from audiocls.sources import MANIFEST_SCHEMA
from audiocls.splits import PreparedData, same_sound
from audiocls.waveforms import look_up, plan_store, write_shard

logger = logging.getLogger(__name__)

_PIECE_SECONDS: Final = 8.0  # long recordings have more anchors than a fingerprint keeps
_HOP_SECONDS: Final = 4.0  # a clip of at most this length lies completely in one piece


@dataclass(frozen=True, slots=True)
class _Leak:
    """An augmentation file that contains a validation or test clip."""

    file: str
    clip_id: str
    split: str
    key: str  # in `params.split`, how to handle it

    def __str__(self) -> str:
        sign = "=" if self.key == "duplicates" else "~"
        return f"{self.file} {sign} {self.clip_id} ({self.split})"


def check_recordings(data: PreparedData) -> PreparedData:
    """Raise an error if training would use validation or test recordings; leave such files out if params say drop.

    Args:
        data: Of the run. With `split.near_duplicates: ignore`, only equal bytes and samples are searched for.

    Returns:
        The same with the params to train with: excluded files are added to `leave_out` of their transform.

    Raises:
        LeakageError: A file contains a held-out clip; the message names the first ten such files with their clips.
        DataError: A folder has no files, or none that may be used.
    """
    params = data.params
    steps = [step for step in params.augmentation if isinstance(step, Background | ImpulseResponse)]
    files = sorted({str(path) for step in steps for path in list_recordings(step.folder, step.leave_out)})
    if not files:
        return data
    table = pd.read_parquet(data.split_clips)
    leaks = _find_leaks(files, table[table["split"] != "train"], data.waveforms, params)
    stopping = [leak for leak in leaks if getattr(params.split, leak.key) != "drop"]
    if stopping:
        number = len({leak.file for leak in stopping})
        raise LeakageError(
            f"{counted(number, 'recording for augmentation contains', 'recordings for augmentation contain')} "
            f"validation or test clips, so the model would be trained on what it is tested on: {name_some(stopping)}. "
            "Remove the files from the folder, add them to `leave_out` of the transform, or set "
            "split.duplicates=drop and split.near_duplicates=drop to leave them out."
        )
    if leaks:
        logger.warning("Augmentation recordings are left out because they contain held-out clips: %s", name_some(leaks))
    leaking = {leak.file for leak in leaks}
    kept = [_without(step, leaking) for step in params.augmentation]
    return replace(data, params=params.model_copy(update={"augmentation": kept}))


def _without(step: AnyAugmentation, files: set[str]) -> AnyAugmentation:
    if not isinstance(step, Background | ImpulseResponse):
        return step
    found = list_recordings(step.folder, step.leave_out)
    names = [path.relative_to(step.folder).as_posix() for path in found if str(path) in files]
    leave_out = [*step.leave_out, *names]
    list_recordings(step.folder, leave_out)  # raises an error if no file is left
    return step.model_copy(update={"leave_out": leave_out})


def _find_leaks(files: list[str], held_out: pd.DataFrame, store: Path, params: RunParams) -> list[_Leak]:
    recordings = _decode(files, params)
    found = list(_same(recordings, held_out))
    if params.split.near_duplicates != "ignore":
        others = recordings[recordings["reason"].isna() & ~recordings["path"].isin([leak.file for leak in found])]
        found += _near(others, held_out, store, params.audio.sample_rate_hz)
    return found


def _decode(files: list[str], params: RunParams) -> pd.DataFrame:
    """Decode the files into the waveform store if necessary; return their rows of the store."""
    names = [str(Path(file).absolute()) for file in files]
    rows = pd.DataFrame({"clip_id": files, "path": names}).reindex(columns=MANIFEST_SCHEMA.names).astype(object)
    table = pa.Table.from_pandas(rows.where(rows.notna(), None), schema=MANIFEST_SCHEMA, preserve_index=False)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    manifest = write_table(table, params.workspace / "manifests" / f"augmentation-{digest}.parquet")
    plan = plan_store(manifest, params.audio, params.workspace)
    for shard in plan.shards:
        write_shard(shard, params.audio)
    found = look_up(plan).set_index("path").loc[names].reset_index(drop=True)
    return found.assign(path=files)


def _same(recordings: pd.DataFrame, held_out: pd.DataFrame) -> Iterator[_Leak]:
    """Yield the files with the bytes or samples of a clip, or of the recording that it is a segment of."""
    for column, other in (("content_sha256",) * 2, ("audio_hash",) * 2, ("audio_hash", "recording_hash")):
        clips = held_out.drop_duplicates(other).dropna(subset=[other]).set_index(other)
        hits = recordings[recordings[column].isin(clips.index)]
        for row in hits.itertuples():
            clip = clips.loc[getattr(row, column)]
            yield _Leak(row.path, clip["clip_id"], clip["split"], "duplicates")
        recordings = recordings.drop(hits.index)


def _near(recordings: pd.DataFrame, held_out: pd.DataFrame, store: Path, sample_rate_hz: int) -> Iterator[_Leak]:
    """Yield the files with a piece that is a near-duplicate of a clip."""
    pieces = _pieces(recordings, sample_rate_hz)
    clips = held_out.drop_duplicates("audio_hash")
    columns = ["audio_hash", "path", "shard", "first_sample", "num_samples", "scale"]
    both = pd.concat([clips[columns], pieces[columns]], ignore_index=True)
    sound = same_sound(both, search(both, store, sample_rate_hz))  # a copy of a copy counts too
    held_out_sounds = dict(zip(sound[: len(clips)], zip(clips["clip_id"], clips["split"], strict=True), strict=True))
    leaking = {
        file: held_out_sounds[number]
        for file, number in zip(pieces["path"], sound[len(clips) :], strict=True)
        if number in held_out_sounds
    }
    for file, (clip_id, split) in leaking.items():
        yield _Leak(file, clip_id, split, "near_duplicates")


def _pieces(recordings: pd.DataFrame, sample_rate_hz: int) -> pd.DataFrame:
    """Cut recordings into pieces that overlap by half, each with a unique name as `audio_hash`."""
    length, hop = (round(seconds * sample_rate_hz) for seconds in (_PIECE_SECONDS, _HOP_SECONDS))
    rows = []
    for row in recordings.drop_duplicates("audio_hash").to_dict(orient="records"):
        samples, first = int(row["num_samples"]), int(row["first_sample"])
        for start in np.arange(0, max(1, samples - hop), hop).tolist():
            size = min(length, samples - start)
            name = f"{row['audio_hash']}@{start}+{size}"
            rows.append(row | {"audio_hash": name, "first_sample": first + start, "num_samples": size})
    return pd.DataFrame(rows, columns=recordings.columns)
