"""Balanced embeddings: originals, copies and synthetic samples, each with the clips that it is derived from.

imbalanced-learn interpolates rows of the identity matrix, and searches neighbors among the embeddings that the rows
represent. Each new row then holds the weights of the clips that it lies between, from which its embedding follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from imblearn.over_sampling import ADASYN, SMOTE, BorderlineSMOTE
from imblearn.under_sampling import EditedNearestNeighbours, TomekLinks
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.neighbors import NearestNeighbors

from audiocls.balance.draws import class_counts, draw, oversampled_counts, undersampled_counts
from audiocls.errors import BalanceError, counted, name_some
from audiocls.params import SyntheticParams

# Neighbors of BorderlineSMOTE and of edited nearest neighbors: imbalanced-learn's defaults, as in the papers.
_BORDER_NEIGHBOURS = 10
_EDITING_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class SyntheticSamples:
    """Rows to train a head on: originals, copies and synthetic samples."""

    shares: Any
    """scipy CSR of shape (num_rows, num_clips): the weight of each clip in a row; each row sums to 1."""
    labels: NDArray[np.str_]  # (num_rows,)
    made_by_smote: tuple[str, ...] = ()  # classes in which the method found no clips near other classes

    def embeddings(self, of_clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the rows' embeddings, (num_rows, dim), from those of the clips, (num_clips, dim)."""
        mixed: NDArray[np.float32] = (self.shares @ of_clips).astype(np.float32)
        return mixed

    def kinds(self) -> NDArray[np.str_]:
        """Return for each row whether it is `synthetic`, an `original`, or a `copy` of an earlier row."""
        parts = np.diff(self.shares.indptr)
        kinds = np.where(parts == 1, "copy", "synthetic").astype("<U9")
        single = np.flatnonzero(parts == 1)
        firsts = np.unique(self.shares.indices[self.shares.indptr[single]], return_index=True)[1]
        kinds[single[firsts]] = "original"
        return kinds

    def table(self, clip_ids: NDArray[np.object_]) -> pd.DataFrame:
        """List the rows: `label`, `kind`, `clip_id`, `share` (its weight) and `other_clip_id` of synthetic samples."""
        start, stop = self.shares.indptr[:-1], self.shares.indptr[1:]
        others = np.where(stop - start == 2, clip_ids[self.shares.indices[stop - 1]], None)
        return pd.DataFrame(
            {
                "label": self.labels.astype(object),
                "kind": self.kinds().astype(object),
                "clip_id": clip_ids[self.shares.indices[start]],
                "other_clip_id": others,
                "share": self.shares.data[start],
            }
        )


def balance_embeddings(
    embeddings: NDArray[np.float32], labels: NDArray[np.str_], resampling: str, params: SyntheticParams, seed: int
) -> SyntheticSamples:
    """Balance the embeddings of the training clips.

    Args:
        embeddings: Standardized, shape (num_clips, dim); neighbors are found by Euclidean distance.
        labels: Classes, shape (num_clips,).
        resampling: `oversample`, `undersample`, `smote`, `borderline_smote`, `adasyn`, `smote_tomek` or `smote_enn`.
        params: Rows of each class, number of neighbors, and what to do if there are too few.
        seed: Seed of the draws.

    Raises:
        BalanceError: A class has too few clips for the method, none near other classes, or no rows left.

    Source:
        Chawla et al. 2002, "SMOTE", arXiv:1106.1813; Han et al. 2005, "Borderline-SMOTE"; He et al. 2008, "ADASYN";
        Batista et al. 2004, "A Study of the Behavior of Several Methods for Balancing Machine Learning Training Data".
    """
    counts = class_counts(labels)
    if len(counts) < 2:
        raise BalanceError(
            f"{resampling}: all {len(labels)} training clips are of one class; balancing needs at least two classes."
        )
    if resampling == "undersample":
        wanted = undersampled_counts(counts, params.ratio, params.counts)
    else:
        wanted = oversampled_counts(counts, params.ratio, params.counts, "balance")
    if resampling in ("oversample", "undersample"):
        rows = np.sort(draw(labels, wanted, np.random.default_rng([seed, 0])))
        return SyntheticSamples(_identity(rows, len(labels)), labels[rows])
    return _clean(embeddings, _add_synthetic(embeddings, labels, resampling, wanted, params, seed), resampling)


