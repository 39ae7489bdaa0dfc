"""The contract of every flow's command line.

    python -m flows.NAME PARAMS.yaml [key.path=value ...]

Progress goes to stderr; the last line on stdout is one JSON object. Exit status 0: done; 2: a mistake in the params or
the data, or a disk that is full or cannot be written, said in one message without a traceback; 1: a stage failed; 130:
interrupted; 143: terminated.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TypeGuard

from prefect import Flow
from rich.console import Console, ConsoleOptions
from rich.markdown import Markdown, TableElement
from rich.table import Table

from audiocls.errors import AudioclsError, FullDiskError, UserMistake
from audiocls.files import masked
from audiocls.params import RunParams
from audiocls.params_file import check_writable, load_params
from audiocls.training.machines import machines
from flows.server import begin_server, is_lost_server, lost, wait_for_server
from tasks.reconnection import drop_unsent

# What the disk says where a path of the params or the rights to it are wrong, or there is no space.
_DISK_REFUSES: Final = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG,
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG,
}  # fmt: skip


class _FoldedTable(TableElement):
    """A table that breaks a long name into lines, where rich would cut it off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            yield table


class _Summary(Markdown):
    elements: ClassVar = Markdown.elements | {"table_open": _FoldedTable}


def run_flow(
    flow: Flow[..., Any],
    describe: Callable[[Any], dict[str, Any]],
    argv: Sequence[str] | None = None,
    join: Callable[[RunParams], dict[str, Any]] | None = None,
) -> int:
    """Run a flow on a params file and overrides; return the exit status.

    Args:
        flow: Takes `params_file` and `overrides`.
        describe: Makes of the flow's result what is printed as JSON; `summary`, Markdown, goes to stderr instead.
        argv: The arguments; None takes the process's own.
        join: What machines other than the first do instead, where torchrun's variables name several.
    """
    arguments = _parse(flow, argv)
    _hide_explained_tracebacks()
    _end_cleanly_when_terminated()
    try:
        # Once here, so that a mistake is reported at once and not after a server has been started.
        params = load_params(arguments.params_file, arguments.overrides)
        check_writable(params)
        if join is not None and machines().rank > 0:
            described = join(params)
        else:
            wait_for_server(begin_server())
            described = describe(flow(params_file=arguments.params_file, overrides=tuple(arguments.overrides)))
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (UserMistake, FullDiskError) as error:
        return _fail(str(error), 2)
    except AudioclsError as error:
        return _fail(str(error), 1)
    except Exception as error:
        if _is_refusal(error):
            return _fail(_describe_refusal(error), 2)
        if is_lost_server(error):
            drop_unsent()
            return _fail(lost(), 1)
        return _fail(f"{type(error).__name__}: {error}", 1)  # the flow engine has printed the traceback
    _print_result(described)
    return 0


def _parse(flow: Flow[..., Any], argv: Sequence[str] | None) -> argparse.Namespace:
    module = flow.fn.__module__ if flow.fn.__module__ != "__main__" else f"flows.{flow.name.removesuffix('-flow')}"
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=flow.description)
    parser.add_argument("params_file", metavar="PARAMS.yaml", help="one YAML file is one run; see params/")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="e.g. training.epochs=3")
    return parser.parse_args(argv)


def _end_cleanly_when_terminated() -> None:
    """Let SIGTERM run the clean-up that an interrupt runs; without a handler it ends Python on the spot."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def _hide_explained_tracebacks() -> None:
    """Prefect logs the traceback of every failed task and flow; where the user can mend it, the message is enough."""

    def is_explained(error: object) -> bool:
        return isinstance(error, AudioclsError) or _is_refusal(error) or is_lost_server(error)

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info and is_explained(record.exc_info[1]):
            return False
        return not (record.levelno >= logging.ERROR and any(map(is_explained, _arguments(record))))

    for name in ("prefect.task_engine", "prefect.flow_engine", "prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(without_traceback)
    # It prints each event that cannot be sent in full; that the server cannot be reached is another record.
    services = logging.getLogger("prefect._internal.concurrency")
    services.addFilter(lambda record: record.msg != "Service %r failed to process item %r")


def _is_refusal(error: object) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.errno in _DISK_REFUSES and error.filename is not None


def _describe_refusal(error: OSError) -> str:
    return (
        f"{error.filename}: {error.strerror}. Mend the path or the rights to it, or choose another in the params file."
    )


def _arguments(record: logging.LogRecord) -> Sequence[Any]:
    return record.args if isinstance(record.args, tuple) else ()


def _print_result(result: dict[str, Any]) -> None:
    summary = result.pop("summary", None)
    if summary:
        Console(stderr=True).print(_Summary(summary))
    sys.stderr.flush()
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def _fail(message: str, status: int) -> int:
    sys.stderr.write(f"error: {masked(message)}\n")
    return status
