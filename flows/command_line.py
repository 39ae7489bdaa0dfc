"""The contract of every command: exit statuses, and what goes to which stream.

    audiocls NAME PARAMS.yaml [key.path=value ...]

Progress goes to stderr. After a flow, the last line on stdout is one JSON object. Exit status 0: done; 2: a mistake in
the command, the params or the data, or a disk that is full or not writable, reported in one message without a
traceback; 1: a stage failed; 130: interrupted; 141: nobody reads the output; 143: terminated.

This module and `flows/cli.py` import nothing heavy before the params are read, so that mistakes are reported quickly.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from audiocls.errors import AudioclsError, FullDiskError, MissingExtraError, UserMistake
from audiocls.extras import PIPELINE
from audiocls.files import masked

if TYPE_CHECKING:
    from prefect import Flow

    from audiocls.params import RunParams

# Errors of a wrong path in the params, missing permissions, or a full disk.
_DISK_REFUSES: Final = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
}  # fmt: skip


def run_flow(
    find: Callable[[], Flow[..., Any]],
    params_file: str,
    overrides: Sequence[str] = (),
    *,
    more: Mapping[str, Any] | None = None,
    join: Callable[[RunParams], dict[str, Any]] | None = None,
    verbose: bool = False,
) -> int:
    """Run a flow on a params file and overrides; print its result and return the exit status.

    Args:
        find: Imports the flow, which takes `params_file` and `overrides` and returns a dataclass. Its `summary`,
            Markdown, goes to stderr; all other fields are printed as JSON.
        params_file: The params file.
        overrides: Each `key.path=value`.
        more: Further arguments of the flow.
        join: Runs instead on machines other than the first, if torchrun's variables name several.
        verbose: Whether to show Prefect's log on a terminal.
    """

    def work() -> None:
        # Imported late: `predict` runs without the extra `pipeline`.
        from audiocls.params_file import check_writable, load_params
        from audiocls.training.machines import machines

        params = load_params(params_file, overrides)
        check_writable(params)
        if join is not None and machines().rank > 0:
            print_result(join(params))
            return
        arguments = {"params_file": params_file, "overrides": tuple(overrides), **(more or {})}
        _run_and_print(find, arguments, verbose=verbose)

    return exit_status(work)


def run_flow_without_params(
    find: Callable[[], Flow[..., Any]], arguments: Mapping[str, Any], *, verbose: bool = False
) -> int:
    """Run a flow that takes no params file; print its result and return the exit status."""
    return exit_status(lambda: _run_and_print(find, arguments, verbose=verbose))


def _run_and_print(find: Callable[[], Flow[..., Any]], arguments: Mapping[str, Any], *, verbose: bool) -> None:
    # Imported late: Prefect takes a second to import, and mistakes are reported before.
    from flows.running import run

    print_result(asdict(run(find, arguments, verbose=verbose)))


def exit_status(work: Callable[[], object], *, interrupted: str = "interrupted") -> int:
    """Run a command; report an error in one message, and return the exit status.

    Args:
        work: The command.
        interrupted: The message if the user interrupts it.
    """
    _end_cleanly_when_terminated()
    try:
        work()
    except KeyboardInterrupt:
        return _fail(interrupted, 130)
    except (UserMistake, FullDiskError) as error:
        return _fail(str(error), 2)
    except AudioclsError as error:
        return _fail(str(error), 1)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        if missing not in PIPELINE:
            raise
        return _fail(str(_not_installed(missing)), 2)
    except BrokenPipeError:
        # As `head` does. Python writes the rest of stdout when it ends, which now goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if not is_refusal(error):
            raise
        return _fail(_describe_refusal(error), 2)
    return 0


def print_result(result: dict[str, Any]) -> None:
    """Write `summary`, which is Markdown, to stderr, and all other fields as one line of JSON to stdout."""
    result = dict(result)
    summary = result.pop("summary", None)
    if summary:
        from flows.summary import print_summary

        print_summary(summary)
    sys.stderr.flush()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def is_refusal(error: object) -> TypeGuard[OSError]:
    """Return whether the disk rejects a path, which the user can fix."""
    return isinstance(error, OSError) and error.errno in _DISK_REFUSES and error.filename is not None


def _describe_refusal(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}. Fix the path or its permissions, or choose another in the params file."


def _not_installed(package: str) -> MissingExtraError:
    return MissingExtraError(
        f"this command needs the package {package}, which is not installed: pip install 'audiocls[pipeline]'"
    )


def _end_cleanly_when_terminated() -> None:
    """Let SIGTERM run the same cleanup as an interrupt; without a handler, Python ends immediately."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {masked(message)}\n")
    return status
