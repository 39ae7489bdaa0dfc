"""Every parameter of a run: default, bound, unit and meaning, each in this one place and in `balance_params`.

`audiocls.params_file` reads them from YAML. `python -m audiocls.params` prints their JSON schema for editors.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from fsspec.utils import glob_translate
from pydantic import Field, PlainValidator, field_validator
from pydantic_core import PydanticCustomError

from audiocls.augmentation.params import AugmentationParams
from audiocls.balance_params import BalanceParams, NoBalance
from audiocls.places import is_uri
from audiocls.strict import Params

_GROUPS = {"label", "group"}
LocalPath = Annotated[Path, Field(strict=False)]


def _path_or_uri(value: object) -> Path | str:
    if isinstance(value, str | Path):
        return value if isinstance(value, Path) or is_uri(value) else Path(value)
    raise PydanticCustomError("path_type", "Input is not a path")


PathOrUri = Annotated[Path | str, PlainValidator(_path_or_uri, json_schema_input_type=str)]

RAW_WAVEFORM_FAMILIES = (
    "wav2vec2",
    "hubert",
    "data2vec-audio",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "sew",
    "sew-d",
    "wav2vec2-conformer",
)
Family = Literal[
    "logmel-resnet",
    "wav2vec2",
    "hubert",
    "data2vec-audio",
    "wavlm",
    "unispeech",
    "unispeech-sat",
    "sew",
    "sew-d",
    "wav2vec2-conformer",
    "wav2vec2-bert",
    "audio-spectrogram-transformer",
    "whisper",
]
FAMILIES: tuple[Family, ...] = get_args(Family)


class DataParams(Params):
    """What every source of clips has."""

    max_bad_fraction: float = Field(
        0.05, ge=0, le=1, description="The run stops when a larger share of the clips is quarantined."
    )


class FolderData(DataParams):
    """A directory a class, `path/LABEL/any/depth/clip.wav`, or names that a pattern finds the label in."""

    source: Literal["folder"]
    path: PathOrUri = Field(description="The directory that holds one directory a class, or its URI: s3://bucket/a.")
    pattern: str | None = Field(
        None,
        description="Regular expression that a file's whole path below `path`, with slashes, must match, with the "
        "groups (?P<label>...) and, if there is one, (?P<group>...). What does not match has no label. "
        "null: the first directory is the label.",
    )
    include: list[str] = Field(
        default_factory=list,
        description="Globs over the path below `path`; files that match none are left out. * and ? stay within a "
        "directory, ** is any number of them: **/*.wav. Empty: all.",
    )
    exclude: list[str] = Field(
        default_factory=list, description="Globs as in `include`; files that match one are left out."
    )
    group_by: Literal["file", "folder"] = Field(
        "file", description="What must not straddle a split: each file alone, or the files of one directory together."
    )

    @field_validator("pattern")
    @classmethod
    def _names_the_label(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = set(re.compile(pattern).groupindex)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"is no regular expression: {error}") from error
        if "label" not in groups:
            raise ValueError("must have a group (?P<label>...)")
        if groups - _GROUPS:
            raise ValueError(f"may name the groups label and group, and not {', '.join(sorted(groups - _GROUPS))}")
        return pattern

    @field_validator("include", "exclude")
    @classmethod
    def _are_globs(cls, globs: list[str]) -> list[str]:
        for glob in globs:
            try:
                re.compile(glob_translate(glob))
            except (ValueError, re.error) as error:
                raise ValueError(f"{glob!r} is no glob: {error}") from error
        return globs


class TableData(DataParams):
    """A table with a row a clip: CSV, TSV (tabs, no quoting), Parquet or JSON lines."""

    source: Literal["table"]
    path: PathOrUri = Field(description="The table: .csv, .tsv, .parquet, .jsonl or .ndjson; or its URI.")
    path_column: str = Field(
        "path", description="Column of clip paths: absolute, relative to the table's folder, or URIs."
    )
    label_column: str = Field("label", description="Column of class names.")
    group_column: str | None = Field(
        None, description="Column of what must not straddle a split. null: each file alone."
    )
    split_column: str | None = Field(None, description="Column of train, validation or test. null: the split is made.")
    start_column: str | None = Field(
        None,
        description="Column of seconds at which a clip begins in its file, so that a row can be a segment of a long "
        "recording. Empty: 0; where the end is empty too, the clip is the whole file.",
    )
    end_column: str | None = Field(
        None, description="Column of seconds at which a clip ends in its file. Empty: the file's end."
    )
    stay_in_folder: bool = Field(
        False,
        description="Quarantine, unread, paths and URIs that lead out of the table's folder by .. or by being "
        "absolute: for tables of others. Links in the folder are followed.",
    )


class HubData(DataParams):
    """A `datasets` data set: of the hub, saved by `save_to_disk`, or a local folder that `load_dataset` takes."""

    source: Literal["hub"]
    name: str = Field(min_length=1, description="A hub id, e.g. PolyAI/minds14, or the path of a local folder.")
    config: str | None = Field(None, description="The data set's configuration, e.g. a language. null: its default.")
    revision: str | None = Field(
        None, description="Branch, tag or commit on the hub; a commit keeps runs comparable. null: the newest."
    )
    splits: dict[Literal["train", "validation", "test"], str] | None = Field(
        None,
        description="The data set's split for each of ours, e.g. {train: train, test: test}; one that is not named is "
        "made out of train. null: all of its splits together, and the split is made.",
    )
    audio_column: str = Field("audio", description="Column of audio, of bytes, or of paths.")
    label_column: str = Field("label", description="Column of class names, or of ids that the data set has names for.")
    group_column: str | None = Field(
        None, description="Column of what must not straddle a split. null: each clip alone."
    )

    @field_validator("splits")
    @classmethod
    def _train_somewhere(cls, splits: dict[str, str] | None) -> dict[str, str] | None:
        if splits is not None and "train" not in splits:
            raise ValueError("must name a split for train")
        return splits


class SampleData(DataParams):
    """Ten spoken digits by many synthetic voices, long-tailed; the voice is the group. Needs the extra `sample`."""

    source: Literal["sample"]
    voices: int = Field(72, ge=3, le=1000, description="Synthetic speakers.")
    clips: int = Field(1_800, ge=30, le=1_000_000, description="Clips in all.")
    imbalance_ratio: float = Field(10.0, ge=1, description="Clips of the most frequent class per clip of the rarest.")
    seed: int = Field(1, ge=0, description="Of the corpus; not the run's, so that runs stay comparable.")


SingleSource = FolderData | TableData | HubData | SampleData
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class PoolData(DataParams):
    """Several sources together: labels are pooled by name, and each clip keeps the name of its source."""

    source: Literal["pool"]
    sources: dict[SourceName, Annotated[SingleSource, Field(discriminator="source")]] = Field(
        min_length=1, description="The sources by name, each with its own `source` and keys."
    )
    shared_groups: bool = Field(
        False, description="Whether a group's name means the same speaker, place or device in every source."
    )


DataSource = SingleSource | PoolData


class AudioParams(Params):
    """How a file becomes samples, and how long the clips are that the model sees."""

    store: str | None = Field(
        None,
        min_length=1,
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
    truncate: Literal["random", "head", "center"] = Field(
        "random",
        description="Where training cuts a long clip. random: anew in every epoch. Evaluation scores all of it.",
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
    cache_features: Literal["auto", "never"] = Field(
        "auto",
        description="auto: what a slow extractor makes of a clip (the spectrogram of audio-spectrogram-transformer, "
        "whisper and wav2vec2-bert) is kept on the disk, unless the clip is cut at random. never: it is computed anew "
        "in every epoch.",
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
    duplicates: Literal["stop", "move"] = Field(
        "stop",
        description="Where copies of a recording stand in several splits: stop, or move their groups to training.",
    )
    near_duplicates: Literal["stop", "move", "ignore"] = Field(
        "stop",
        description="The same for copies encoded anew, resampled, cut or padded, which a split that is made never "
        "parts. Such a finding may be wrong: ignore neither stops nor links anything.",
    )

    @property
    def test_share(self) -> float:
        """Share of the clips for test where there are no folds."""
        return 0.15 if self.test_fraction is None else self.test_fraction


class LoraParams(Params):
    """Small matrices that are trained beside the encoder's frozen ones, and merged into them at the end."""

    rank: int = Field(8, ge=1, description="Of the matrices.")
    alpha: int = Field(16, ge=1, description="What they add is scaled by alpha / rank.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Of their input.")
    target_modules: list[str] | None = Field(
        None,
        min_length=1,
        description="Ends of the names of the layers that get them, e.g. [q_proj, v_proj]. null: the family's queries "
        "and values; the feed-forward layers of wavlm.",
    )


