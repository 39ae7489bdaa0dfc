"""Change the head after training, as the balance method says. The model's architecture stays the same.

Only training clips are read, copied and interpolated. Validation chooses `tau` or the offsets, which are used only if
they help on held-out folds of validation. The test split is not used.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from transformers import PreTrainedModel

from audiocls.balance import Balanced, SyntheticSamples, balance_embeddings, check_training_only, class_counts
from audiocls.batches import CLIP, cut_into_windows
from audiocls.errors import BalanceError, name_some
from audiocls.features import embed_clips
from audiocls.files import replacing, write_table
from audiocls.heads.clips import Clips, Logits
from audiocls.heads.held_out import try_held_out
from audiocls.heads.linear import LinearHead, Scaling, head_of, train_head, write_head
from audiocls.heads.offsets import ADJUSTMENT_TAUS, NORM_TAUS, adjusted, best_by_macro_f1, fit_offsets, tau_normalised
from audiocls.models import choose_layer, labels_of, learn_weights, load_model, num_layers, save_model, weigh_layers
from audiocls.params import (
    AfterTraining,
    ClassThresholds,
    Decoupled,
    HeadOnly,
    PostHocLogitAdjustment,
    TauNorm,
)
from audiocls.plots import draw_embeddings
from audiocls.splits import PreparedData
from audiocls.training import choose_device

# More points would overlap.
_DRAWN_ROWS = 4_000


@dataclass(frozen=True, slots=True)
class HeadBalance:
    """The result of `balance_head`."""

    balanced: Balanced  # with the counts that the head was trained on
    files: Path | None = None  # folder of head.json, and for head-only methods rows.parquet, embeddings.png
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChangedHead:
    """A head, and how it was made."""

    head: LinearHead
    said: dict[str, Any]  # the content of head.json
    synthetic: SyntheticSamples | None = None
    held_out: Logits | None = None
    """Logits of the clips that the head was fitted on, from heads fitted without them; None if nothing is fitted."""


def balance_head(model_folder: Path, balanced: Balanced, data: PreparedData, folder: Path) -> HeadBalance:
    """Change the saved model's head in place as the method says; most methods do not change it.

    Args:
        model_folder: The model that `fit` saved.
        balanced: The clips that training used.
        data: The run's.
        folder: Gets `balance/`, with the results.

    Raises:
        BalanceError: The class counts do not allow the method.
        LeakageError: A clip to train the head on is not in the training split.
    """
    method = data.params.balance
    if not isinstance(method, HeadOnly | AfterTraining):
        return HeadBalance(balanced)
    model, extractor = load_model(model_folder)
    model.to(choose_device(data.params.training))
    clips = pd.read_parquet(data.split_clips)
    listed = pd.read_parquet(balanced.rows)
    rows = listed["row"].to_numpy()
    check_training_only(clips, rows, listed["clip_id"].to_numpy(object))
    counts = _counts(balanced, labels_of(model))
    changed = balanced
    if isinstance(method, HeadOnly):
        training = clips.iloc[rows]
        made, originals = _head_of_training(model, extractor, training, data, method)
        if made.synthetic is not None:
            changed = report_rows(made.synthetic, originals, training, clips, balanced, folder / "balance")
    else:
        validation = _embed_validation(model, extractor, clips[clips["split"] == "validation"], data)
        made = changed_head(method, head_of(model), counts, validation, labels_of(model), data.params.seed)
    _write(model, extractor, made.head, model_folder)
    with replacing(folder / "balance" / "head.json") as part:
        part.write_text(json.dumps({"method": method.method} | made.said, indent=2, ensure_ascii=False) + "\n")
    numbers = {f"balance/{name}": float(value) for name, value in made.said.items() if isinstance(value, float | bool)}
    return HeadBalance(changed, folder / "balance", numbers)


def _head_of_training(
    model: PreTrainedModel, extractor: Any, training: pd.DataFrame, data: PreparedData, method: HeadOnly
) -> tuple[ChangedHead, NDArray[np.float32]]:
    """Train a head on the balanced embeddings of the training clips; return it and the original embeddings."""
    device = choose_device(data.params.training)
    _take_layer(model, extractor, training, data, method)
    originals = embed_clips(model, extractor, training, data)
    names = training["label"].to_numpy(str)
    return head_on_embeddings(originals, names, labels_of(model), method, data.params.seed, device), originals


def _embed_validation(model: PreTrainedModel, extractor: Any, validation: pd.DataFrame, data: PreparedData) -> Clips:
    targets = validation["label"].map(model.config.label2id).to_numpy(np.int64)
    windows = cut_into_windows(validation, data.params.audio)
    groups, clip = validation["group"].to_numpy(object), windows[CLIP].to_numpy(np.int64)
    return Clips(embed_clips(model, extractor, windows, data), targets, groups, clip)


def _take_layer(
    model: PreTrainedModel, extractor: Any, training: pd.DataFrame, data: PreparedData, method: HeadOnly
) -> None:
    """Attach the head to the requested layer, in place; layer weights are learned from the training clips."""
    if method.layer == "weighted":
        every = embed_clips(model, extractor, training, data, all_layers=True)
        every = every.reshape(len(training), num_layers(model) + 1, -1)
        targets = training["label"].map(model.config.label2id).to_numpy(np.int64)
        device = choose_device(data.params.training)
        weigh_layers(model, learn_weights(every, targets, model.config.num_labels, method.penalty, device))
    elif method.layer != "last":
        choose_layer(model, method.layer)


def _counts(balanced: Balanced, labels: Sequence[str]) -> NDArray[np.int64]:
    missing = [name for name in labels if name not in balanced.counts_before]
    if missing:
        raise BalanceError(
            f"{name_some(map(repr, missing))} have no training clips, so their head cannot be balanced. Drop these "
            "classes from the data, or add training clips."
        )
    return np.array([balanced.counts_before[name] for name in labels])


def changed_head(
    params: AfterTraining,
    head: LinearHead,
    counts: NDArray[np.int64],
    validation: Clips,
    labels: Sequence[str],
    seed: int,
) -> ChangedHead:
    """Change a head by the given params, or by the best ones on validation if they help on held-out folds.

    Args:
        params: The method.
        head: The trained head.
        counts: Training clips per class, shape (num_classes,).
        validation: The clips to fit on.
        labels: Class names.
        seed: Seed of the folds.
    """
    if not isinstance(params, ClassThresholds) and params.tau is not None:
        return ChangedHead(_by_tau(params, head, counts, params.tau), {"tau": params.tau, "chosen_on": "params"})
    plain = ChangedHead(head, _said(params, np.zeros(len(labels)), None, labels))
    found = try_held_out(
        params.method, lambda on: _fitted(params, head, counts, on, labels).head, head, validation, seed
    )
    made = _fitted(params, head, counts, validation, labels) if found.applied else plain
    return ChangedHead(made.head, made.said | found.described(), held_out=found.logits)


def _fitted(
    params: AfterTraining, head: LinearHead, counts: NDArray[np.int64], on: Clips, labels: Sequence[str]
) -> ChangedHead:
    """Change a head by the params with the best macro-F1 on some clips."""
    if isinstance(params, ClassThresholds):
        offsets = fit_offsets(head.logits(on.embeddings), on.targets, on.of_clip)
        return ChangedHead(LinearHead(head.weight, head.bias + offsets), _said(params, offsets, None, labels))
    grid = NORM_TAUS if isinstance(params, TauNorm) else ADJUSTMENT_TAUS
    heads = {float(tau): _by_tau(params, head, counts, float(tau)) for tau in grid}
    tau = best_by_macro_f1({tau: on.logits(each) for tau, each in heads.items()}, on.targets)
    return ChangedHead(heads[tau], _said(params, np.zeros(len(labels)), tau, labels))


def _by_tau(
    params: TauNorm | PostHocLogitAdjustment, head: LinearHead, counts: NDArray[np.int64], tau: float
) -> LinearHead:
    return tau_normalised(head, tau) if isinstance(params, TauNorm) else adjusted(head, counts, tau)


def _said(
    params: AfterTraining, offsets: NDArray[np.float64], tau: float | None, labels: Sequence[str]
) -> dict[str, Any]:
    if isinstance(params, ClassThresholds):
        return {"offsets": dict(zip(labels, offsets.tolist(), strict=True))}
    return {"tau": tau, "chosen_on": "validation"}


def head_on_embeddings(
    embeddings: NDArray[np.float32],
    names: NDArray[np.str_],
    labels: Sequence[str],
    balance: HeadOnly,
    seed: int,
    device: str,
) -> ChangedHead:
    """Balance the training clips' embeddings, (num_clips, dim), and train a head on them."""
    resampling = balance.resampling if isinstance(balance, Decoupled) else balance.method
    scaling = Scaling.of(embeddings)
    standard = scaling.apply(embeddings)
    samples = balance_embeddings(standard, names, resampling, balance, seed)
    index = {name: i for i, name in enumerate(labels)}
    targets = np.array([index[name] for name in samples.labels.tolist()])
    head = train_head(samples.embeddings(standard), targets, len(labels), balance.penalty, device).unscaled(scaling)
    said = {"layer": balance.layer, "resampling": resampling, "blended_as_smote": list(samples.made_by_smote)}
    return ChangedHead(head, said, samples)


