"""The plain way to make batches of utterances: read, pad and stack one after the other.

This is what a straightforward input pipeline does with soundfile and numpy. It makes the same
batches as ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray


def one(
    path: Path, target: Sequence[int], max_audio_length: int, max_target_length: int
) -> dict[str, NDArray[Any]]:
    """A finished row from the file of an utterance and its pieces."""
    samples, _ = soundfile.read(path, dtype="int16")
    more, rest = max_audio_length - len(samples), max_target_length - len(target)
    return {
        "inputs": np.pad(samples.astype(np.float32), (0, more)),
        "input_paddings": np.pad(
            np.zeros(len(samples), np.float32), (0, more), constant_values=1.0
        ),
        "targets": np.pad(np.asarray(target, np.int32), (0, rest)),
        "target_paddings": np.pad(
            np.zeros(len(target), np.float32), (0, rest), constant_values=1.0
        ),
    }


def batches(
    utterances: Iterable[tuple[Path, Sequence[int]]],
    size: int,
    max_audio_length: int,
    max_target_length: int,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Stacks finished rows; a rest that fills no batch is dropped."""
    waiting = []
    for path, target in utterances:
        waiting.append(one(path, target, max_audio_length, max_target_length))
        if len(waiting) == size:
            yield {name: np.stack([made[name] for made in waiting]) for name in waiting[0]}
            waiting = []
