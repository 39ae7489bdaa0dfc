"""Balance methods compared on one corpus: the same split, the same seeds, and each against doing nothing."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audiocls.balance import Balanced, balance
from audiocls.batches import CLIP, cut_into_windows
from audiocls.comparison.heads import Embedded, Scored, compare_methods
from audiocls.comparison.report import Comparison, write_report
from audiocls.comparison.scores import compare_scores, score_seed
from audiocls.errors import ParamsError
from audiocls.features import embed_clips
from audiocls.files import write_table
from audiocls.heads import Clips, LinearHead, head_of, report_rows
from audiocls.models import load_model
from audiocls.params import EmbeddingBalance, HeadOnly, NoBalance, RunParams
from audiocls.params_file import NONE, Candidate, list_candidates, trains_encoder
from audiocls.splits import PreparedData
from audiocls.tracking import NestedRun
from audiocls.training import choose_device, class_names, fit

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Training:
    """A model that a comparison needs: its balance method and its seed."""

    candidate: Candidate
    seed: int
    folder: Path  # the model's folder

    @property
    def name(self) -> str:
        """The unique name of the training within the comparison."""
        return self.folder.parent.name


def plan_trainings(params: RunParams, folder: Path) -> list[Training]:
    """List the models to train: one encoder for all heads, or with end-to-end methods, one per method and seed.

    Args:
        params: The run's params.
        folder: The run's folder; each model gets a folder below it.

    Raises:
        ParamsError: Heads would be trained beside `audio.chunk`.
    """
    every = list_candidates(params)
    trained = trains_encoder(params)
    if params.audio.chunk is not None and (not trained or any(isinstance(each.balance, HeadOnly) for each in every)):
        raise ParamsError(
            "audio.chunk: the comparison trains heads on one embedding of each file, the middle of a long one, and not "
            "on windows. Compare methods of comparison.end_to_end, and of comparison.methods only tau_norm, "
            "post_hoc_logit_adjustment and class_thresholds, or none: []"
        )
    candidates = [candidate for candidate in every if candidate.end_to_end]
    if not trained:
        candidates = [Candidate("encoder", EmbeddingBalance(method="smote"))]  # keeps the encoder unchanged
    seeds = _seeds(params) if params.comparison.end_to_end else [params.seed]
    return [
        Training(each, seed, folder / "contenders" / f"{_as_file_name(each.name)}-seed-{seed}" / "model")
        for seed in seeds
        for each in candidates
    ]


def train_candidate(training: Training, data: PreparedData) -> Training:
    """Train one model as a run with its method would.

    Raises:
        BalanceError: The class counts do not allow the method.
    """
    own = _data_of(data, training.candidate, training.seed)
    balanced = balance(own.split_clips, own.params.balance, own.params.seed, own.params.workspace)
    fit(own, balanced, training.folder.parent, lambda metrics, step: None)
    return training


def _data_of(data: PreparedData, candidate: Candidate, seed: int) -> PreparedData:
    """Return the data of a run with a candidate and a seed."""
    return replace(data, params=data.params.model_copy(update={"balance": candidate.balance, "seed": seed}))


def compare(
    trained: Sequence[Training], data: PreparedData, folder: Path, refused: Mapping[str, str] | None = None
) -> Comparison:
    """Score every method and seed, choose a method on validation, report on test, and write the report.

    Args:
        trained: The trainings of `plan_trainings`, without those of refused methods.
        data: The run's data.
        folder: The run's folder; gets `comparison/`, and in `contenders/` the training rows of each head.
        refused: By name, why the class counts do not allow a method.

    Raises:
        LeakageError: A head was trained on a clip that is not in the training split.
    """
    table, params = pd.read_parquet(data.split_clips), data.params
    candidates = {each.name: each for each in list_candidates(params)}
    scored: dict[str, list[Scored]] = {name: [] for name in candidates}
    trained_on: dict[tuple[str, int], Balanced] = {}
    refused = dict(refused or {})
    for each in trained:
        logger.info("Scoring %s.", each.name)
        embedded, own_head = _embed(each.folder, table, data)
        found, why_not = _score(each, embedded, own_head, params, candidates)
        seeds = [each.seed] if params.comparison.end_to_end else _seeds(params)
        for name, by_seed in found.items():
            scored[name] += by_seed
            for seed, of_seed in zip(seeds, by_seed, strict=True):
                own = _data_of(data, candidates[name], seed)
                trained_on[name, seed] = _trained_on(of_seed, embedded, table, own, _rows_folder(folder, name, seed))
        refused |= why_not
    scored = {name: by_seed for name, by_seed in scored.items() if name not in refused}
    scores, runs = _tabulate(scored, table, params)
    runs = runs.join(_counts(trained_on), on=["method", "seed"])
    write_table(scores, folder / "comparison" / "scores.parquet")
    scores.to_csv(folder / "comparison" / "scores.csv", index=False)
    write_table(runs, folder / "comparison" / "runs.parquet")
    return write_report(scores, table, candidates, refused, params, folder)


def nested_runs(comparison: Comparison, params: RunParams) -> list[NestedRun]:
    """Return the nested MLflow run of each method and seed."""
    candidates = {each.name: each for each in list_candidates(params)}
    nested = []
    for row in pd.read_parquet(comparison.folder / "runs.parquet").to_dict(orient="records"):
        method, seed = row.pop("method"), row.pop("seed")
        settings = {"balance": candidates[method].balance.model_dump(mode="json"), "seed": seed, "contender": method}
        metrics = {str(name): value for name, value in row.items() if not np.isnan(value)}
        files = _rows_folder(comparison.folder.parent, method, seed)
        nested.append(NestedRun(f"{method}, seed {seed}", settings, metrics, files))
    return nested


def _rows_folder(folder: Path, method: str, seed: int) -> Path:
    return folder / "contenders" / f"{_as_file_name(method)}-seed-{seed}" / "balance"


def _trained_on(scored: Scored, embedded: Embedded, table: pd.DataFrame, own: PreparedData, folder: Path) -> Balanced:
    """Write the clips that a model or a head was trained on; return the counts."""
    # A head's copies are already among its `synthetic` rows.
    method = own.params.balance if scored.synthetic is None else NoBalance()
    balanced = balance(own.split_clips, method, own.params.seed, own.params.workspace)
    if scored.synthetic is not None:
        training = table[table["split"] == "train"]
        return report_rows(scored.synthetic, embedded.training.embeddings, training, table, balanced, folder)
    write_table(pd.read_parquet(balanced.rows), folder / "rows.parquet")
    return balanced


def _counts(trained_on: Mapping[tuple[str, int], Balanced]) -> pd.DataFrame:
    """Return by method and seed the clips per class before and after, and the rows of each kind."""
    return pd.DataFrame.from_dict(
        {
            key: {f"clips_before/{name}": count for name, count in made.counts_before.items()}
            | {f"clips_after/{name}": count for name, count in made.counts_after.items()}
            | {f"rows/{kind}": count for kind, count in made.rows_of_kind.items()}
            for key, made in trained_on.items()
        },
        orient="index",
    )


def _seeds(params: RunParams) -> list[int]:
    return [(params.seed + i) % 2**32 for i in range(params.comparison.seeds)]


def _as_file_name(name: str) -> str:
    return re.sub(r"[^a-z_]+", "-", name)


def _score(
    training: Training,
    embedded: Embedded,
    own_head: LinearHead,
    params: RunParams,
    candidates: Mapping[str, Candidate],
) -> tuple[dict[str, list[Scored]], dict[str, str]]:
    """Score a model, or all heads if it is the one that they are compared on."""
    name = training.candidate.name
    if name in candidates and name != NONE:
        return {name: [Scored(embedded.validation.logits(own_head), embedded.test.logits(own_head))]}, {}
    heads = {name: each.balance for name, each in candidates.items() if name == NONE or not each.end_to_end}
    seeds = [training.seed] if params.comparison.end_to_end else _seeds(params)
    return compare_methods(embedded, heads, seeds, own_head if trains_encoder(params) else None)


def _embed(model_folder: Path, table: pd.DataFrame, data: PreparedData) -> tuple[Embedded, LinearHead]:
    """Return the clips embedded by a model, cut as in `balance_head`, and the model's own head."""
    model, extractor = load_model(model_folder)
    device = choose_device(data.params.training)
    model.to(device)

    def embed(split: str) -> Clips:
        clips = table[table["split"] == split]
        windows = clips.assign(**{CLIP: np.arange(len(clips))})
        if split != "train":
            windows = cut_into_windows(clips, data.params.audio)
        embeddings = embed_clips(model, extractor, windows, data)
        targets = clips["label"].map(model.config.label2id).to_numpy(np.int64)
        return Clips(embeddings, targets, clips["group"].to_numpy(object), windows[CLIP].to_numpy(np.int64))

    embedded = Embedded(embed("train"), embed("validation"), embed("test"), tuple(class_names(table)), device)
    return embedded, head_of(model)


def _tabulate(
    scored: Mapping[str, Sequence[Scored]], table: pd.DataFrame, params: RunParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the scores by split and method, and those of each method and seed."""
    labels = class_names(table)
    counts = table.loc[table["split"] == "train", "label"].value_counts().reindex(labels).to_numpy(np.int64)
    runs: dict[tuple[str, int], dict[str, Any]]
    scores, runs = [], {(name, seed): {"method": name, "seed": seed} for name in scored for seed in _seeds(params)}
    for split in ("validation", "test"):
        clips = table[table["split"] == split]
        targets = clips["label"].map(labels.index).to_numpy(np.int64)
        groups = clips["group"].to_numpy(object)
        logits = {name: [getattr(each, split) for each in by_seed] for name, by_seed in scored.items()}
        scores.append(compare_scores(logits, targets, groups, counts).assign(split=split))
        for name, by_seed in logits.items():
            for seed, each in zip(_seeds(params), by_seed, strict=True):
                found = score_seed(each, targets, groups, counts)
                runs[name, seed] |= {f"{split}/{metric}": value for metric, value in found.items()}
    return pd.concat(scores, ignore_index=True), pd.DataFrame(runs.values())
