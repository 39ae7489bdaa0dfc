"""Balanced embeddings: copies, what is left, and blends of neighbours, each row with the clips that it is made of.

imbalanced-learn blends rows of the identity matrix, and looks up neighbours among the embeddings that they stand for.
So what comes out says of each new row which clips it is between and how near to which, and the embeddings follow.
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
from audiocls.errors import BalanceError, name_some
from audiocls.params import BlendParams

# Of BorderlineSMOTE, and of the edited nearest neighbours; imbalanced-learn's defaults, as in the papers.
_BORDER_NEIGHBOURS = 10
_EDITING_NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Blends:
    """Rows to train a head on."""

    shares: Any
    """scipy CSR of shape (num_rows, num_clips): how much of each clip is in a row; each row's sum is 1."""
    labels: NDArray[np.str_]  # (num_rows,)
    blended_as_smote: tuple[str, ...] = ()  # the classes in which the method found no border

    def embeddings(self, of_clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the rows' embeddings, (num_rows, dim), from those of the clips, (num_clips, dim)."""
        mixed: NDArray[np.float32] = (self.shares @ of_clips).astype(np.float32)
        return mixed

    def kinds(self) -> NDArray[np.str_]:
        """Say of each row whether it is `synthetic`, the `original`, or a `copy` of a clip that stands before it."""
        parts = np.diff(self.shares.indptr)
        kinds = np.where(parts == 1, "copy", "synthetic").astype("<U9")
        single = np.flatnonzero(parts == 1)
        firsts = np.unique(self.shares.indices[self.shares.indptr[single]], return_index=True)[1]
        kinds[single[firsts]] = "original"
        return kinds

    def table(self, clip_ids: NDArray[np.object_]) -> pd.DataFrame:
        """List the rows: `label`, `kind`, `clip_id`, the `other_clip_id` of a blend, and the `share` of the first."""
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
    embeddings: NDArray[np.float32], labels: NDArray[np.str_], resampling: str, params: BlendParams, seed: int
) -> Blends:
    """Balance the embeddings of the training clips.

    Args:
        embeddings: Standardised, shape (num_clips, dim); neighbours are by their distances.
        labels: Classes, shape (num_clips,).
        resampling: `oversample`, `undersample`, or how to blend: `smote`, `borderline_smote`, `adasyn`, `smote_tomek`
            or `smote_enn`.
        params: How many rows of each class, how many neighbours, and what where there are too few.
        seed: Draws the rows.

    Raises:
        BalanceError: A class has too few clips, or none at the border, for the method; or none of its rows are left.

    Source:
        Chawla et al. 2002, "SMOTE", arXiv:1106.1813; Han et al. 2005, "Borderline-SMOTE"; He et al. 2008, "ADASYN";
        Batista et al. 2004, "A Study of the Behavior of Several Methods for Balancing Machine Learning Training Data".
    """
    counts = class_counts(labels)
    if len(counts) < 2:
        raise BalanceError(f"{resampling}: all {len(labels)} training clips are of one class; two can be balanced.")
    if resampling == "undersample":
        wanted = undersampled_counts(counts, params.ratio, params.counts)
    else:
        wanted = oversampled_counts(counts, params.ratio, params.counts, "balance")
    if resampling in ("oversample", "undersample"):
        rows = np.sort(draw(labels, wanted, np.random.default_rng([seed, 0])))
        return Blends(_identity(rows, len(labels)), labels[rows])
    return _clean(embeddings, _blend(embeddings, labels, resampling, wanted, params, seed), resampling)


def _identity(rows: NDArray[np.int64], num_clips: int) -> Any:
    """Return (len(rows), num_clips), in which each row is one clip."""
    return sparse.csr_matrix((np.ones(len(rows)), rows, np.arange(len(rows) + 1)), shape=(len(rows), num_clips))


@dataclass(frozen=True, slots=True)
class _Rows:
    """The clips that synthetic samples lie between, as rows of the identity matrix."""

    shares: Any  # scipy CSR, (num_rows, num_clips)
    labels: NDArray[np.str_]  # (num_rows,)
    embeddings: NDArray[np.float32]  # of the clips, (num_clips, dim)


