#!/usr/bin/env python3
"""Compare the speed of our training with the plain recipe and with the upper limit, all in one process.

    python benchmarks/train_speed.py rates [--manifest data/phrases/manifest.csv] [--clips 512] [--rounds 5]
    python benchmarks/train_speed.py whole [--manifest ...] [--clips 512] [--rounds 3] [--epochs 3]
    python benchmarks/train_speed.py rates --device cuda --batch-size 128 [--compile]

rates  Clips per second within an epoch, without evaluation and checkpoints. Ours is the project's own `fit` from a
       filled store; the recipe is `plain_recipe.py`; the limit is the same model and optimizer on batches in
       memory, with our optimized layers and with torch's own convolutions (`plain_limit`).
whole  Seconds from the recordings to the model after some epochs, each with evaluation and a checkpoint. Ours starts
       with an empty store.

The sides alternate in rounds, and the medians are printed as a JSON line; the first round is a warm-up. All use the
same clips, batch size, clip length, precision and number of threads. Times and ratios are reported in wall-clock time
and in CPU time (`cpu_`), which other load affects less. On the CPU, the model is a small wav2vec2, and the clips are
recordings, cut at 2 s, if a manifest is given. With `--device cuda`, the model has the shape of wav2vec2-base, the
clips are synthetic and last one second, precision is bf16, and GPU utilization and memory are printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

import numpy as np
import pandas as pd
import soundfile
import torch
import transformers
from measuring import Cost, Meter
from plain_recipe import build_recipe, decoder
from torch.nn import functional as F

from audiocls.balance.selection import Balanced, balance
from audiocls.batches.dataset import ClipDataset, Collator
from audiocls.models.families import build_model
from audiocls.params.run import RunParams
from audiocls.sources import class_names
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.arguments import prepare_model
from audiocls.training.fitting import fit_here
from audiocls.training.job import TrainingJob
from audiocls.training.optimizers import parameter_groups
from audiocls.waveforms.corpus import collect_corpus
from audiocls.waveforms.mapped import MappedWaveforms
from audiocls.waveforms.shards import write_shard
from audiocls.waveforms.store import plan_store

RATE_HZ = 16_000
SMALL = {
    "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 192, "conv_dim": [32] * 7,
}  # fmt: skip
LENGTHS_SECONDS = (0.3, 5.0)
"""Of the recordings that are taken: the recipe evaluates whole clips, and one of minutes would fill the memory."""


class Prepared(NamedTuple):
    """Clips that are ready to be trained on."""

    splits: Path
    balanced: Balanced
    store: Path


def main() -> int:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = recordings(arguments, folder) if arguments.manifest else made_clips(arguments, folder)
        params = run_params(arguments, table, folder / "workspace")
        prepared = fill(params)
        measured = (rates if arguments.part == "rates" else whole)(arguments, params, prepared, folder)
    print(json.dumps({"benchmark": f"train_speed {arguments.part}"} | settings(arguments) | measured))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Our training against the plain recipe and the bare limit.")
    parser.add_argument("part", choices=("rates", "whole"))
    parser.add_argument("--manifest", type=Path, help="a table of recordings with path, label and split")
    parser.add_argument("--clips", type=int, default=512, help="for training; an eighth as many for validation")
    parser.add_argument("--epochs", type=int, default=3, help="of `whole`")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch, on all sides")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--recipe-workers", type=int, default=0, help="processes of the recipe's data loader")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="torch.compile on all sides")
    return parser.parse_args()


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    gpu = torch.cuda.get_device_name() if arguments.device == "cuda" else None
    return {name: value for name, value in vars(arguments).items() if name not in ("part", "manifest")} | {
        "made_of": "recordings" if arguments.manifest else "made audio",
        "gpu": gpu,
        "recipe_decodes_with": decoder(),
    }


def recordings(arguments: argparse.Namespace, folder: Path) -> Path:
    """Write a table of some recordings that either side can read."""
    table = pd.read_csv(arguments.manifest).sample(frac=1.0, random_state=1)
    table["path"] = [str(arguments.manifest.parent.absolute() / path) for path in table["path"]]
    table = table[[usable(path) for path in table["path"]]]
    if "split" not in table:
        table["split"] = np.random.default_rng(1).choice(["train", "validation", "test"], len(table), p=[0.7, 0.2, 0.1])
    few = max(16, arguments.clips // 8)
    parts = [table[table["split"] == split] for split in ("train", "validation", "test")]
    chosen = pd.concat([part.head(number) for part, number in zip(parts, (arguments.clips, few, few), strict=True)])
    return write_csv(chosen[["path", "label", "split"]], folder)


def usable(path: str) -> bool:
    least, most = LENGTHS_SECONDS
    information = soundfile.info(path)
    return least <= information.duration <= most and np.abs(soundfile.read(path)[0]).max() > 0.01


def made_clips(arguments: argparse.Namespace, folder: Path) -> Path:
    """Write one-second WAV files of tones in noise, two classes."""
    rng = np.random.default_rng(1)
    time_seconds = np.arange(RATE_HZ) / RATE_HZ
    few = max(16, arguments.clips // 8)
    rows = []
    (folder / "made").mkdir()
    for i, split in enumerate(["train"] * arguments.clips + ["validation"] * few + ["test"] * few):
        tone = 0.3 * np.sin(2 * np.pi * (300, 2_000)[i % 2] * time_seconds + rng.uniform(0, 6))
        path = folder / "made" / f"{i:06}.wav"
        soundfile.write(path, tone + 0.05 * rng.standard_normal(RATE_HZ), RATE_HZ)
        rows.append((str(path), ("low", "high")[i % 2], split))
    return write_csv(pd.DataFrame(rows, columns=["path", "label", "split"]), folder)


def write_csv(clips: pd.DataFrame, folder: Path) -> Path:
    clips.to_csv(folder / "clips.csv", index=False)
    return folder / "clips.csv"


def run_params(arguments: argparse.Namespace, table: Path, workspace: Path) -> RunParams:
    on_gpu = arguments.device == "cuda"
    return RunParams.model_validate(
        {
            "workspace": workspace,
            "data": {"source": "table", "path": table, "split_column": "split"},
            "split": {"duplicates": "move"},
            "audio": {"max_seconds": 1.0 if on_gpu else 2.0},
            "model": {"family": "wav2vec2", "config": {} if on_gpu else SMALL},
            "training": {
                "epochs": 1,
                "batch_size": arguments.batch_size,
                "learning_rate": 1.0e-4,
                "device": arguments.device,
                "precision": "bf16" if on_gpu else "fp32",
                "compile": arguments.compile,
            },
        }
    )


def fill(params: RunParams) -> Prepared:
    """Do all that comes before training, as the flow does: the store is filled in two threads."""
    manifest = list_clips(params.data, params.workspace)
    plan = plan_store(manifest, params.audio, params.workspace)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(partial(write_shard, params=params.audio), plan.shards))
    corpus = collect_corpus(manifest, plan, params.workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, params.workspace)
    return Prepared(splits, balance(splits, params.balance, params.seed, params.workspace), corpus.store)


def rates(arguments: argparse.Namespace, params: RunParams, prepared: Prepared, folder: Path) -> dict[str, Any]:
    table = pd.read_parquet(prepared.splits)
    clips = int((table["split"] == "train").sum())
    batches = in_memory(table, params, prepared.store)
    # Ours and its limit one after the other, and every other round the other way round: neighbours of these cores come
    # and go, and what is compared closely should have the same ones.
    sides: dict[str, Callable[[], Meter]] = {
        "recipe": lambda: train_recipe(params, table, folder / "recipe", arguments.recipe_workers),
        "ours": lambda: train_ours(params, prepared, folder / "ours"),
        "limit": lambda: train_bare(params, table, batches, as_ours=True),
        "plain_limit": lambda: train_bare(params, table, batches, as_ours=False),
    }
    orders = [list(sides), list(sides)[::-1]]
    rounds = [{name: sides[name]() for name in orders[i % 2]} for i in range(arguments.rounds + 1)][1:]
    found: dict[str, Any] = {"training_clips": clips}
    for name in sides:
        found[f"{name}_clips_per_second"] = round(statistics.median(clips / r[name].total.wall for r in rounds), 1)
    for name in sides:
        found |= rounds[-1][name].gpu_use(name)
    for name in ("recipe", "limit", "plain_limit"):
        found |= ratios(f"ours_over_{name}", [(r["ours"].total, r[name].total) for r in rounds])
    return found


def whole(arguments: argparse.Namespace, params: RunParams, prepared: Prepared, folder: Path) -> dict[str, Any]:
    training = params.training.model_copy(update={"epochs": arguments.epochs})
    table = pd.read_parquet(prepared.splits)

    def ours(number: int) -> Cost:
        anew = params.model_copy(update={"workspace": folder / f"whole-{number}", "training": training})
        return Meter.of(lambda: train_ours(anew, fill(anew), anew.workspace / "run"))

    def recipe(number: int) -> Cost:
        anew = params.model_copy(update={"training": training})
        return Meter.of(lambda: train_recipe(anew, table, folder / f"recipe-{number}", arguments.recipe_workers))

    rounds = [(ours(number), recipe(number)) for number in range(arguments.rounds + 1)][1:]
    return {
        "training_clips": int((table["split"] == "train").sum()),
        "ours_seconds": round(statistics.median(ours.wall for ours, _ in rounds), 2),
        "recipe_seconds": round(statistics.median(recipe.wall for _, recipe in rounds), 2),
    } | ratios("ours_over_recipe", rounds)


def ratios(name: str, pairs: list[tuple[Cost, Cost]]) -> dict[str, Any]:
    """Return how many times as fast the first of each pair is, round by round, and the medians."""
    wall = [theirs.wall / ours.wall for ours, theirs in pairs]
    cpu = [theirs.cpu / ours.cpu for ours, theirs in pairs]
    return {
        name: round(statistics.median(wall), 3),
        f"cpu_{name}": round(statistics.median(cpu), 3),
        f"{name}_by_round": [round(ratio, 3) for ratio in wall],
    }


def train_ours(params: RunParams, prepared: Prepared, folder: Path) -> Meter:
    meter = Meter()
    job = TrainingJob(PreparedData(prepared.splits, prepared.store, params), prepared.balanced, folder)
    fit_here(job, lambda metrics, step: None, callbacks=[meter])
    return meter


def train_recipe(params: RunParams, table: pd.DataFrame, folder: Path, workers: int) -> Meter:
    meter = Meter()
    torch.manual_seed(params.seed)
    labels = class_names(table)
    model, extractor = build_model(params.model, params.audio, labels)
    training = params.training
    shared = {
        "num_train_epochs": training.epochs,
        "learning_rate": training.learning_rate,
        "warmup_steps": training.warmup_fraction,
        "weight_decay": training.weight_decay,
        "per_device_train_batch_size": training.batch_size,
        "per_device_eval_batch_size": training.eval_batch_size,
        "dataloader_num_workers": workers,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "load_best_model_at_end": True,
        "metric_for_best_model": "accuracy",
        "bf16": training.precision == "bf16",
        "torch_compile": training.compile,
        "use_cpu": training.device == "cpu",
    }
    build_recipe(table, labels, model, extractor, params.audio.max_seconds, shared, [meter], folder).train()
    return meter


def in_memory(table: pd.DataFrame, params: RunParams, store: Path) -> list[dict[str, torch.Tensor]]:
    """Read the batches of an epoch, and put them where the model is."""
    clips = table[table["split"] == "train"].sample(frac=1.0, random_state=1)
    labels = class_names(table)
    dataset = ClipDataset(clips, MappedWaveforms(clips, store), labels, params.audio, training=True)
    collate = Collator(build_model(params.model, params.audio, labels)[1], params.audio)
    size = params.training.batch_size
    starts = range(0, len(clips), size)
    batches = [collate(dataset.__getitems__(range(i, min(i + size, len(clips))))) for i in starts]
    return [{name: tensor.to(params.training.device) for name, tensor in batch.items()} for batch in batches]


def train_bare(
    params: RunParams, table: pd.DataFrame, batches: list[dict[str, torch.Tensor]], *, as_ours: bool
) -> Meter:
    """Train an epoch in a loop that does nothing but what the weights need."""
    torch.manual_seed(params.seed)
    training = params.training
    model, _ = build_model(params.model, params.audio, class_names(table))
    if as_ours:
        prepare_model(model, training)
    model.to(training.device).train()
    optimizer = torch.optim.AdamW(parameter_groups(model, training), lr=training.learning_rate, fused=True)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, len(batches) // 10, len(batches))
    called = torch.compile(model) if training.compile else model
    meter = Meter()
    meter.start()
    for batch in batches:
        inputs = dict(batch)
        targets = inputs.pop("labels")
        with torch.autocast(training.device, torch.bfloat16, enabled=training.precision == "bf16"):
            logits = called(**inputs).logits
        F.cross_entropy(logits.float(), targets).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    meter.stop()
    return meter


if __name__ == "__main__":
    sys.exit(main())
