"""A map of the test clips: their embeddings in two dimensions, so that clips that the model takes for similar are near.

Embeddings are reduced by PCA, and then by t-SNE.

Source:
    van der Maaten and Hinton 2008, "Visualizing Data using t-SNE", Journal of Machine Learning Research 9.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from audiocls.batches import Collator
from audiocls.errors import counted
from audiocls.features import open_clips
from audiocls.files import write_table
from audiocls.models import labels_of, pooled_embeddings
from audiocls.splits import PreparedData

PROJECTION: Final = "projection.parquet"
MOST_BY_TSNE: Final = 5_000
"""More clips are projected by PCA alone: t-SNE of 10,000 takes three times as long."""

_FEWEST_BY_TSNE: Final = 10
_DIMENSIONS: Final = 50
_PERPLEXITY: Final = 30.0
_ITERATIONS: Final = 500


def write_projection(
    model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData, folder: Path
) -> str:
    """Write `projection.parquet`, with `clip_id`, `x` and `y` of the test clips.

    Args:
        model: On the device to compute on.
        extractor: Its feature extractor.
        clips: The test clips, rows of the clips table. Of a long clip, the middle is embedded.
        data: The run's.
        folder: Gets the table.

    Returns:
        What was left out, in a sentence; "" if nothing was.
    """
    (folder / PROJECTION).unlink(missing_ok=True)
    most, seed = data.params.evaluation.projection_clips, data.params.seed
    if not most or clips.empty:
        return ""
    drawn = clips if len(clips) <= most else clips.sample(most, random_state=seed).sort_index()
    places = project(_embeddings(model, extractor, drawn, data), seed)
    table = pd.DataFrame({"clip_id": drawn["clip_id"].to_numpy(), "x": places[:, 0], "y": places[:, 1]})
    write_table(table, folder / PROJECTION)
    left_out = len(clips) - len(drawn)
    if not left_out:
        return ""
    return f"{counted(left_out, 'test clip is', 'test clips are')} not in {PROJECTION}: evaluation.projection_clips."


def _embeddings(model: PreTrainedModel, extractor: Any, clips: pd.DataFrame, data: PreparedData) -> NDArray[np.float32]:
    # Stored features are of windows, and not of whole test clips.
    dataset = open_clips(clips, labels_of(model), extractor, replace(data, features=None))
    collator = Collator(extractor, data.params.audio, leave_to_device=model.device.type != "cpu")
    found = []
    for batch in DataLoader(dataset, batch_size=data.params.training.eval_batch_size, collate_fn=collator):
        inputs = collator.finish({name: tensor.to(model.device) for name, tensor in batch.items()})
        found.append(pooled_embeddings(model, inputs).float().cpu().numpy())
    return np.concatenate(found)


def project(embeddings: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Return the embeddings, (num_clips, dim), in two dimensions, (num_clips, 2); the same for the same seed."""
    count, dimensions = embeddings.shape
    if not embeddings.std(axis=0).any():  # a single clip, or clips that the model cannot tell apart
        return np.zeros((count, 2), np.float32)
    by_tsne = _FEWEST_BY_TSNE <= count <= MOST_BY_TSNE
    kept = min(_DIMENSIONS if by_tsne else 2, count, dimensions)
    reduced = PCA(kept, svd_solver="full" if min(count, dimensions) < _DIMENSIONS else "randomized", random_state=seed)
    found = reduced.fit_transform(embeddings).astype(np.float32)
    found = np.pad(found, ((0, 0), (0, max(0, 2 - kept))))
    if not by_tsne:
        return found[:, :2]
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", max_iter=_ITERATIONS, random_state=seed, n_jobs=1)
    places: NDArray[np.float32] = tsne.fit_transform(found)
    return places
