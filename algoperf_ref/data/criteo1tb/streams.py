"""Batches of the click log: an endless stream for training, every line once for an evaluation.

Training reads whole files one after another, in an order of its own in every epoch; lines are not
shuffled (Workload facts, criteo1tb, 5). What stands at a position of the stream is a function of
the data seed and of the position. Memory does not grow with the size of the files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from os import PathLike
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import WEIGHTS, Batch, Part, in_order
from algoperf_ref.data.criteo1tb import damage, index
from algoperf_ref.data.criteo1tb.damage import DamagedLine, DamageLog
from algoperf_ref.data.criteo1tb.layout import EVAL_TRAIN, DayFile, Layout, files_of, named
from algoperf_ref.data.criteo1tb.parsing import NUM_INPUTS, Floats
from algoperf_ref.data.criteo1tb.sources import AT_A_TIME, Source, TextSource, open_converted
from algoperf_ref.data.files import read_json
from algoperf_ref.errors import MissingDataError
from spec import data_order


class _Stretch(NamedTuple):
    """Consecutive lines of a file and where they go; the last of a batch carries the batch.

    A batch that is all padding has one stretch, without a source.
    """

    source: Source | None
    first: int
    inputs: Floats
    targets: Floats
    weights: Floats
    batch: Batch | None

    def fill(self) -> list[DamagedLine]:
        if self.source is None:
            return []
        damaged = self.source.read(self.first, self.inputs, self.targets)
        if damaged:
            self.weights[[one.line - self.first for one in damaged]] = 0.0
        return damaged


class _FileOrder:
    """Files in some order, read one after another."""

    def __init__(self, sources: Sequence[Source], order: NDArray[np.int64]) -> None:
        self._sources = [sources[number] for number in order]
        self._ends = np.cumsum([source.lines for source in self._sources])

    def pieces(self, start: int, stop: int) -> Iterator[tuple[Source, int, int]]:
        """Source, first line and number of lines of each part of a range of places."""
        while start < stop:
            number = int(np.searchsorted(self._ends, start, side="right"))
            source, end = self._sources[number], int(self._ends[number])
            count = min(stop, end) - start
            yield source, start - (end - source.lines), count
            start += count


class CriteoSplit:
    """An opened split; ``len`` is its number of lines."""

    def __init__(
        self, sources: Sequence[Source], name: str, report: damage.Report = damage.warn
    ) -> None:
        """
        Args:
          sources: its files, in order.
          name: train, eval_train, validation or test.
          report: gets a sentence about damaged lines.
        """
        self.sources = tuple(sources)
        self.name = name
        self._lines = sum(source.lines for source in self.sources)
        self._report = report

    def __len__(self) -> int:
        return self._lines

    def training_batches(
        self,
        *,
        data_seed: int,
        global_batch_size: int,
        part: Part | None = None,
        start_step: int = 0,
        workers: int = 2,
        ahead: int = 2,
    ) -> Iterator[Batch]:
        """Endless batches; nothing is dropped at the end of an epoch.

        Args:
          data_seed: seed of the order of the files, not negative.
          global_batch_size: lines of a batch over all processes.
          part: this process's part; None for the whole batch.
          start_step: number of batches to skip, without reading them.
          workers: threads that read; 0 reads in the caller's thread.
          ahead: finished batches to hold.

        Returns:
          This process's rows of each batch: ``inputs`` float32 [rows, 39], ``targets`` and
          ``weights`` float32 [rows]; a damaged line is a row of zeros with weight 0.

        Raises:
          spec.data_order.DataOrderError: no line, a negative seed, or an uneven division.
          MissingDataError: later, if a file is no more what was prepared.
          UserError: later, if too many lines are damaged.
        """
        data_order.check_stream(len(self), data_seed)
        rows = (part or Part()).rows(global_batch_size)

        def order_of(number: int) -> _FileOrder:
            order = data_order.epoch_order(len(self.sources), data_seed, number)
            return _FileOrder(self.sources, order)

        epoch = lru_cache(maxsize=2)(order_of)

        def stretches() -> Iterator[_Stretch]:
            for step in itertools.count(start_step):
                first = step * global_batch_size + rows.start
                stop = first + len(rows)
                places = (
                    piece
                    for number, begin, end in data_order.epoch_parts(first, stop, len(self))
                    for piece in epoch(number).pieces(begin, end)
                )
                yield from _batch_of(places, len(rows), len(rows))

        return self._batches(stretches, len(rows), workers, ahead)

    def evaluation_batches(
        self,
        *,
        global_batch_size: int,
        part: Part | None = None,
        num_examples: int | None = None,
        workers: int = 2,
        ahead: int = 2,
    ) -> Iterator[Batch]:
        """Batches that cover the split once, in the same order each time, all of one shape.

        The lines of ``eval_train`` come file by file in the order of epoch 0 of
        :data:`spec.data_order.EVAL_TRAIN_SEED`, those of other splits as they are stored.

        Args:
          global_batch_size: rows of a batch over all processes.
          part: this process's part; None for the whole batch.
          num_examples: how many lines to read, from the first; None for all.
          workers, ahead: as for :meth:`training_batches`.

        Returns:
          As :meth:`training_batches`; the last batch is filled up with rows of weight 0. Every
          process gets the same number of batches.

        Raises:
          ValueError: ``num_examples`` is not between 1 and the number of lines.
          Others as :meth:`training_batches`.
        """
        data_order.check_stream(len(self))
        total = len(self) if num_examples is None else num_examples
        if not 0 < total <= len(self):
            raise ValueError(f"{total} examples of the {self.name} split, which has {len(self)}")
        rows = (part or Part()).rows(global_batch_size)
        order = np.arange(len(self.sources))
        if self.name == EVAL_TRAIN:
            order = data_order.epoch_order(len(self.sources), data_order.EVAL_TRAIN_SEED, 0)
        files = _FileOrder(self.sources, order)

        def stretches() -> Iterator[_Stretch]:
            for number in range(data_order.num_evaluation_batches(total, global_batch_size)):
                items, _ = data_order.evaluation_batch(number, total, global_batch_size)
                first = min(items.start + rows.start, items.stop)
                stop = min(items.start + rows.stop, items.stop)
                yield from _batch_of(files.pieces(first, stop), stop - first, len(rows))

        return self._batches(stretches, len(rows), workers, ahead)

    def _batches(
        self,
        stretches: Callable[[], Iterator[_Stretch]],
        rows: int,
        workers: int,
        ahead: int,
    ) -> Iterator[Batch]:
        log = DamageLog(self._report)
        # Workers share out stretches, not batches, so that a large batch is read by all of them.
        stretches_ahead = ahead * max(1, -(-rows // AT_A_TIME))

        def filled(stretch: _Stretch) -> tuple[_Stretch, list[DamagedLine]]:
            return stretch, stretch.fill()

        try:
            for stretch, damaged in in_order(filled, stretches(), workers, stretches_ahead):
                log.add(damaged, len(stretch.targets))
                if stretch.batch is not None:
                    yield stretch.batch
        finally:
            log.close()


def _batch_of(
    pieces: Iterator[tuple[Source, int, int]], used: int, rows: int
) -> Iterator[_Stretch]:
    """Divides a batch into stretches; the rows behind the used ones are padding."""
    # Memory is not touched here, but by the workers that fill it; padding has to be zero.
    make = np.empty if used == rows else np.zeros
    inputs = make((rows, NUM_INPUTS), np.float32)
    targets = make(rows, np.float32)
    weights = np.zeros(rows, np.float32)
    weights[:used] = 1.0
    batch: Batch = {"inputs": inputs, "targets": targets, WEIGHTS: weights}
    if used == 0:
        yield _Stretch(None, 0, inputs[:0], targets[:0], weights[:0], batch)
    row = 0
    for source, first, count in pieces:
        for start in range(first, first + count, AT_A_TIME):
            size = min(AT_A_TIME, first + count - start)
            here = slice(row, row + size)
            row += size
            yield _Stretch(
                source,
                start,
                inputs[here],
                targets[here],
                weights[here],
                batch if row == used else None,
            )


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
    report: damage.Report = damage.warn,
) -> CriteoSplit:
    """Opens a prepared split; files that have been converted are read in that form.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: "full" or "mini".
      split: train, eval_train, validation or test.
      expected_examples: lines that the files of the split must have together; None: any number.
      report: gets a sentence about damaged lines; Python's warnings by default.

    Raises:
      MissingDataError: the split is absent, has changed, or has another number of lines.
      ValueError: there is no such split.
    """
    layout = Layout.of(data_dir, tier)
    wanted = files_of(split, _prepared_files(layout, split))
    sources = [(file, _source(layout, file)) for file in wanted]
    if lost := [file for file, source in sources if source is None]:
        raise MissingDataError(
            f"{layout.root}: {named(lost)} missing or changed since the preparation; prepare it "
            f"again with: {layout.prepare_command()}"
        )
    opened = CriteoSplit([source for _, source in sources if source is not None], split, report)
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{layout.root} has {len(opened):,} {split} lines, but the {layout.tier} tier has "
            f"{expected_examples:,}; prepare it with: {layout.prepare_command()}"
        )
    return opened


def _prepared_files(layout: Layout, split: str) -> list[DayFile]:
    manifest = read_json(layout.manifest)
    names = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(names, dict):
        raise MissingDataError(
            f"no {layout.tier} tier of criteo1tb ({split} split) in {layout.data_dir}; prepare it "
            f"with: {layout.prepare_command()}"
        )
    return [file for file in map(DayFile.of, names) if file is not None]


def _source(layout: Layout, file: DayFile) -> Source | None:
    text = layout.text(file)
    if converted := open_converted(text, layout.converted(file)):
        return converted
    found = index.load(text, layout.index(file))
    return None if found is None else TextSource(found)