def _blend(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.str_],
    resampling: str,
    wanted: dict[str, int],
    params: BlendParams,
    seed: int,
) -> Blends:
    rows, neighbours = _with_enough(labels, wanted, params, seed)
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
                    f"{resampling} finds nothing to blend in the class {name!r}: none of its {count} clips lies near "
                    "those of other classes. Take smote, or balance.no_border=smote to blend such classes by it."
                )
            as_smote.append(name)
            made = _new_rows(base, name, missing, "smote", k, seed)
        parts.append(made)
        names.append(np.full(missing, name, dtype=labels.dtype))
    shares = sparse.vstack(parts, format="csr")
    shares.eliminate_zeros()
    return Blends(shares, np.concatenate(names), tuple(as_smote))


def _with_enough(
    labels: NDArray[np.str_], wanted: dict[str, int], params: BlendParams, seed: int
) -> tuple[NDArray[np.int64], dict[str, int]]:
    """Return the clips, with copies of those in classes that have too few, and the neighbours to take in each class.

    Raises:
        BalanceError: A class has one clip, and its neighbours were to be lowered.
    """
    counts = class_counts(labels)
    short = {name for name, count in counts.items() if count <= params.neighbours and wanted[name] > count}
    if params.too_few == "lower_neighbours":
        single = sorted(name for name in short if counts[name] == 1)
        if single:
            raise BalanceError(
                f"{name_some(map(repr, single))}: one training clip has no neighbours of its class to be blended with. "
                "Set balance.too_few=oversample_first to repeat it, or leave the class out."
            )
        return np.arange(len(labels)), {n: min(params.neighbours, count - 1) for n, count in counts.items()}
    filled = {n: min(params.neighbours + 1, wanted[n]) if n in short else count for n, count in counts.items()}
    rng = np.random.default_rng([seed, 1])
    extra = [draw(labels, {name: filled[name]}, rng)[counts[name] :] for name in sorted(short)]
    return np.concatenate([np.arange(len(labels)), *extra]), dict.fromkeys(counts, params.neighbours)


def _new_rows(base: _Rows, name: str, missing: int, resampling: str, neighbours: int, seed: int) -> Any | None:
    """Blend `missing` rows of one class, CSR (missing, num_clips); None where the method finds none to blend."""
    count = int((base.labels == name).sum())

    def near(k: int) -> _NeighboursOfRows:
        return _NeighboursOfRows(k + 1, base.embeddings)

    match resampling:
        case "borderline_smote":
            border = min(_BORDER_NEIGHBOURS, len(base.labels) - 1)
            options = {"k_neighbors": near(neighbours), "m_neighbors": near(border), "random_state": seed}
            sampler = BorderlineSMOTE(sampling_strategy={name: count + missing}, **options)
        case "adasyn":
            # It rounds for each clip, by up to a half; so more are asked for, and what is too much is left away.
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
    """Nearest neighbours of rows of the identity matrix, by the embeddings of the clips that they stand for."""

    def __init__(self, n_neighbors: int, embeddings: NDArray[np.float32]) -> None:
        self.n_neighbors = n_neighbors
        self.embeddings = embeddings

    def fit(self, rows: Any) -> Self:
        """Take rows to search among."""
        self.search_ = NearestNeighbors(n_neighbors=self.n_neighbors).fit(self.embeddings[rows.indices])
        return self

    def kneighbors(self, rows: Any, return_distance: bool = True) -> Any:
        """Return what scikit-learn's own returns."""
        return self.search_.kneighbors(self.embeddings[rows.indices], return_distance=return_distance)

    def kneighbors_graph(self, rows: Any) -> Any:
        """Return what scikit-learn's own returns; imbalanced-learn asks whether it is there."""
        return self.search_.kneighbors_graph(self.embeddings[rows.indices])


def _clean(embeddings: NDArray[np.float32], blends: Blends, resampling: str) -> Blends:
    """Take out what smote_tomek and smote_enn take out.

    Raises:
        BalanceError: A class would have no rows left.
    """
    match resampling:
        case "smote_tomek":
            cleaner = TomekLinks(sampling_strategy="all")
        case "smote_enn":
            nearest = min(_EDITING_NEIGHBOURS, len(blends.labels) - 1)
            cleaner = EditedNearestNeighbours(sampling_strategy="all", n_neighbors=nearest)
        case _:
            return blends
    cleaner.fit_resample(blends.embeddings(embeddings), blends.labels)
    kept = np.sort(cleaner.sample_indices_)
    gone = sorted(set(blends.labels.tolist()) - set(blends.labels[kept].tolist()))
    if gone:
        raise BalanceError(
            f"{resampling} leaves nothing of {name_some(map(repr, gone))}, which lie among clips of other classes. "
            "Take smote."
        )
    return Blends(blends.shares[kept], blends.labels[kept], blends.blended_as_smote)
