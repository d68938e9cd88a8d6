"""The log of one trial: measurements, hyperparameters, metadata and flags, in the official layout.

``measurements.csv`` holds every logged row, ``eval_measurements.csv`` the evaluation rows only.
The object is also what a submission sees as ``workload.metrics_logger``.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, MutableMapping
from enum import Enum
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.records.files import CannotWrite, remove_leftovers, write_text
from algoperf_ref.records.scalars import NotScalarError, Scalar, as_scalar
from algoperf_ref.records.table import Table
from spec.records import EVAL_MEASUREMENTS, HPARAMS, MEASUREMENTS, flags_name, meta_data_name

GLOBAL_STEP = "global_step"
PREEMPTION_COUNT = "preemption_count"
SCORE = "score"


class TrialLog:
    """Writes the files of one trial directory; opens what an earlier process left there.

    Attributes:
      directory: the trial directory.
      preemption_count: number of resumes before this process, 0 for a fresh run.
    """

    def __init__(self, directory: str | os.PathLike[str], *, preemption_count: int = 0) -> None:
        """Opens the log.

        Args:
          directory: an existing trial directory (see ``experiment.open_trial``). Tables found
            there go on; a line torn by a kill is dropped with a warning, temporary files of a
            killed process are removed (one process writes to a trial directory at a time).
          preemption_count: see the attribute; :func:`next_preemption_count` reads it off the files.

        Raises:
          UserError: a table cannot be read.
        """
        self.directory = Path(directory)
        remove_leftovers(self.directory, "")
        self.preemption_count = preemption_count
        self._all = Table(self.directory / MEASUREMENTS)
        self._evaluations = Table(self.directory / EVAL_MEASUREMENTS)
        self._last_step: Scalar | None = None
        self._warned: set[str] = set()

    def __enter__(self) -> TrialLog:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def append_scalar_metrics(
        self,
        metrics: MutableMapping[str, Any],
        global_step: int,
        preemption_count: int | None = None,
        is_eval: bool = False,
    ) -> None:
        """Appends one row (harness contract, section 2.4).

        Args:
          metrics: name -> Python number, text, or array of one element of any library. Anything
            else is left out, with one warning per name. The entries ``global_step`` and
            ``preemption_count`` are added to this very dict.
          global_step: number of the step that the row belongs to.
          preemption_count: None takes the log's own.
          is_eval: the row also goes to ``eval_measurements.csv``.

        Raises:
          UserError: the file cannot be written (disk full, directory gone). Never for a value.
        """
        preemption_count = self.preemption_count if preemption_count is None else preemption_count
        added = {GLOBAL_STEP: global_step, PREEMPTION_COUNT: preemption_count}
        if isinstance(metrics, MutableMapping):
            metrics.update(added)
        elif isinstance(metrics, Mapping):
            metrics = {**metrics, **added}
        else:
            self._warn_once(f"metrics of type {type(metrics).__name__}", "not a dict")
            metrics = added
        row = self._scalars(metrics)
        self._last_step = row.get(GLOBAL_STEP)
        self._all.append(row)
        if is_eval:
            self._evaluations.append(row)

    def finish(self, score: float, global_step: int | None = None) -> None:
        """Appends the final row (score, global step, preemption count), syncs and closes.

        Args:
          score: submission time in seconds, as the harness reports it.
          global_step: None takes that of the last row.

        Raises:
          UserError: the file cannot be written.
        """
        step = self._last_step if global_step is None else global_step
        final = {SCORE: score, GLOBAL_STEP: step, PREEMPTION_COUNT: self.preemption_count}
        self._all.append(self._scalars(final))
        self.close(to_disk=True)

    def close(self, *, to_disk: bool = False) -> None:
        """Closes the files; appending opens them again. ``to_disk`` waits for the disk."""
        self._all.close(to_disk=to_disk)
        self._evaluations.close(to_disk=to_disk)

    def row_counts(self) -> dict[str, int]:
        """Returns file name -> number of rows: store it in a checkpoint for `truncate_after`."""
        return {table.path.name: table.num_rows for table in (self._all, self._evaluations)}

    def truncate_after(self, global_step: int, row_counts: Mapping[str, int] | None = None) -> int:
        """Takes out the rows that were written after the checkpoint a run goes on from.

        They are moved to ``<file>.discarded_<p>``, p being the preemption count, not deleted.

        Args:
          global_step: the restored step; rows of later steps go. -1 takes all rows.
          row_counts: what :meth:`row_counts` gave when the checkpoint was made. Exact where given:
            a submission logs its row of step s before the step counter moves on to s + 1, so the
            step alone cannot tell a row written just before a checkpoint from one just after.

        Returns:
          Number of rows moved, both files together.

        Raises:
          UserError: a file cannot be written.
        """
        num_moved = 0
        for table in (self._all, self._evaluations):
            count = None if row_counts is None else row_counts.get(table.path.name)
            if count is not None and count > table.num_rows:
                warnings.warn(
                    f"{table.path} has {table.num_rows} rows, {count} when the checkpoint was made",
                    stacklevel=2,
                )
            rows = table.rows()
            late = [
                index
                for index, row in enumerate(rows)
                if (_is_later(row, global_step) if count is None else index >= count)
            ]
            if not late:
                continue
            self._discard(table, [rows[index] for index in late])
            table.keep(set(range(len(rows))).difference(late))
            num_moved += len(late)
        return num_moved

    def write_hparams(self, hparams: Mapping[str, Any]) -> None:
        """Writes ``hparams.json``, one key a line; an existing file is replaced."""
        self._write_json(HPARAMS, hparams)

    def read_hparams(self) -> dict[str, Any] | None:
        """Returns the content of ``hparams.json``, None if there is none.

        A run takes an existing file instead of the point it sampled.

        Raises:
          UserError: the file is not a JSON object.
        """
        path = self.directory / HPARAMS
        if not path.exists():
            return None
        try:
            hparams = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"cannot read {path}: {error}; delete or mend it") from error
        if not isinstance(hparams, dict):
            raise UserError(f"{path} must hold one JSON object, name -> value; delete or mend it")
        return hparams

    def write_meta_data(self, p: int, meta_data: Mapping[str, Any]) -> None:
        """Writes ``meta_data_<p>.json``; see :mod:`algoperf_ref.records.metadata`."""
        self._write_json(meta_data_name(p), meta_data)

    def write_flags(self, p: int, flags: Mapping[str, Any]) -> None:
        """Writes ``flags_<p>.json``: flag name -> value."""
        self._write_json(flags_name(p), flags)

    def _scalars(self, metrics: Mapping[Any, Any]) -> dict[str, Scalar | None]:
        row: dict[str, Scalar | None] = {}
        for key, value in metrics.items():
            try:
                row[str(key)] = as_scalar(value)
            except NotScalarError as error:
                self._warn_once(str(key), str(error))
        return row

    def _warn_once(self, name: str, reason: str) -> None:
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"{self._all.path}: left out {name!r}, which is not a number ({reason})",
                stacklevel=4,
            )

    def _discard(self, table: Table, rows: list[dict[str, str]]) -> None:
        path = table.path.with_name(f"{table.path.name}.discarded_{self.preemption_count}")
        discarded = Table(path)
        # A kill between this and the truncation brings the same rows here again.
        present = [_non_empty(row) for row in discarded.rows()[-len(rows) :]]
        if present != [_non_empty(row) for row in rows]:
            for row in rows:
                discarded.append(row)
        discarded.close(to_disk=True)

    def _write_json(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.directory / name
        text = json.dumps(dict(content), indent=2, default=_json_value)
        try:
            write_text(path, text + "\n")
        except OSError as error:
            raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error


def next_preemption_count(directory: str | os.PathLike[str]) -> int:
    """Returns the smallest p for which a trial directory has no ``meta_data_<p>.json``."""
    p = 0
    while (Path(directory) / meta_data_name(p)).exists():
        p += 1
    return p


def _is_later(row: Mapping[str, str], global_step: int) -> bool:
    try:
        return float(row.get(GLOBAL_STEP, "")) > global_step
    except ValueError:  # A row without a step cannot be placed, so it stays.
        return False


def _non_empty(row: Mapping[str, str]) -> dict[str, str]:
    return {name: cell for name, cell in row.items() if cell}


def _json_value(value: Any) -> Any:
    """What ``json`` cannot write itself: numbers of other libraries, paths, enums, mappings."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    try:
        return as_scalar(value)
    except NotScalarError:
        return value.tolist() if hasattr(value, "tolist") else str(value)
