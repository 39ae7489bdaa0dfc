"""Run a flow, with a Prefect server that starts during the imports."""

from __future__ import annotations

import atexit
import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from prefect import Flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from rich.console import Console

from audiocls.errors import AudioclsError
from audiocls.stopwatch import stage
from flows.command_line import is_refusal
from flows.server import EmbeddedServer, ServerError, begin_server, is_lost_server, lost, wait_for_server
from tasks.reconnection import drop_unsent


class StageError(AudioclsError):
    """A stage failed with an unexpected error; Prefect has printed the traceback."""


def run(find: Callable[[], Flow[..., Any]], arguments: Mapping[str, Any], *, verbose: bool) -> Any:
    """Import a flow, run it with arguments and return its result.

    Raises:
        ServerError: Prefect's server cannot be started, or stopped answering during the run.
        StageError: A stage failed with neither an error of this library nor a rejected path.
    """
    # Avoids seconds of garbage collection at exit. Runs after all functions that are registered later, including
    # Prefect's last logs and the stop of the server.
    atexit.register(gc.freeze)
    server = begin_server()
    _hide_explained_tracebacks()
    with _without_heartbeat(server), _screen(verbose):
        with stage("start"):
            flow = find()
            wait_for_server(server)
        return _result_of(flow, arguments)


def _result_of(flow: Flow[..., Any], arguments: Mapping[str, Any]) -> Any:
    try:
        return flow(**arguments)
    except AudioclsError:
        raise
    except Exception as error:
        if is_refusal(error):
            raise
        if is_lost_server(error):
            drop_unsent()
            raise ServerError(lost()) from error
        raise StageError(f"{type(error).__name__}: {error}") from error


def _screen(verbose: bool) -> AbstractContextManager[None]:
    """Open a screen on a terminal, unless `verbose` asks for Prefect's log."""
    console = Console(stderr=True)
    if verbose or not console.is_terminal or console.is_dumb_terminal:
        return nullcontext()
    from flows.screen import Screen

    return Screen(console).shown()


def _without_heartbeat(server: EmbeddedServer | None) -> AbstractContextManager[object]:
    """Turn off heartbeats with an embedded server: they delay the end of each flow by a second."""
    return nullcontext() if server is None else temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None})


def _hide_explained_tracebacks() -> None:
    """Hide Prefect's tracebacks of errors that the user can fix; their message is enough."""

    def is_explained(error: object) -> bool:
        return isinstance(error, AudioclsError) or is_refusal(error) or is_lost_server(error)

    def without_traceback(record: logging.LogRecord) -> bool:
        if record.exc_info and is_explained(record.exc_info[1]):
            return False
        return not (record.levelno >= logging.ERROR and any(map(is_explained, _arguments(record))))

    for name in ("prefect.task_engine", "prefect.flow_engine", "prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).addFilter(without_traceback)
    # Prefect prints every unsent event in full; another record reports that the server is unreachable.
    services = logging.getLogger("prefect._internal.concurrency")
    services.addFilter(lambda record: record.msg != "Service %r failed to process item %r")


def _arguments(record: logging.LogRecord) -> Sequence[Any]:
    return record.args if isinstance(record.args, tuple) else ()
