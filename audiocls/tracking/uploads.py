"""Upload folders to MLflow, with a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from audiocls.progress import progress_bar


def upload_folder(folder: Path, upload: Callable[[str, str | None], object], target: str | None = None) -> None:
    """Upload every file of a folder, one after another, as MLflow's own clients for folders do.

    Args:
        folder: Is searched recursively.
        upload: Takes a file's path and the folder it belongs into; None is the root.
        target: The folder below the root; None is the root itself.
    """
    files = {path: path.stat().st_size / 1_000 for path in sorted(folder.rglob("*")) if path.is_file()}
    with progress_bar("uploading", sum(files.values()), "kB") as bar:
        for path, kilobytes in files.items():
            below = PurePosixPath(target or "", path.parent.relative_to(folder).as_posix()).as_posix()
            upload(str(path), None if below == "." else below)
            bar.advance(kilobytes)
