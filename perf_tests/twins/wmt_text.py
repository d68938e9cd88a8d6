"""The plain way to make packed batches: tokenise, pack and pad one sentence after the other.

It makes the same batches as ours from the text, by SentencePiece and numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDES = ("inputs", "targets")


def pieces(processor: Any, pair: Sequence[str]) -> list[list[int]]:
    """Ids of both sentences of a pair, with the end."""
    return [[*processor.encode(sentence), processor.eos_id()] for sentence in pair]


def rows(
    pairs: Iterable[Sequence[str]], processor: Any, max_length: int, group: int
) -> Iterator[list[list[list[int]]]]:
    """Yields rows: lists of pairs of ids that fit into it; a row ends with its group."""
    row: list[list[list[int]]] = []
    used = [0, 0]
    for number, pair in enumerate(pairs):
        ids = pieces(processor, pair)
        wanted = [room + len(side) for room, side in zip(used, ids, strict=True)]
        if row and (max(wanted) > max_length or number % group == 0):
            yield row
            row, wanted = [], [len(side) for side in ids]
        row.append(ids)
        used = wanted


def padded(row: list[list[list[int]]], max_length: int) -> dict[str, NDArray[np.int32]]:
    """The arrays of a row, ``[max_length]``."""
    arrays = {}
    for place, side in enumerate(SIDES):
        ids, positions, segments = ([np.zeros(0, np.int32)] for _ in range(3))
        for number, pair in enumerate(row, start=1):
            sentence = np.array(pair[place], np.int32)
            ids.append(sentence)
            positions.append(np.arange(len(sentence), dtype=np.int32))
            segments.append(np.full(len(sentence), number, np.int32))
        for name, parts in (("", ids), ("_position", positions), ("_segmentation", segments)):
            array = np.concatenate(parts)
            arrays[side + name] = np.pad(array, (0, max_length - len(array)))
    return arrays


def batches(
    pairs: Iterable[Sequence[str]], processor: Any, max_length: int, size: int, group: int
) -> Iterator[dict[str, NDArray[Any]]]:
    """Stacks finished rows; a rest that fills no batch is dropped."""
    waiting = []
    for row in rows(pairs, processor, max_length, group):
        waiting.append(padded(row, max_length))
        if len(waiting) == size:
            batch: dict[str, NDArray[Any]] = {
                name: np.stack([made[name] for made in waiting]) for name in waiting[0]
            }
            yield batch | {"weights": (batch["targets"] > 0).astype(np.float32)}
            waiting = []
