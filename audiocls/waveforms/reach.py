"""What workers on other machines have to reach, and might not."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from audiocls.files import Place, masked


def doubtful_reach(address: str | None, manifest: Path, store: Place, workspace: Path) -> str | None:
    """Say which folders of this machine the workers of a cluster need; None where there is no cluster, or none needed.

    Args:
        address: Of the cluster; None: this machine's own.
        manifest: The clips.
        store: Where the workers write.
        workspace: Where a source writes recordings that it does not have as files.
    """
    if address is None:
        return None
    needed = [f"{store} (unless audio.store names another place)"] if isinstance(store, Path) else []
    paths = pq.read_table(manifest, columns=["path"])["path"]
    if pc.any(pc.starts_with(paths, f"{workspace.absolute()}/")).as_py():
        needed.append(f"{workspace.absolute()} with the recordings in it")
    if not needed:
        return None
    return (
        f"runner.address = {masked(address)}: its workers need {' and '.join(needed)}, at the same path. Where they "
        "do not share that disk, their shards are lost, or all recordings are missing to them."
    )
