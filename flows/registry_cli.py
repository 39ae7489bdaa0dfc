"""The subcommands of `audiocls` for registered models: their arguments and their help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.command_line import exit_status, run_flow

if TYPE_CHECKING:
    from prefect import Flow

app = typer.Typer()

_REGISTRY = "Put into use"


@app.command(rich_help_panel="Run")
def retrain(
    params_file: Annotated[Path, typer.Argument(metavar="PARAMS", help="A params file: one YAML file per run.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="key=value", help="Params to override.", show_default=False)
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="On a terminal, show Prefect's log as well.")
    ] = False,
) -> None:
    """Train a challenger if data, params or code are new, and promote it if the gate finds it better.

    The last line on stdout is one JSON object: `model`, `run_id`, `version`, `promoted`, `champion`, `decision`,
    `metrics` and `seconds`. Exit status: 0 also if nothing was new or the champion stays.
    """

    def find() -> Flow[..., Any]:
        from flows.retrain import retrain_flow

        return retrain_flow

    raise typer.Exit(run_flow(find, str(params_file), overrides or (), verbose=verbose))


Registered = Annotated[str, typer.Argument(metavar="MODEL", help="The name of the registered model.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason, for the ledger.")]
Workspace = Annotated[str, typer.Option(metavar="FOLDER", help="The workspace of the runs.")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URI", help="The MLflow store. Default: MLFLOW_TRACKING_URI, or the workspace's."),
]


@app.command(rich_help_panel=_REGISTRY)
def register(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The id of a training run, its beginning, or its name.")],
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the registered model. Default: the run's experiment.")
    ] = None,
    why: Why = "registered by hand",
    workspace: Workspace = "workspace",
    uri: Store = None,
) -> None:
    """Register the model of a run as the next version, and as the challenger.

    The last line on stdout is one JSON object: `model`, `version`, `run_id` and `uri`.
    """

    def work() -> None:
        from flows.registry import Place, register_command

        register_command(Place(workspace, uri), run, model, why)

    raise typer.Exit(exit_status(work))


@app.command(rich_help_panel=_REGISTRY)
def promote(
    model: Registered,
    why: Why,
    version: Annotated[int | None, typer.Option(metavar="N", help="Default: the challenger.")] = None,
    workspace: Workspace = "workspace",
    uri: Store = None,
) -> None:
    """Put a version of a model into use: it becomes `models:/MODEL@champion`.

    It is loaded in a new process first, and must answer as it did when it was registered. The last line on stdout is
    one JSON object: the entry of the ledger.
    """

    def work() -> None:
        from flows.registry import Place, promote_command

        promote_command(Place(workspace, uri), model, version, why)

    raise typer.Exit(exit_status(work))


@app.command(rich_help_panel=_REGISTRY)
def rollback(model: Registered, why: Why, workspace: Workspace = "workspace", uri: Store = None) -> None:
    """Put the version that was in use before the champion into use again.

    It is loaded in a new process first; if it does not answer as it did, the champion stays. The last line on stdout is
    one JSON object: the entry of the ledger.
    """

    def work() -> None:
        from flows.registry import Place, rollback_command

        rollback_command(Place(workspace, uri), model, why)

    raise typer.Exit(exit_status(work))


@app.command(rich_help_panel=_REGISTRY)
def history(
    model: Registered,
    on: Annotated[
        str | None, typer.Option("--on", metavar="DAY", help="Say which version was in use at the end of this UTC day.")
    ] = None,
    workspace: Workspace = "workspace",
    uri: Store = None,
) -> None:
    """Show who put which version of a model into use, when, and why.

    The last line on stdout is one JSON object: `model`, `in_use` and `entries`.
    """

    def work() -> None:
        from flows.registry import Place, history_command

        history_command(Place(workspace, uri), model, on)

    raise typer.Exit(exit_status(work))