def report_rows(
    samples: SyntheticSamples,
    embeddings: NDArray[np.float32],
    training: pd.DataFrame,
    clips: pd.DataFrame,
    balanced: Balanced,
    folder: Path,
) -> Balanced:
    """Write the clips that each training row of a head is derived from, and a plot.

    Args:
        samples: The rows.
        embeddings: Embeddings of the training clips, shape (num_clips, dim).
        training: The training clips, in the same order.
        clips: The clips table with its splits.
        balanced: The clips that the encoder was trained on.
        folder: Gets rows.parquet and embeddings.png.

    Returns:
        `balanced` with the counts that the head was trained on.

    Raises:
        LeakageError: A row is derived from a clip that is not in the training split.
    """
    table = samples.table(training["clip_id"].to_numpy(object))
    used = pd.concat([table["clip_id"], table["other_clip_id"].dropna()]).unique()
    positions = pd.Index(clips["clip_id"]).get_indexer(used)
    check_training_only(clips, positions, used)
    write_table(table, folder / "rows.parquet")
    rng = np.random.default_rng(0)
    drawn = np.sort(rng.permutation(len(table))[:_DRAWN_ROWS])
    points = PCA(2, random_state=0).fit(embeddings).transform(samples.embeddings(embeddings)[drawn])
    synthetic = (table["kind"] == "synthetic").to_numpy()
    draw_embeddings(points, samples.labels[drawn], synthetic[drawn], folder / "embeddings.png")
    kinds = {kind: int((table["kind"] == kind).sum()) for kind in ("original", "copy", "synthetic")}
    kinds["left_out"] = len(training) - kinds["original"]
    return replace(balanced, counts_after=class_counts(samples.labels), rows_of_kind=kinds)


def _write(model: PreTrainedModel, extractor: Any, head: LinearHead, folder: Path) -> None:
    model.to(torch.device("cpu"))
    write_head(model, head)
    save_model(model, extractor, folder)
