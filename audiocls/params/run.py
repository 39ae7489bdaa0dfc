"""Every parameter of a run: default, bound, unit and meaning, here and in the modules whose params are gathered here.

`audiocls.params_file` reads them from YAML. `python -m audiocls.params.run` prints their JSON schema for editors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from audiocls.params.augmentation import AugmentationParams
from audiocls.params.balance import BalanceParams, NoBalance
from audiocls.params.comparison import ComparisonParams
from audiocls.params.data import DataSource
from audiocls.params.model import ModelParams
from audiocls.params.strict import LocalPath, Params, PathText
from audiocls.params.training import TrainingParams


class AudioParams(Params):
    """How a file becomes samples, and how long the clips are that the model sees."""

    store: PathText | None = Field(
        None,
        description="Folder or URI (s3://bucket/prefix) of decoded audio, to be shared by workspaces and machines; who "
        "may write there is said by the environment. null: <workspace>/waveforms.",
    )
    sample_rate_hz: int = Field(16_000, ge=4_000, le=192_000, description="Rate every clip is resampled to.")
    min_seconds: float = Field(0.05, ge=0, description="Shorter files are quarantined as too_short.")
    max_file_seconds: float = Field(
        3_600.0, gt=0, description="Longer files are quarantined as too_long, before anything is decoded."
    )
    silence_db: float = Field(
        -60.0, lt=0, description="Files whose peak stays below, relative to full scale, are quarantined as silent."
    )
    max_seconds: float = Field(10.0, gt=0, le=600, description="Length of the model's input.")
    truncate: Literal["random", "head", "center", "fusion"] = Field(
        "random",
        description="Where training cuts a long clip. random: anew in every epoch. Evaluation scores all of it. "
        "fusion, for clap: nothing is cut; the model sees the whole clip shrunk to one input, and three crops of it.",
    )
    window_overlap: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="Share of `max_seconds` by which the windows overlap in which validation and test score longer "
        "clips; a clip's probabilities are the mean of its windows'.",
    )
    pad: Literal["zero", "repeat", "repeat_pad"] = Field(
        "zero",
        description="How a short clip is filled: zeros; the clip again and again; or whole repeats, then zeros.",
    )
    cache_features: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether spectrograms are kept on the disk, but of clips that are cut at random or augmented. "
        "auto: where transformers' extractor has to make them, a clip at a time, as with torchaudio installed, and not "
        "where they are computed in batches on the model's device. never: they are computed anew in every epoch.",
    )


class SplitParams(Params):
    """Shares of the clips held out when the split is made and not given."""

    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="Share of clips looked at once, at the end. null: 0.15, or with `folds` one fold."
    )
    validation_fraction: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Share of clips that choose the checkpoint; with `folds` or a given test split, of what it leaves.",
    )
    folds: int | None = Field(
        None, ge=2, le=100, description="Cross-validation: this many splits, with every clip in one test. null: none."
    )
    fold: int | None = Field(None, ge=0, description="Which of the `folds` this run tests on, from 0.")
    duplicates: Literal["stop", "drop", "move"] = Field(
        "stop",
        description="Copies or overlaps of a recording in different splits that are given. stop; drop: leave out the "
        "copy that matters less (training before validation before test) and nothing else; move: take their groups to "
        "training. A split that is made never stops. Under stop and move it keeps groups together that copies link; "
        "but where a few copies would chain more than a tenth of the corpus together, it leaves these out where they "
        "straddle. Under drop it does so with all copies.",
    )
    near_duplicates: Literal["stop", "drop", "move", "ignore"] = Field(
        "stop",
        description="The same for copies encoded anew, resampled, cut or padded. Such a finding may be wrong: ignore "
        "neither stops, leaves out nor links anything.",
    )

    @property
    def test_share(self) -> float:
        """Share of the clips for test where there are no folds."""
        return 0.15 if self.test_fraction is None else self.test_fraction


class RunnerParams(Params):
    """What decodes the shards of the waveform store; the store is the same, byte for byte, whatever does."""

    kind: Literal["thread", "process", "dask", "ray"] = Field(
        "thread", description="Threads or processes of this machine, or a cluster (extras `dask` and `ray`)."
    )
    address: str | None = Field(
        None, min_length=1, description="Of a Dask scheduler or a Ray cluster. null: one of this machine, for this run."
    )
    workers: int | None = Field(
        None, ge=1, description="Shards at a time; a cluster with an address says it itself. null: a shard a core."
    )


class TrackingParams(Params):
    """Where runs are written down."""

    uri: PathText | None = Field(None, description="MLflow tracking URI. null: sqlite:///<workspace>/mlflow.db")


class RunParams(Params):
    """One params file: one run."""

    experiment: str = Field("audiocls", min_length=1, description="The MLflow experiment.")
    seed: int = Field(17, ge=0, lt=2**32, description="The one number that every stage draws its randomness from.")
    workspace: LocalPath = Field(Path("workspace"), description="Stores, runs and the default mlflow.db.")
    data: Annotated[DataSource, Field(discriminator="source")]
    audio: AudioParams = AudioParams()
    split: SplitParams = SplitParams()
    model: ModelParams = ModelParams()
    balance: Annotated[BalanceParams, Field(discriminator="method")] = NoBalance()
    comparison: ComparisonParams = ComparisonParams()
    augmentation: list[AugmentationParams] = Field(
        default_factory=list, description="How training clips are changed, in this order; see `kind`. Empty: not."
    )
    training: TrainingParams = TrainingParams()
    runner: RunnerParams = RunnerParams()
    tracking: TrackingParams = TrackingParams()

    @property
    def tracking_uri(self) -> str:
        """The MLflow store that this run is written to."""
        return self.tracking.uri or f"sqlite:///{self.workspace.absolute() / 'mlflow.db'}"


def json_schema() -> str:
    """Describe the params file as JSON schema, for editors that complete and check YAML."""
    return json.dumps(RunParams.model_json_schema(), indent=2)


if __name__ == "__main__":
    sys.stdout.write(json_schema() + "\n")
