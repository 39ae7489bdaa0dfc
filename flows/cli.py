"""The command `audiocls`: its subcommands, their arguments and their help.

Each subcommand imports its code when it runs, so that help and mistakes are reported quickly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import predict_options as options, registry_cli, set_up_cli
from flows.command_line import exit_status, run_flow, run_flow_without_params

if TYPE_CHECKING:
    from prefect import Flow

    from audiocls.params import RunParams

app = typer.Typer(
    name="audiocls",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.add_typer(registry_cli.app)
app.add_typer(set_up_cli.app)

_RUN, _LOOK = "Run", "Inspect"


def _complete_override(incomplete: str) -> list[str]:
    from audiocls.params_file import known_keys

    return [f"{key}=" for key in known_keys() if key.startswith(incomplete)]


ParamsFile = Annotated[Path, typer.Argument(metavar="PARAMS", help="A params file: one YAML file per run.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="key=value",
        help="Params to override, with the value as YAML, e.g. training.epochs=3",
        autocompletion=_complete_override,
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="On a terminal, show Prefect's log as well.")]


@app.callback()
def audiocls() -> None:
    """Train audio classifiers on folders and tables of recordings."""


@app.command(rich_help_panel=_RUN)
def train(params_file: ParamsFile, overrides: Overrides = None, verbose: Verbose = False) -> None:
    """Train and evaluate a model, and track it in MLflow.

    Progress goes to stderr. The last line on stdout is one JSON object: `run_id`, `model`, `metrics`, `seconds` and
    `unsent`, which is what MLflow has not because its server is away.

    Exit status: 0 done, 1 a stage failed, 2 a mistake in the params or the data, 130 interrupted, 143 terminated.
    """

    def join(params: RunParams) -> dict[str, Any]:
        from audiocls.training import join_training

        return join_training(params)

    raise typer.Exit(run_flow(_flow_of("train"), str(params_file), overrides or (), join=join, verbose=verbose))


@app.command(rich_help_panel=_RUN)
def ingest(params_file: ParamsFile, overrides: Overrides = None, verbose: Verbose = False) -> None:
    """Decode the recordings and audit them, without training.

    The last line on stdout is one JSON object: `run_id`, `report`, `clips`, `quarantined`, `seconds` and `unsent`.
    """
    raise typer.Exit(run_flow(_flow_of("ingest"), str(params_file), overrides or (), verbose=verbose))


@app.command(rich_help_panel=_RUN)
def balance(params_file: ParamsFile, overrides: Overrides = None, verbose: Verbose = False) -> None:
    """Compare balance methods on one corpus, and recommend one.

    The last line on stdout is one JSON object: `run_id`, `method`, `verdict`, `params_file`, `metrics`, `seconds` and
    `unsent`.
    """
    raise typer.Exit(run_flow(_flow_of("balance"), str(params_file), overrides or (), verbose=verbose))


@app.command(rich_help_panel=_RUN)
def evaluate(
    model: options.ModelOrPredictions,
    params_file: ParamsFile,
    overrides: Overrides = None,
    part: options.Part = "all",
    label_map: options.LabelMap = None,
    keep_trained: options.KeepTrained = False,
    grid_seconds: options.GridSeconds = None,
    collar_seconds: options.CollarSeconds = None,
    label_column: options.LabelColumn = None,
    verbose: Verbose = False,
) -> None:
    """Evaluate a saved model on a labelled corpus, such as one of other speakers or devices; or predictions in files.

    Nothing is trained or fitted. The last line on stdout is one JSON object: `run_id`, `model`, `metrics`, `clips`,
    `left_out`, `report`, `seconds` and `unsent`.
    """
    more = {
        "model": model, "part": part, "label_map": label_map, "keep_trained": keep_trained,
        "grid_seconds": grid_seconds, "collar_seconds": collar_seconds, "label_column": label_column,
    }  # fmt: skip
    raise typer.Exit(run_flow(_flow_of("evaluate"), str(params_file), overrides or (), more=more, verbose=verbose))


@app.command(rich_help_panel=_RUN)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN ...", help="Each the id of a run, its beginning, its name, or its folder."),
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Gets the page, the JSON and the tables. Default: in the workspace."),
    ] = None,
    workspace: Annotated[str, typer.Option(metavar="FOLDER", help="The workspace of the runs.")] = "workspace",
    uri: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="The MLflow store of the runs. Default: MLFLOW_TRACKING_URI, or the workspace's."
        ),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Compare finished runs with the first of them, on the test clips that they have in common.

    Shows differences with 95 % intervals, by metric and class, and the clips that are right in one run only.
    The last line on stdout is one JSON object: `runs`, `clips`, `groups`, `metric`, `differences`, `flips`, `folder`
    and `seconds`.
    """
    arguments = {"runs": runs, "out": out, "workspace": workspace, "uri": uri}
    raise typer.Exit(run_flow_without_params(_flow_of("compare"), arguments, verbose=verbose))


