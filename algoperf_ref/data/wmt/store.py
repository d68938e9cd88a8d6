"""Tokens of a split on disk: written once, then read at random through memory maps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.files import atomic_directory, read_json, write_json
from algoperf_ref.data.wmt.pairs import Pair
from algoperf_ref.data.wmt.tokenizer import Tokenizer
from algoperf_ref.errors import MissingDataError, UserError

SIDES = ("inputs", "targets")
FORMAT = 1
_BLOCK = 20_000


@dataclass(frozen=True)
class StoreInfo:
    """What a split's tokens were made from.

    Attributes:
      format: version of the files.
      source: where the sentences came from.
      tokenizer: checksum of the tokenizer.
      max_length: longest sentence that is kept, in pieces with the end.
      num_pairs: pairs of the source.
      num_kept: pairs that are kept.
      num_too_long: pairs with a longer sentence, which are left out.
      num_empty: pairs with an empty sentence, which are kept.
      first_empty: number of the first of them, from 1; None if there is none.
      num_tokens: pieces that are kept, by side.
      sha256: checksum of the files.
    """

    format: int
    source: str
    tokenizer: str
    max_length: int
    num_pairs: int
    num_kept: int
    num_too_long: int
    num_empty: int
    first_empty: int | None
    num_tokens: dict[str, int]
    sha256: str


class TokenStore:
    """The kept pairs of a split, by number.

    Attributes:
      info: what they were made from.
      ids: pieces of all sentences one behind the other, by side, uint16 or uint32.
      starts: where each sentence starts, and the end of the last, by side, int64 ``[pairs + 1]``.
      counts: pieces of each sentence that are not unknown, by side, int32 ``[pairs]``.
    """

    def __init__(self, directory: Path) -> None:
        """Opens the files.

        Raises:
          MissingDataError: there are none.
          UserError: they are cut off.
        """
        info = read_info(directory)
        if info is None:
            raise MissingDataError(f"{directory} holds no tokens")
        self.info = info
        self.ids: dict[str, NDArray[Any]] = {}
        self.starts: dict[str, NDArray[np.int64]] = {}
        self.counts: dict[str, NDArray[np.int32]] = {}
        for side in SIDES:
            try:
                for name in ("ids", "starts", "counts"):
                    mode = "r" if name == "ids" else None
                    array = np.load(directory / f"{side}_{name}.npy", mmap_mode=mode)
                    getattr(self, name)[side] = array
            except (OSError, ValueError, EOFError) as error:
                raise _damaged(directory, side) from error
            sizes = (len(self.starts[side]) - 1, len(self.counts[side]), info.num_kept)
            if len(set(sizes)) != 1 or self.starts[side][-1] != len(self.ids[side]):
                raise _damaged(directory, side)

    def __len__(self) -> int:
        return self.info.num_kept

    def sentence(self, side: str, number: int) -> NDArray[Any]:
        """Returns the pieces of one sentence, with the end."""
        start, end = self.starts[side][number : number + 2]
        pieces: NDArray[Any] = self.ids[side][start:end]
        return pieces


def read_info(directory: Path) -> StoreInfo | None:
    """Returns what the tokens in a directory were made from, None if there are none."""
    found = read_json(directory / "info.json")
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    try:
        return StoreInfo(**found)
    except TypeError:
        return None


def write(
    directory: Path,
    pairs: Iterable[Pair],
    tokenizer: Tokenizer,
    *,
    source: str,
    vocabulary: int,
    max_length: int,
    threads: int = 1,
    progress: Callable[[int], object] = lambda done: None,
) -> StoreInfo:
    """Writes the tokens of a split; the directory appears in one rename.

    Args:
      directory: gets the files.
      pairs: in the order of the split.
      tokenizer: makes pieces of sentences.
      source: where the pairs came from.
      vocabulary: number of pieces of the tokenizer.
      max_length: pairs with a longer sentence are left out.
      threads: that tokenise.
      progress: called with the number of pairs of every block.
    """
    dtype = np.uint16 if vocabulary <= 2**16 else np.uint32
    lengths: dict[str, list[NDArray[np.int64]]] = {side: [] for side in SIDES}
    counts: dict[str, list[NDArray[np.int32]]] = {side: [] for side in SIDES}
    total = kept = empty = 0
    first_empty: int | None = None
    with atomic_directory(directory) as partial:
        files = {side: (partial / f"{side}.raw").open("wb") for side in SIDES}
        try:
            for block in _blocks(pairs):
                for number, pair in enumerate(block, start=total + 1):
                    if not all(sentence.strip() for sentence in pair):
                        empty += 1
                        first_empty = first_empty or number
                sides = [tokenizer.encode(side, threads) for side in zip(*block, strict=True)]
                good = [
                    (inputs, targets)
                    for inputs, targets in zip(*sides, strict=True)
                    if max(len(inputs), len(targets)) <= max_length
                ]
                total, kept = total + len(block), kept + len(good)
                for place, side in enumerate(SIDES):
                    sentences = [np.array(pair[place], dtype) for pair in good]
                    lengths[side].append(np.array([len(ids) for ids in sentences], np.int64))
                    counts[side].append(
                        np.array([np.count_nonzero(ids) for ids in sentences], np.int32)
                    )
                    for ids in sentences:
                        files[side].write(ids.tobytes())
                progress(len(block))
        finally:
            for file in files.values():
                file.close()
        for side in SIDES:
            _finish(partial, side, dtype, lengths[side], counts[side])
        info = StoreInfo(
            format=FORMAT,
            source=source,
            tokenizer=tokenizer.sha256,
            max_length=max_length,
            num_pairs=total,
            num_kept=kept,
            num_too_long=total - kept,
            num_empty=empty,
            first_empty=first_empty,
            num_tokens={side: int(sum(part.sum() for part in lengths[side])) for side in SIDES},
            sha256=digest(partial),
        )
        write_json(partial / "info.json", asdict(info))
    return info


def digest(directory: Path) -> str:
    """Checksum of the arrays of a directory, SHA-256, hexadecimal."""
    content = hashlib.sha256()
    for path in sorted(directory.glob("*.npy")):
        content.update(path.name.encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
    return content.hexdigest()


def _blocks(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    iterator = iter(pairs)
    while block := list(islice(iterator, _BLOCK)):
        yield block


def _finish(
    partial: Path,
    side: str,
    dtype: Any,
    lengths: list[NDArray[np.int64]],
    counts: list[NDArray[np.int32]],
) -> None:
    """Makes .npy files of what was collected; the raw ids are copied by the block."""
    all_lengths = np.concatenate([np.zeros(1, np.int64), *lengths])
    np.save(partial / f"{side}_starts.npy", np.cumsum(all_lengths))
    np.save(partial / f"{side}_counts.npy", np.concatenate([np.zeros(0, np.int32), *counts]))
    raw = partial / f"{side}.raw"
    target = partial / f"{side}_ids.npy"
    size = int(all_lengths.sum())
    if size == 0:
        np.save(target, np.zeros(0, dtype))
    else:
        array = np.lib.format.open_memmap(target, mode="w+", dtype=dtype, shape=(size,))
        array[:] = np.memmap(raw, dtype=dtype, mode="r")
        array.flush()
    raw.unlink()


def _damaged(directory: Path, side: str) -> UserError:
    return UserError(
        f"the tokens of the {side} in {directory} are cut off; delete the directory and prepare "
        "the data again"
    )
