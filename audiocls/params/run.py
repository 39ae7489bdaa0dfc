"""All params of a run, with default, bounds, unit and meaning.

`audiocls.params_file` reads them from YAML. `audiocls schema` prints their JSON schema for editors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from audiocls.params.augmentation import AugmentationParams
from audiocls.params.balance import BalanceParams, NoBalance
from audiocls.params.comparison import ComparisonParams
from audiocls.params.data import DataSource
from audiocls.params.evaluation import EvaluationParams
from audiocls.params.model import ModelParams
from audiocls.params.registry import GateParams, RegistryParams
from audiocls.params.strict import LocalPath, Params, PathText
from audiocls.params.training import TrainingParams

MOST_INPUT_SECONDS: Final = 600


class ChunkParams(Params):
    """Windows of long files to train on, if the label is known of a file and not of its parts."""

    seconds: float = Field(
        gt=0, le=MOST_INPUT_SECONDS, description="Length of a window, which is that of the model's input."
    )
    hop: float = Field(
        gt=0,
        description="Seconds between the starts of two windows, at most `seconds`. Training, validation, test and use "
        "have the same windows.",
    )
    per_epoch: int | None = Field(
        None,
        ge=1,
        description="Windows of a file that an epoch draws at random without replacement; all, if it has fewer. null: "
        "all windows of every file.",
    )

    @model_validator(mode="after")
    def _leaves_no_gaps(self) -> Self:
        if self.hop > self.seconds:
            raise ValueError(f"hop = {self.hop:g} must be at most seconds = {self.seconds:g}, or windows leave gaps")
        return self


class AudioParams(Params):
    """How files are decoded, and how long the model's inputs are."""

    store: PathText | None = Field(
        None,
        description="Folder or URI (s3://bucket/prefix) of decoded audio, which workspaces and machines can share. "
        "Credentials come from the environment. null: <workspace>/waveforms.",
    )
    sample_rate_hz: int = Field(16_000, ge=4_000, le=192_000, description="Rate every clip is resampled to.")
    min_seconds: float = Field(0.05, ge=0, description="Shorter files are quarantined as too_short.")
    max_file_seconds: float = Field(
        3_600.0,
        gt=0,
        description="Longer files are quarantined as too_long. It limits memory: an hour at 16 kHz takes about 0.35 GB "
        "while it is stored, and at a URI or in near-duplicate search several times as much.",
    )
    silence_db: float = Field(
        -60.0, lt=0, description="Files with a lower peak, relative to full scale, are quarantined as silent."
    )
    max_seconds: float = Field(
        10.0,
        gt=0,
        le=MOST_INPUT_SECONDS,
        description="Maximum length of the model's input. With `chunk`, it is `chunk.seconds`.",
    )
    chunk: ChunkParams | None = Field(
        None,
        description="Train on windows of each file, `{seconds: 2, hop: 1, per_epoch: 10}`, all with the file's label. "
        "It replaces `max_seconds`, `truncate` and `window_overlap`. null: an epoch has one cut of each clip.",
    )
    truncate: Literal["random", "head", "center", "fusion"] = Field(
        "random",
        description="Which part of a longer clip to train on. random: another part in every epoch. Evaluation always "
        "scores the whole clip. fusion (only clap): use the whole clip, shrunk to one input, and three crops of it.",
    )
    window_overlap: float = Field(
        0.5,
        ge=0,
        le=0.9,
        description="Validation and test score longer clips by windows that overlap by this fraction of `max_seconds`; "
        "a clip's probabilities are the mean over its windows.",
    )
    pad: Literal["zero", "repeat", "repeat_pad"] = Field(
        "zero",
        description="How to pad a short clip: with zeros, repeats of the clip, or whole repeats and then zeros.",
    )
    cache_features: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Whether to cache spectrograms on disk. Those of randomly cut or augmented clips are never cached. "
        "auto: only if the transformers extractor computes them clip by clip, as with torchaudio installed, and not if "
        "they are computed in batches on the model's device. never: compute them in every epoch.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_the_length_of_chunks(cls, fields: Any) -> Any:
        chunk = fields.get("chunk") if isinstance(fields, dict) else None
        seconds = chunk.get("seconds") if isinstance(chunk, dict) else getattr(chunk, "seconds", None)
        # Any other value is a mistake in `chunk`, which the field reports.
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return fields
        if 0 < seconds <= MOST_INPUT_SECONDS:
            return {"max_seconds": seconds} | fields
        return fields