def _identity(rows: NDArray[np.int64], num_clips: int) -> Any:
    """Return (len(rows), num_clips), in which each row is one clip."""
    return sparse.csr_matrix((np.ones(len(rows)), rows, np.arange(len(rows) + 1)), shape=(len(rows), num_clips))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The clips that synthetic samples lie between, as rows of the identity matrix."""

    shares: Any  # scipy CSR, (num_rows, num_clips)
    labels: NDArray[np.str_]  # (num_rows,)
    embeddings: NDArray[np.float32]  # of the clips, (num_clips, dim)


def _add_synthetic(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.str_],
    resampling: str,
    wanted: dict[str, int],
    params: SyntheticParams,
    seed: int,
) -> SyntheticSamples:
    rows, neighbours = _with_enough_clips(labels, wanted, params, seed)
    base = _Rows(_identity(rows, len(labels)), labels[rows], embeddings)
    parts, names, as_smote = [base.shares], [base.labels], []
    for name, count in class_counts(base.labels).items():
        missing = wanted[name] - count
        if not missing:
            continue
        k = neighbours[name]
        made = _new_rows(base, name, missing, resampling, k, seed)
        if made is None:
            if params.no_border == "stop":
                raise BalanceError(
                    f"{resampling} finds no clips to interpolate in the class {name!r}: none of its "
                    f"{counted(count, 'clip')} is near other classes. Use smote, or set balance.no_border=smote to use "
                    "it for such classes."
                )
            as_smote.append(name)
            made = _new_rows(base, name, missing, "smote", k, seed)
        parts.append(made)
        names.append(np.full(missing, name, dtype=labels.dtype))
    shares = sparse.vstack(parts, format="csr")
    shares.eliminate_zeros()
    return SyntheticSamples(shares, np.concatenate(names), tuple(as_smote))


def _with_enough_clips(
    labels: NDArray[np.str_], wanted: dict[str, int], params: SyntheticParams, seed: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the clips, with copies in classes that have too few, and the number of neighbors for each class.

    Raises:
        BalanceError: A class has a single clip, and `too_few` is `lower_neighbours`.
    """
    counts = class_counts(labels)
    short = {name for name, count in counts.items() if count <= params.neighbours and wanted[name] > count}
    if params.too_few == "lower_neighbours":
        single = sorted(name for name in short if counts[name] == 1)
        if single:
            raise BalanceError(
                f"{name_some(map(repr, single))}: a single training clip has no neighbors in its class. "
                "Set balance.too_few=oversample_first to repeat it, or drop the class."
            )
        return np.arange(len(labels)), {n: min(params.neighbours, count - 1) for n, count in counts.items()}
    filled = {n: min(params.neighbours + 1, wanted[n]) if n in short else count for n, count in counts.items()}
    rng = np.random.default_rng([seed, 1])
    extra = [draw(labels, {name: filled[name]}, rng)[counts[name] :] for name in sorted(short)]
    return np.concatenate([np.arange(len(labels)), *extra]), dict.fromkeys(counts, params.neighbours)


def _new_rows(base: _Rows, name: str, missing: int, resampling: str, neighbours: int, seed: int) -> Any | None:
    """Return `missing` synthetic rows of a class, CSR (missing, num_clips); None if the method can make none."""
    count = int((base.labels == name).sum())

    def near(k: int) -> _NeighboursOfRows:
        return _NeighboursOfRows(k + 1, base.embeddings)

    match resampling:
        case "borderline_smote":
            border = min(_BORDER_NEIGHBOURS, len(base.labels) - 1)
            options = {"k_neighbors": near(neighbours), "m_neighbors": near(border), "random_state": seed}
            sampler = BorderlineSMOTE(sampling_strategy={name: count + missing}, **options)
        case "adasyn":
            # ADASYN rounds per clip, by up to a half. So more rows are requested, and the excess is dropped.
            asked = {name: count + missing + count}
            sampler = ADASYN(sampling_strategy=asked, n_neighbors=near(neighbours), random_state=seed)
        case _:
            asked = {name: count + missing}
            sampler = SMOTE(sampling_strategy=asked, k_neighbors=near(neighbours), random_state=seed)
    try:
        made = sampler.fit_resample(base.shares, base.labels)[0][len(base.labels) :]
    except RuntimeError as error:
        if "belong to the majority" not in str(error):
            raise
        return None
    if made.shape[0] == 0:
        return None
    kept = np.sort(np.random.default_rng([seed, 2]).choice(made.shape[0], missing, replace=False))
    return sparse.csr_matrix(made)[kept]


class _NeighboursOfRows(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Nearest neighbors of rows of the identity matrix, by the embeddings of the clips that they represent."""

    def __init__(self, n_neighbors: int, embeddings: NDArray[np.float32]) -> None:
        self.n_neighbors = n_neighbors
        self.embeddings = embeddings

    def fit(self, rows: Any) -> Self:
        """Fit on the rows to search."""
        self.search_ = NearestNeighbors(n_neighbors=self.n_neighbors).fit(self.embeddings[rows.indices])
        return self

    def kneighbors(self, rows: Any, return_distance: bool = True) -> Any:
        """Do as `NearestNeighbors.kneighbors`."""
        return self.search_.kneighbors(self.embeddings[rows.indices], return_distance=return_distance)

    def kneighbors_graph(self, rows: Any) -> Any:
        """Do as `NearestNeighbors.kneighbors_graph`; imbalanced-learn requires that it exists."""
        return self.search_.kneighbors_graph(self.embeddings[rows.indices])


def _clean(embeddings: NDArray[np.float32], samples: SyntheticSamples, resampling: str) -> SyntheticSamples:
    """Drop the rows that smote_tomek and smote_enn drop.

    Raises:
        BalanceError: A class would have no rows left.
    """
    match resampling:
        case "smote_tomek":
            cleaner = TomekLinks(sampling_strategy="all")
        case "smote_enn":
            nearest = min(_EDITING_NEIGHBOURS, len(samples.labels) - 1)
            cleaner = EditedNearestNeighbours(sampling_strategy="all", n_neighbors=nearest)
        case _:
            return samples
    cleaner.fit_resample(samples.embeddings(embeddings), samples.labels)
    kept = np.sort(cleaner.sample_indices_)
    gone = sorted(set(samples.labels.tolist()) - set(samples.labels[kept].tolist()))
    if gone:
        raise BalanceError(
            f"{resampling} leaves no rows of {name_some(map(repr, gone))}, whose clips lie among other classes. "
            "Use smote."
        )
    return SyntheticSamples(samples.shares[kept], samples.labels[kept], samples.made_by_smote)
