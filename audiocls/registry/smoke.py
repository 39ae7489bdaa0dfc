"""The smoke test of a version: a new process loads it, and it must answer some sounds as the run's model did.

The sounds are made, not recorded: they exist wherever the registry can be reached, and nobody's voice is stored in it.

    python -m audiocls.registry.smoke MODEL

prints the answers as JSON. The MLflow store is that of MLFLOW_TRACKING_URI.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from audiocls.errors import RegistryError
from audiocls.files import masked
from audiocls.inference import Classifier, Samples
from audiocls.registry.versions import Version

SMOKE_TAG: Final = "audiocls.smoke"
TOLERANCE: Final = 1e-4
_MOST_NUMBERS: Final = 4_000  # a tag holds 100,000 characters
_DIGITS: Final = 7
_TIMEOUT_SECONDS: Final = 600


def smoke_sounds(rate_hz: int, seconds: float) -> list[Samples]:
    """Make sounds of several kinds and lengths: a chirp, tones, noise, clicks, and one longer than the input."""
    rng = np.random.default_rng(19)

    def time(factor: float) -> NDArray[np.float64]:
        return np.arange(max(round(factor * seconds * rate_hz), rate_hz // 10)) / rate_hz

    whole, half, long = time(1.0), time(0.5), time(2.3)
    chirp = np.sin(2 * np.pi * (100 + 0.2 * rate_hz * whole / whole[-1]) * whole)
    tones = np.sin(2 * np.pi * 220 * half) + 0.5 * np.sin(2 * np.pi * 1_330 * half)
    clicks = (rng.random(len(whole)) < 20 / rate_hz) * rng.choice([-1.0, 1.0], len(whole))
    hum = rng.normal(0, 0.2, len(long)) * (1 + np.sin(2 * np.pi * 3 * long))
    sounds = [0.5 * chirp, 0.3 * tones, rng.normal(0, 0.1, len(whole)), clicks, hum]
    return [Samples(np.clip(sound, -1, 1).astype(np.float32), rate_hz) for sound in sounds]


def smoke_answers(model: str) -> dict[str, Any]:
    """Return the labels of a model, and its probabilities of the sounds, as many as a tag has room for."""
    classifier = Classifier.load(model, device="cpu", threads=1)
    audio = classifier.settings.audio
    most = max(1, _MOST_NUMBERS // len(classifier.labels))
    sounds: list[Any] = list(smoke_sounds(audio.sample_rate_hz, audio.max_seconds)[:most])
    answers = classifier.predict(sounds)
    rows = [
        [round(float(answer.probabilities[label]), _DIGITS) for label in classifier.labels]
        if answer.probabilities
        else answer.reason
        for answer in answers
    ]
    return {"labels": classifier.labels, "answers": rows}


def check_smoke(version: Version, store: str) -> None:
    """Load a version in a new process, and compare its answers with those that were noted when it was registered.

    Raises:
        RegistryError: It cannot be loaded, or answers differently.
    """
    said = version.tags.get(SMOKE_TAG)
    if said is None:
        raise RegistryError(
            f"{version.uri}: it has no tag {SMOKE_TAG}, so it cannot be checked. Register its run: audiocls register "
            f"{version.run_id}"
        )
    done = subprocess.run(
        [sys.executable, "-m", "audiocls.registry.smoke", version.uri],
        env=os.environ | {"MLFLOW_TRACKING_URI": store},
        capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RegistryError(f"{version.uri}: a new process cannot load it: {masked(last)}")
    _compare(json.loads(said), json.loads(done.stdout.splitlines()[-1]), version)


def _compare(expected: dict[str, Any], found: dict[str, Any], version: Version) -> None:
    if expected["labels"] != found["labels"]:
        raise RegistryError(f"{version.uri}: its labels are {found['labels']}, and were {expected['labels']}.")
    for number, (before, now) in enumerate(zip(expected["answers"], found["answers"], strict=True)):
        if isinstance(before, str) or isinstance(now, str):
            alike = before == now
        else:
            alike = float(np.abs(np.subtract(before, now)).max()) <= TOLERANCE
        if not alike:
            raise RegistryError(
                f"{version.uri}: its answer to smoke sound {number} is {now}, and was {before} when it was registered. "
                "Its files have changed, or a library computes otherwise; the champion stays as it is."
            )


def main(arguments: Sequence[str]) -> int:
    """Print the answers of a model."""
    (model,) = arguments
    print(json.dumps(smoke_answers(model)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