class SplitParams(Params):
    """How clips are split into training, validation and test, unless the data gives the split."""

    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="Fraction of the clips for test. null: 0.15, or one fold if `folds` is given."
    )
    validation_fraction: float = Field(
        0.15,
        gt=0,
        lt=1,
        description="Fraction of the clips for validation, which selects the checkpoint. With `folds` or a given test "
        "split: fraction of the remaining clips.",
    )
    folds: int | None = Field(
        None, ge=2, le=100, description="Number of cross-validation folds; each clip is tested once. null: no folds."
    )
    fold: int | None = Field(None, ge=0, description="Which of the `folds` this run tests on, from 0.")
    duplicates: Literal["stop", "drop", "move"] = Field(
        "stop",
        description="What to do if given splits share copies or overlaps of a recording. stop: stop the run. drop: "
        "drop only the copy that matters less (training before validation before test). move: move their groups to "
        "training. Without given splits the run never stops: stop and move keep groups that copies link in one split, "
        "except if a few copies would link more than a tenth of the corpus; those are dropped where they straddle "
        "splits. drop: drop all copies that straddle splits.",
    )
    near_duplicates: Literal["stop", "drop", "move", "ignore"] = Field(
        "stop",
        description="As `duplicates`, for re-encoded, resampled, cut or padded copies. This detection can be wrong; "
        "ignore: take no action.",
    )

    @property
    def test_share(self) -> float:
        """Fraction of the clips for test if there are no folds."""
        return 0.15 if self.test_fraction is None else self.test_fraction


class RunnerParams(Params):
    """Where the shards of the waveform store are decoded. The store is byte-identical for every runner."""

    kind: Literal["thread", "process", "dask", "ray"] = Field(
        "thread", description="Local threads or processes, or a cluster (extras `dask` and `ray`)."
    )
    address: str | None = Field(
        None, min_length=1, description="Address of a Dask scheduler or Ray cluster. null: a local one for this run."
    )
    workers: int | None = Field(
        None, ge=1, description="Shards decoded in parallel. A cluster at `address` sets it itself. null: one per core."
    )


class TrackingParams(Params):
    """Where runs are logged."""

    uri: PathText | None = Field(None, description="MLflow tracking URI. null: sqlite:///<workspace>/mlflow.db")


class RunParams(Params):
    """The params of one run: one params file."""

    experiment: str = Field("audiocls", min_length=1, description="Name of the MLflow experiment.")
    seed: int = Field(17, ge=0, lt=2**32, description="Seed of every random choice, in all stages.")
    workspace: LocalPath = Field(Path("workspace"), description="Folder of stores, runs and the default mlflow.db.")
    data: Annotated[DataSource, Field(discriminator="source")]
    audio: AudioParams = AudioParams()
    split: SplitParams = SplitParams()
    model: ModelParams = ModelParams()
    balance: Annotated[BalanceParams, Field(discriminator="method")] = NoBalance()
    comparison: ComparisonParams = ComparisonParams()
    augmentation: list[AugmentationParams] = Field(
        default_factory=list, description="Transforms of the training clips, applied in this order. Empty: none."
    )
    training: TrainingParams = TrainingParams()
    evaluation: EvaluationParams = EvaluationParams()
    runner: RunnerParams = RunnerParams()
    tracking: TrackingParams = TrackingParams()
    registry: RegistryParams = RegistryParams()
    gate: GateParams = GateParams()

    @property
    def best_metric(self) -> str:
        """Validation metric that selects the checkpoint."""
        return self.training.best_metric or ("map_macro" if self.is_multi_label else "f1_macro")

    @property
    def is_multi_label(self) -> bool:
        """Whether clips have any number of labels."""
        return self.data.labels == "multi"

    @property
    def tracking_uri(self) -> str:
        """URI of the MLflow store that this run is logged to."""
        return self.tracking.uri or f"sqlite:///{self.workspace.absolute() / 'mlflow.db'}"


def json_schema() -> str:
    """Return the JSON schema of the params file, for editors that complete and check YAML."""
    return json.dumps(RunParams.model_json_schema(), indent=2)


if __name__ == "__main__":
    sys.stdout.write(json_schema() + "\n")
