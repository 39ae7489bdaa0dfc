"""Two processes on the CPU train as one does with the doubled batch."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_configs import TINY_CONFIGS

from audiocls.balance.selection import balance
from audiocls.errors import ParamsError, TrainingError
from audiocls.params.model import ModelParams
from audiocls.params.run import RunParams
from audiocls.sources.manifest import list_clips
from audiocls.splits.assignment import assign_splits
from audiocls.splits.prepared_data import PreparedData
from audiocls.training.batch_trainer import BatchTrainer
from audiocls.training.distributed import _error_of, _hand_on, _run, join_training, main, write_job
from audiocls.training.fitting import fit_here
from audiocls.training.job import TrainingJob
from audiocls.training.losses import CrossEntropy
from audiocls.training.machines import Machines, machines
from audiocls.training.resumption import last_checkpoint
from audiocls.training.run import fit
from audiocls.training.torchrun import end_with_the_parent
from audiocls.waveforms.corpus import collect_corpus

FAMILY = "audio-spectrogram-transformer"  # layer norms: batch norms would see each process's clips alone
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
AUGMENTATION = [{"kind": "noise"}, {"kind": "gain", "probability": 0.5}, {"kind": "shift"}]


def run_params(workspace: Path, tones: Path, **training) -> RunParams:
    return RunParams.model_validate(
        {
            "workspace": str(workspace),
            "data": {"source": "folder", "path": str(tones), "group_by": "file"},
            "audio": {"max_seconds": 0.2},
            "model": {"family": FAMILY, "config": TINY_CONFIGS[FAMILY] | NO_DROPOUT},
            "balance": {"method": "oversample", "counts": {"low": 18, "high": 14, "middle": 16}},
            "augmentation": AUGMENTATION,
            "training": {"learning_rate": 1.0e-3, "epochs": 2, "eval_batch_size": 3, **training},
        }
    )


@pytest.fixture(scope="module")
def prepared(tones, tmp_path_factory, fill_store):
    """(split clips, balanced, waveform store): 48 clips a pass, some of them copies, cut at random and augmented."""
    workspace = tmp_path_factory.mktemp("prepared")
    params = run_params(workspace, tones)
    manifest = list_clips(params.data, workspace)
    corpus = collect_corpus(manifest, fill_store(manifest, workspace), workspace)
    splits = assign_splits(corpus.clips, params.split, params.seed, workspace)
    return splits, balance(splits, params.balance, params.seed, workspace), corpus.store


def job_of(prepared, params: RunParams, folder: Path, checkpoint: Path | None = None) -> TrainingJob:
    splits, balanced, store = prepared
    return TrainingJob(PreparedData(splits, store, params), balanced, folder, checkpoint)


@pytest.fixture(scope="module")
def alone(prepared, tones, tmp_path_factory):
    """(metrics by step, weights) of one process with the doubled batch."""
    folder, log = tmp_path_factory.mktemp("alone"), []
    job = job_of(prepared, run_params(folder, tones, batch_size=8), folder)
    model = fit(job.data, job.balanced, folder, lambda *said: log.append(said))
    return log, load_file(model.folder / "model.safetensors")


def are_alike(alone, log, folder: Path) -> bool:
    """Whether metrics by step, and the weights that were saved, are those of one process, but for rounding."""
    metrics, weights = alone
    assert len(metrics) == 5  # what the spectrograms are normalised by, two lines of the log, two of the validation
    assert [step for _, step in log] == [step for _, step in metrics]
    for (found, _), (expected, _) in zip(log, metrics, strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
    found = load_file(folder / "model" / "model.safetensors")
    return all((tensor - found[name]).abs().max() < 1e-3 for name, tensor in weights.items())


def begin(train: Callable[[], object], variables: dict[str, str], status: int = 99) -> multiprocessing.Process:
    """Run a function in a process with some environment variables; it ends with `status` when the function returns."""

    def run() -> None:
        os.environ |= {"OMP_NUM_THREADS": "1"} | variables
        train()
        os._exit(status)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def test_two_machines_train_as_one_process_with_the_doubled_batch(prepared, alone, tones, tmp_path, monkeypatch):
    params, log = run_params(tmp_path, tones, batch_size=4), []
    meeting = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": free_port()}
    other = begin(lambda: join_training(params), meeting | {"PET_NODE_RANK": "1"})
    for name, value in (meeting | {"PET_NODE_RANK": "0", "OMP_NUM_THREADS": "1"}).items():
        monkeypatch.setenv(name, value)
    job = job_of(prepared, params, tmp_path)
    model = fit(job.data, job.balanced, tmp_path, lambda *said: log.append(said))
    other.join(60)
    assert other.exitcode == 99
    assert model.folder == tmp_path / "model"
    assert model.steps == 12
    assert are_alike(alone, log, tmp_path)


def begin_rank(
    rank: int, prepared, params: RunParams, folder: Path, port: str, stop_step: int | None = None, by=signal.SIGKILL
):
    """Train as one of two processes; rank 0 appends what it measures to a file, and may get a signal at a step."""

    def log(metrics, step):
        with (folder / "log").open("a") as file:
            file.write(json.dumps([metrics, step]) + "\n")
        if step == stop_step:
            os.kill(os.getpid(), by)

    checkpoint = last_checkpoint(folder / "checkpoints", {"clips": prepared[0]})
    job = job_of(prepared, params, folder, checkpoint)
    return begin(lambda: fit_here(job, log), rank_variables(rank, port))


def rank_variables(rank: int, port: str) -> dict[str, str]:
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    return ranks | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def test_two_processes_killed_in_the_second_pass_go_on_to_the_same_weights(prepared, alone, tones, tmp_path):
    params = run_params(tmp_path, tones, batch_size=4)
    for stop_step, exit_codes in ((10, [-signal.SIGKILL, 1]), (None, [99, 99])):
        port = free_port()
        ranks = [begin_rank(rank, prepared, params, tmp_path, port, stop_step) for rank in range(2)]
        for process in ranks:
            process.join(60)
        assert [process.exitcode for process in ranks] == exit_codes
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [step for _, step in said] == [0, 1, 6, 10, 0, 10, 12]
    # After it goes on, the first line of the log is the mean of fewer steps.
    assert are_alike(alone, said[:4] + said[6:], tmp_path)


def test_two_processes_share_the_windows_that_one_would_draw(prepared, tones, tmp_path, monkeypatch):
    chunk = {"chunk": {"seconds": 0.2, "hop": 0.05, "per_epoch": 2}}  # of 3 or 4 in a file, in 48 files an epoch
    prepare = BatchTrainer._prepare_inputs

    def noted(trainer, inputs):
        if "origin" in inputs:  # a seed is that of a window in an epoch
            with (Path(trainer.args.output_dir) / f"seeds-{os.environ.get('RANK', 'alone')}").open("a") as file:
                file.write(json.dumps(inputs["origin"].seeds) + "\n")
        return prepare(trainer, inputs)

    def seeds(folder: Path, rank: str) -> list[list[int]]:
        return [json.loads(line) for line in (folder / "checkpoints" / f"seeds-{rank}").read_text().splitlines()]

    def chunked(folder: Path, batch_size: int) -> RunParams:
        (folder / "checkpoints").mkdir(parents=True)
        params = run_params(folder, tones, batch_size=batch_size)
        return RunParams.model_validate(params.model_dump(mode="json") | {"audio": chunk})

    monkeypatch.setattr(BatchTrainer, "_prepare_inputs", noted)
    one, two, port = tmp_path / "one", tmp_path / "two", free_port()
    fit_here(job_of(prepared, chunked(one, 8), one), lambda metrics, step: None)
    params = chunked(two, 4)
    ranks = [begin_rank(rank, prepared, params, two, port) for rank in range(2)]
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [99, 99]
    steps = [sorted(batch) for batch in seeds(one, "alone")]
    assert len(steps) == 2 * 48 * 2 / 8
    assert steps == [sorted(a + b) for a, b in zip(seeds(two, "0"), seeds(two, "1"), strict=True)]


def test_processes_that_leave_out_layers_train_with_activations_computed_anew(prepared, tones, tmp_path):
    config = TINY_CONFIGS["hubert"] | {"layerdrop": 0.5}
    plain = run_params(tmp_path, tones, batch_size=4, max_steps=4, gradient_checkpointing=True)
    model = ModelParams(family="hubert", config=config)
    params, port = plain.model_copy(update={"model": model, "augmentation": []}), free_port()
    ranks = [begin_rank(rank, prepared, params, tmp_path, port) for rank in range(2)]
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [99, 99]


def test_a_loss_that_is_no_number_in_one_process_ends_all_and_names_its_clips(prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, batch_size=4, max_steps=20)
    job_file, port = write_job(job_of(prepared, params, tmp_path)), free_port()

    def train_as(rank: int) -> None:
        os.dup2(os.pipe()[0], 0)  # the parent that it would end with
        sys.argv[1:] = [str(job_file)]
        if rank == 1:
            CrossEntropy.forward = lambda self, logits, targets, progress: logits.sum() * float("nan")
        with (tmp_path / f"rank-{rank}").open("w") as sys.stdout:
            status = main()
        os._exit(status)

    ranks = [begin(lambda rank=rank: train_as(rank), rank_variables(rank, port)) for rank in range(2)]
    for process in ranks:
        process.join(60)
    assert [process.exitcode for process in ranks] == [1, 1]
    made: dict[str, dict[str, str]] = {}
    for rank in range(2):
        _hand_on((tmp_path / f"rank-{rank}").read_text().splitlines(), lambda metrics, step: None, made)
    error = _error_of(made, 1)
    assert isinstance(error, TrainingError)
    assert re.match(r"the loss is nan at step 1, in a batch of the clips (\S+\.wav,? ?(and )?){4}", str(error))


def test_two_processes_of_which_one_is_interrupted_save_the_same_step_and_go_on(prepared, alone, tones, tmp_path):
    params = run_params(tmp_path, tones, batch_size=4)
    for stop_step, exit_codes in ((1, [1, 1]), (None, [99, 99])):
        port = free_port()
        ranks = [begin_rank(rank, prepared, params, tmp_path, port, stop_step, signal.SIGINT) for rank in range(2)]
        for process in ranks:
            process.join(60)
        assert [process.exitcode for process in ranks] == exit_codes  # KeyboardInterrupt ends a process with 1
        if stop_step is not None:
            (checkpoint,) = (tmp_path / "checkpoints").glob("checkpoint-*")
            assert checkpoint.name == "checkpoint-2"  # the step after the signal's
            assert {"rng_state_0.pth", "rng_state_1.pth", "trainer_state.json"} <= {
                path.name for path in checkpoint.iterdir()
            }
    said = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [step for _, step in said] == [0, 1, 0, 6, 10, 12]
    metrics, weights = alone
    assert said[-1][0] == pytest.approx(metrics[-1][0], rel=1e-3, abs=1e-4)
    found = load_file(tmp_path / "model" / "model.safetensors")
    assert all((tensor - found[name]).abs().max() < 1e-3 for name, tensor in weights.items())


INTERRUPT = "import os, signal, sys, time; os.kill(os.getppid(), signal.SIGINT); "


def test_ctrl_c_asks_the_processes_for_a_checkpoint_and_lets_them_end(tmp_path):
    written = tmp_path / "written"
    processes = INTERRUPT + f"open({str(written)!r}, 'wb').write(os.read(0, 1))"
    with pytest.raises(KeyboardInterrupt):
        _run([sys.executable, "-c", processes], lambda metrics, step: None)
    assert written.read_bytes() == b"!"


def test_a_second_ctrl_c_ends_the_processes_at_once():
    processes = INTERRUPT + "os.read(0, 1); os.kill(os.getppid(), signal.SIGINT); signal.pause()"
    with pytest.raises(KeyboardInterrupt):
        _run([sys.executable, "-c", processes], lambda metrics, step: None)


def test_a_machine_ends_when_another_was_interrupted():
    said = 'print(\'audiocls-event {"kind": "interrupted", "interrupted": true}\')'
    with pytest.raises(KeyboardInterrupt):
        _run([sys.executable, "-c", said], lambda metrics, step: None)


def test_only_the_process_that_would_save_takes_what_the_parent_asks():
    (reading, writing), (hearing, telling) = os.pipe(), os.pipe()

    def launch():
        os.close(writing)
        os.dup2(reading, 0)
        end_with_the_parent()
        begin(lambda: (end_with_the_parent(lambda: os.write(telling, b"asked")), signal.pause()), {}).join()

    process = begin(launch, {})
    os.close(telling)
    os.write(writing, b"!")
    assert os.read(hearing, 9) == b"asked"
    assert process.is_alive()
    os.close(writing)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


def test_a_process_ends_when_the_one_that_began_it_is_killed(tmp_path):
    reading, writing = os.pipe()

    def train_until_the_parent_is_gone():
        os.close(writing)
        os.dup2(reading, 0)
        end_with_the_parent()
        signal.pause()

    process = begin(train_until_the_parent_is_gone, {})
    assert process.is_alive()
    os.close(writing)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"PET_NNODES": "1:4"}, "PET_NNODES = 1:4"),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "2"}, "this one's rank, from 0"),
        ({"PET_NNODES": "2", "PET_MASTER_ADDR": "a", "PET_RDZV_BACKEND": "c10d"}, "PET_RDZV_BACKEND = c10d"),
        ({"PET_NNODES": "2", "PET_NODE_RANK": "1"}, "set PET_MASTER_ADDR too"),
    ],
)
def test_machines_that_cannot_find_each_other_are_told_so(variables, message, monkeypatch):
    assert machines() == Machines(1, 0, "")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ParamsError, match=message):
        machines()


def test_a_job_file_holds_all_that_a_process_needs(prepared, tones, tmp_path):
    params = run_params(tmp_path, tones, processes=2)
    job = job_of(prepared, params, tmp_path / "run", tmp_path / "checkpoint-7")
    weighted = replace(job.balanced, class_weights={"high": 0.5, "low": 1.5, "middle": 1.0})
    for each in (job, replace(job, balanced=weighted, data=replace(job.data, features=tmp_path / "features"))):
        assert TrainingJob.from_json(write_job(each).read_text()) == each


def test_what_the_first_process_says_is_handed_on(capsys, caplog):
    events = [
        {"kind": "metrics", "metrics": {"train/loss": 0.5}, "step": 3},
        {"kind": "log", "logger": "audiocls.training.fitting", "level": 30, "message": "50 % of it"},
        {"kind": "error", "error": {"type": "ParamsError", "message": "model.pretrained = x: cannot be loaded"}},
    ]
    lines = ["a library says something\n", *(f"audiocls-event {json.dumps(event)}\n" for event in events)]
    seen, made = [], {}
    _hand_on(lines, lambda metrics, step: seen.append((metrics, step)), made)
    assert seen == [({"train/loss": 0.5}, 3)]
    assert "50 % of it" in caplog.text
    assert capsys.readouterr().err == "a library says something\n"
    error = _error_of(made, 1)
    assert isinstance(error, ParamsError)
    assert str(error) == "model.pretrained = x: cannot be loaded"
    assert "status 9" in str(_error_of({}, 9))
