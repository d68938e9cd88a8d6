"""Splits of utterances, and making rows of batches from them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import WEIGHTS, Batch, Make
from algoperf_ref.data.librispeech.audio import SAMPLE_RATE
from algoperf_ref.data.librispeech.layout import MAX_TARGET_LENGTH, Layout
from algoperf_ref.data.librispeech.stores import Store, open_stores
from algoperf_ref.data.librispeech.tokenizer import Tokenizer
from algoperf_ref.errors import MissingDataError, UserError

__all__ = ["SAMPLE_RATE", "LibrispeechSplit", "nested", "open_split"]


class LibrispeechSplit:
    """The utterances of a split: part after part, each in the order of the names.

    Attributes:
      name: ``train``, ``eval_train``, ``validation`` or ``test``.
      stores: the parts.
      tokenizer: makes texts of the pieces.
      max_audio_length: samples that a row has room for.
      max_target_length: pieces that a row has room for.
    """

    def __init__(
        self,
        name: str,
        stores: Sequence[Store],
        tokenizer: Tokenizer,
        max_audio_length: int,
        max_target_length: int,
    ) -> None:
        """
        Args:
          name, stores, tokenizer, max_audio_length, max_target_length: see the attributes.

        Raises:
          UserError: an utterance has no room in a row; the message names it.
        """
        self.name = name
        self.stores = tuple(stores)
        self.tokenizer = tokenizer
        self.max_audio_length = max_audio_length
        self.max_target_length = max_target_length
        for store in self.stores:
            _check_room(store, store.index.samples, max_audio_length, "samples")
            _check_room(store, store.index.lengths, max_target_length, "pieces")
        self._starts = np.concatenate(
            [[0], np.cumsum([len(store.index) for store in self.stores], dtype=np.int64)]
        )

    def __len__(self) -> int:
        """Number of utterances."""
        return int(self._starts[-1])

    def locate(self, example: int) -> tuple[Store, int]:
        """The part of an example, and its number there.

        Raises:
          IndexError: there is no such example.
        """
        if not 0 <= example < len(self):
            raise IndexError(f"example {example} of {len(self)}")
        number = int(np.searchsorted(self._starts, example, side="right")) - 1
        return self.stores[number], int(example - self._starts[number])

    def make(self, data_seed: int = 0) -> Make:
        """Returns what makes rows of batches; any number of threads may use it at once.

        Args:
          data_seed: plays no part: nothing is random about an example but its place.

        Returns:
          A function of the numbers of n examples (and of their positions, which play no part). It
          returns ``inputs``, samples as whole numbers of 16 bits, float32 [n, max_audio_length],
          and ``targets``, int32 [n, max_target_length], both filled up with zeros; and
          ``input_paddings`` and ``target_paddings``, float32 of the same shapes, 1 behind the end.
          It raises :class:`~algoperf_ref.data.librispeech.audio.UnusableAudio` for audio that
          cannot be read any more, by name. Source: Workload facts (librispeech_data), 2.
        """
        del data_seed

        def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            return self._rows(np.asarray(examples, np.int64))

        return make

    def _rows(self, examples: NDArray[np.int64]) -> Batch:
        audio = (len(examples), self.max_audio_length)
        pieces = (len(examples), self.max_target_length)
        inputs, input_paddings = np.empty(audio, np.float32), np.empty(audio, np.float32)
        targets, target_paddings = np.empty(pieces, np.int32), np.empty(pieces, np.float32)
        for row, example in enumerate(examples.tolist()):
            store, number = self.locate(example)
            _fill(store.read(number), inputs[row], input_paddings[row])
            _fill(store.index.target(number), targets[row], target_paddings[row])
        return {
            "inputs": inputs,
            "input_paddings": input_paddings,
            "targets": targets,
            "target_paddings": target_paddings,
        }


def _check_room(store: Store, lengths: NDArray[np.int64], room: int, unit: str) -> None:
    if len(lengths) and lengths.max() > room:
        number = int(lengths.argmax())
        raise UserError(
            f"{store.describe(number)} has {lengths[number]} {unit}, a row has room for {room}; "
            "was the data prepared for another tier?"
        )


def _fill(values: NDArray[Any], out: NDArray[Any], paddings: NDArray[np.float32]) -> None:
    """Writes values, zeros behind them, and which are which."""
    end = len(values)
    out[:end] = values
    out[end:] = 0
    paddings[:end] = 0
    paddings[end:] = 1


def nested(batch: Batch) -> dict[str, Any]:
    """Gives a batch the form that workloads and submissions see.

    Args:
      batch: of :meth:`LibrispeechSplit.make`, or such a batch of an evaluation, with weights
        [rows]. Rows of padding, of weight zero, become padding from end to end.

    Returns:
      ``inputs``: samples and their paddings; ``targets``: pieces and their paddings; and
      ``weights``, if there are some.
    """
    pairs: dict[str, Any] = {
        name: (batch[f"{name}s"], batch[f"{name}_paddings"]) for name in ("input", "target")
    }
    result = {f"{name}s": pair for name, pair in pairs.items()}
    if WEIGHTS not in batch:
        return result
    padding = batch[WEIGHTS] == 0
    if padding.any():
        for name, (values, paddings) in result.items():
            whole = paddings.copy()
            whole[padding] = 1
            result[name] = (values, whole)
    return {**result, WEIGHTS: batch[WEIGHTS]}


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
    max_audio_length: int | None = None,
    max_target_length: int | None = None,
) -> LibrispeechSplit:
    """Opens a split.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: ``full`` or ``mini``.
      split: ``train``, ``eval_train`` (the same utterances), ``validation`` or ``test``.
      expected_examples: number of utterances that the split must have; None: any. For
        ``eval_train``, that of the training split.
      max_audio_length: samples that a row has room for; None: the tier's.
      max_target_length: pieces that a row has room for; None: the tier's.

    Raises:
      MissingDataError: the split or the tokenizer is absent, or the split has another number of
        utterances.
      UserError: a part is damaged, was made with another tokenizer, or has too long an utterance.
      ValueError: no such tier or split.
    """
    layout = Layout.of(data_dir, tier)
    parts = layout.of_split(split)
    if not layout.tokenizer.is_file() and not (layout.root / "index").is_dir():
        raise layout.missing(parts)  # nothing is prepared: of the two sentences, the better one
    tokenizer = Tokenizer(layout.tokenizer)
    stores = open_stores(layout, parts, tokenizer)
    opened = LibrispeechSplit(
        split,
        stores,
        tokenizer,
        layout.max_audio_length if max_audio_length is None else max_audio_length,
        MAX_TARGET_LENGTH[layout.tier] if max_target_length is None else max_target_length,
    )
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{layout.root} has {len(opened)} {split} utterances, but the {layout.tier} tier has "
            f"{expected_examples}; prepare it with: {layout.prepare_command()}"
        )
    return opened
