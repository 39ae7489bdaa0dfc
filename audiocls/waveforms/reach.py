"""Folders that workers on other machines need and may not reach."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiocls.files import Place, masked


def doubtful_reach(address: str | None, manifest: Path, store: Place, workspace: Path) -> str | None:
    """Return a warning that names the local folders a cluster's workers need; None without a cluster or such folders.

    Args:
        address: Address of the cluster; None for the local one.
        manifest: The manifest of the clips.
        store: Where the workers write.
        workspace: Where a source writes recordings that it does not provide as files.
    """
    if address is None:
        return None
    needed = [f"{store} (unless audio.store is set to another place)"] if isinstance(store, Path) else []
    paths = pq.read_table(manifest, columns=["path"])["path"]
    if pc.any(pc.starts_with(paths, f"{workspace.absolute()}/")).as_py():
        needed.append(f"{workspace.absolute()} with the recordings in it")
    if not needed:
        return None
    return (
        f"runner.address = {masked(address)}: its workers need {' and '.join(needed)}, at the same path. If they "
        "do not share that disk, their shards are lost, or they do not find the recordings."
    )