class ModelParams(Params):
    """Which network, and where its weights start."""

    family: Family = Field("logmel-resnet", description="The transformers model type.")
    pretrained: str | None = Field(None, description="A hub id or a local folder. null: from scratch.")
    config: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the family's config, e.g. hidden_size or hidden_dropout."
    )
    freeze: Literal["none", "feature_encoder", "encoder"] = Field(
        "none", description="What keeps its weights: nothing, the convolutional front end, or all but the head."
    )
    freeze_layers: int | None = Field(
        None,
        ge=0,
        description="The lowest layers that keep their weights, with all that stands below them; 0: only the latter. "
        "null: as `freeze` says.",
    )
    lora: LoraParams | None = Field(
        None, description="Train LoRA and the head alone (extra `lora`); the saved model is an ordinary one. null: no."
    )


class TrainingParams(Params):
    """How the weights are fitted."""

    epochs: float = Field(10.0, gt=0, description="Passes over the training clips.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; when given, `epochs` is not looked at.")
    optimizer: Literal["adamw", "adafactor", "sgd", "rmsprop", "adagrad"] = Field(
        "adamw", description="sgd has a momentum of 0.9."
    )
    learning_rate: float = Field(5.0e-5, gt=0, description="The highest rate of the schedule.")
    head_learning_rate: float | None = Field(None, gt=0, description="Of the head alone. null: `learning_rate`.")
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Each layer learns at this share of the rate of the layer above it; 1: all alike.",
    )
    schedule: Literal["linear", "cosine", "cosine_with_restarts", "constant"] = Field(
        "linear", description="After the warm-up."
    )
    restarts: int | None = Field(
        None, ge=1, description="Of cosine_with_restarts: how often the rate jumps back to its top. null is 1."
    )
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises from 0.")
    batch_size: int = Field(16, ge=1, description="Clips per step and device.")
    eval_batch_size: int = Field(64, ge=1, description="Clips per step and device in evaluation.")
    group_by_length: bool = Field(
        False, description="Gather clips of like length in a batch, where batches are as long as their longest clip."
    )
    gradient_accumulation_steps: int = Field(1, ge=1, description="Batches per optimizer step.")
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are clipped to this norm; 0 does not clip.")
    gradient_checkpointing: bool = Field(
        False, description="Compute activations anew in the backward pass: less memory, a third slower."
    )
    weight_decay: float = Field(0.01, ge=0, description="Decoupled decay; biases and norms have none.")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of the target spread over all classes.")
    early_stopping_patience: int | None = Field(
        None, ge=1, description="Epochs without a better `best_metric` before training ends. null: never."
    )
    resume: bool = Field(
        True, description="Go on with a run of the same params that was killed or interrupted, from its checkpoint."
    )
    best_metric: Literal[
        "loss",
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "precision_weighted",
        "recall_weighted",
        "f1_weighted",
    ] = Field("f1_macro", description="The validation metric by which the checkpoint is kept.")
    processes: int = Field(
        1, ge=1, description="Processes that train together, one a GPU; `batch_size` is each one's. 1: this one alone."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Keep and evaluate a moving average of the weights with this decay a step. null: the weights.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="auto: bf16 on a GPU that has it, else fp32. fp16 is for GPUs without bf16."
    )
    tf32: bool = Field(False, description="Multiply float32 matrices in TF32: faster on NVIDIA GPUs since Ampere.")
    compile: bool = Field(
        False, description="torch.compile: minutes at the start, faster steps after, for long runs on a GPU."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: the GPU where there is one, else the CPU."
    )


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

    uri: str | None = Field(None, description="MLflow tracking URI. null: sqlite:///<workspace>/mlflow.db")


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