@app.command(rich_help_panel=_RUN)
def predict(
    model: options.Models,
    files: options.Files,
    out: options.Out = None,
    more_models: options.MoreModels = None,
    path_column: options.PathColumn = "path",
    strict: options.Strict = False,
    top: options.Top = 1,
    threshold: options.Threshold = None,
    segments: options.Segments = False,
    windows: options.Windows = False,
    label_format: options.Format = None,
    hop: options.Hop = None,
    on: options.On = None,
    off: options.Off = None,
    smoothing_seconds: options.Smoothing = None,
    min_seconds: options.Shortest = None,
    merge_seconds: options.Merge = None,
    ignore: options.Ignore = None,
    runtime: options.Runtime = "torch",
    device: options.Device = "auto",
    runner: options.Runner = None,
    address: options.Address = None,
    workers: options.Workers = None,
) -> None:
    """Classify recordings with a trained model, or find segments in them.

    A file that cannot be used gets a reason, and the others are answered. The last line on stdout is one JSON object:
    how many files were answered, and how many not and why. With --out, a run that was killed resumes.

    Exit status: 0 done, also if files could not be used; 1 a stage failed, or with --strict a file was not answered;
    2 a mistake in the arguments, the files or the model; 130 interrupted, 143 terminated.
    """
    from flows.predict import PredictRequest, predict_command

    part_options = {
        "hop_seconds": hop, "on": on, "off": off, "smoothing_seconds": smoothing_seconds, "min_seconds": min_seconds,
        "merge_seconds": merge_seconds, "ignore": tuple(ignore or ()),
    }  # fmt: skip
    request = PredictRequest(
        [model, *(more_models or ())], files, out, path_column, strict, top, threshold, segments, windows,
        label_format, part_options, runtime, device, runner, address, workers,
    )  # fmt: skip
    raise typer.Exit(predict_command(request))


@app.command(rich_help_panel=_RUN)
def listen(
    model: options.Model,
    file: options.Replayed = None,
    microphone: options.Microphone = None,
    hop: options.Hop = None,
    threshold: options.Threshold = None,
    runtime: options.Runtime = "torch",
    device: options.Device = "auto",
) -> None:
    """Classify what a microphone hears, until you press Ctrl-C.

    A decision is printed when its window is complete: a line on a terminal, and else a JSON object.
    """
    from flows.listen import listen_command

    status = listen_command(
        model, file=file, microphone=microphone, hop=hop, threshold=threshold, runtime=runtime, device=device
    )
    raise typer.Exit(status)


@app.command(rich_help_panel=_RUN)
def sync(
    params_file: Annotated[
        Path, typer.Argument(metavar="PARAMS", help="A params file, or a workspace: the folder that has `runs`.")
    ],
    overrides: Overrides = None,
) -> None:
    """Send to MLflow what runs kept while its server was away.

    The last line on stdout is one JSON object: `sent`, `unsent` and `runs`, with the same numbers of each run.

    Exit status: 0 everything is sent, 1 a server is still away or rejects a record, 2 a mistake in the params.
    """

    def work() -> None:
        from flows.sync import sync_command

        sync_command(params_file, overrides or ())

    raise typer.Exit(exit_status(work))


@app.command(rich_help_panel=_LOOK)
def diagnose(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its folder: workspace/runs/RUN_ID.")],
    workspace: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder that has `runs`.")] = Path("workspace"),
) -> None:
    """Say what is wrong with a finished run, and which overrides may mend it. Trains and scores nothing.

    The last line on stdout is one JSON object: `run`, `findings` and `changes`.
    """

    def work() -> None:
        from flows.diagnose import diagnose_command

        diagnose_command(run, workspace)

    raise typer.Exit(exit_status(work))


@app.command(rich_help_panel=_LOOK)
def explain(
    params_file: ParamsFile,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip's id, or the path or URI of its file.")],
    overrides: Overrides = None,
) -> None:
    """Explain why a clip was decoded, quarantined or dropped. Decodes nothing."""

    def find() -> Callable[[Sequence[str]], int]:
        from audiocls.inspection.explanation import main

        return main

    raise typer.Exit(_inspect(find, params_file, overrides or (), [clip]))


@app.command(rich_help_panel=_LOOK)
def stores(
    params_file: ParamsFile,
    overrides: Overrides = None,
    remove_unused_days: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="List the stores that were not used for this many days.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove these stores, instead of only listing them.")] = False,
) -> None:
    """List the stores of decoded audio and features, and remove unused ones."""

    def find() -> Callable[[Sequence[str]], int]:
        from audiocls.inspection.generations import main

        return main

    days = [] if remove_unused_days is None else ["--remove-unused-days", str(remove_unused_days)]
    raise typer.Exit(_inspect(find, params_file, overrides or (), [*days, *(["--yes"] if yes else [])]))


def _flow_of(name: str) -> Callable[[], Flow[..., Any]]:
    """Return what imports the flow of a subcommand."""

    def find() -> Flow[..., Any]:
        flow: Flow[..., Any] = getattr(import_module(f"flows.{name}"), f"{name}_flow")
        return flow

    return find


def _inspect(
    find: Callable[[], Callable[[Sequence[str]], int]], params_file: Path, overrides: Sequence[str], more: Sequence[str]
) -> int:
    """Check the params before any heavy import, then run the module's own command line."""
    statuses = []

    def work() -> None:
        from audiocls.params_file import load_params

        load_params(params_file, overrides)
        statuses.append(find()([str(params_file), *more, *overrides]))

    return exit_status(work) or statuses[0]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status; None uses `sys.argv`."""
    try:
        app(args=None if argv is None else list(argv), prog_name="audiocls")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
