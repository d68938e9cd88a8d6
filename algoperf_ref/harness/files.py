"""The files of one trial: log, events, checkpoints, result, and the text log with tracebacks."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from algoperf_ref.harness.results import TrialResult
from algoperf_ref.harness.trial_parts import Metrics
from algoperf_ref.records import checkpoints, codec
from algoperf_ref.records.boards import Board
from algoperf_ref.records.event_log import EventLog
from algoperf_ref.records.files import CannotWrite, write_text
from algoperf_ref.records.trial_log import TrialLog

RESULT = "result.json"
TEXT_LOG = "trial.log"
KEPT_CHECKPOINTS = 2
"""By default: a damaged newest file has one before it to fall back to."""
_LOG_BYTES = 16 << 20  # room to leave for everything but checkpoints

_LOG = logging.getLogger(__name__)


class NoFiles:
    """Keeps nothing: for trials run from Python without an output directory."""

    wants_checkpoints = False
    wants_flush = False

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Adds the two keys that a log would add (contract, section 2.4)."""
        metrics.update(global_step=global_step, preemption_count=0)

    def happened(
        self,
        event: str,
        global_step: int,
        reading_ns: int | None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Keeps nothing."""

    def flush(self) -> None:
        """Has nothing to write."""

    def final(self, score: float, global_step: int) -> None:
        """Keeps nothing."""

    def check_space(self, training_state: Mapping[str, Any]) -> None:
        """Needs no room."""

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Keeps nothing."""

    def finish(self) -> None:
        """Has nothing to wait for."""


class TrialFiles:
    """Writes one trial directory; see :class:`algoperf_ref.harness.trial_parts.Recorder`.

    A checkpoint is copied while the caller waits and written by a thread, so that the device is
    held for the copy only. At most one is being written; the next one waits for it.
    """

    def __init__(
        self,
        log: TrialLog,
        *,
        save_checkpoints: bool,
        keep_all: bool,
        boards: tuple[Board, ...] = (),
    ) -> None:
        """Args:
        log: open log of the trial.
        save_checkpoints: False writes none.
        keep_all: keep every checkpoint, not only the newest two.
        boards: what shows the evaluations elsewhere, such as TensorBoard.
        """
        self.log = log
        self.events = EventLog(log.directory)
        self.wants_checkpoints = save_checkpoints
        self._keep = None if keep_all else KEPT_CHECKPOINTS
        self._boards = boards
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[Path] | None = None

    def restore(self, stored: Mapping[str, Any] | None) -> None:
        """Cuts off the rows and events that came after a checkpoint; all of them for None."""
        stored = stored or {}
        step = int(stored.get("global_step", -1))
        self.log.truncate_after(step, stored.get("row_counts"))
        self.events.truncate(int(stored.get("event_count", 0)), self.log.preemption_count)

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Appends an evaluation row to both tables, and tells the boards."""
        self.log.append_scalar_metrics(metrics, global_step, is_eval=True)
        for board in self._boards:
            board.show(metrics, global_step)

    def happened(
        self,
        event: str,
        global_step: int,
        reading_ns: int | None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Remembers an event of the clock."""
        line = {"event": event, "step": global_step, "reading_ns": reading_ns}
        if facts:
            line.update(facts)
        self.events.append(line)

    @property
    def wants_flush(self) -> bool:
        """True if many events are remembered."""
        return self.events.is_full

    def flush(self) -> None:
        """Writes the remembered events."""
        self.events.flush()

    def final(self, score: float, global_step: int) -> None:
        """Appends the last row."""
        self.log.finish(score, global_step)

    def check_space(self, training_state: Mapping[str, Any]) -> None:
        """Checks that the disk holds the checkpoints to keep, and one more being written.

        Raises:
          CannotWrite: it does not.
        """
        size = sum(array.nbytes for array in codec.encode(dict(training_state)).arrays)
        needed = (KEPT_CHECKPOINTS + 1) * size + _LOG_BYTES
        free = shutil.disk_usage(self.log.directory).free
        if free < needed:
            raise CannotWrite(
                f"{self.log.directory}: {free / 1e6:.0f} MB are free, but checkpoints and logs "
                f"need {needed / 1e6:.0f} MB: free some, give another --experiment_dir, or "
                "--nosave_checkpoints"
            )

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Copies the state and starts to write it; a state that cannot be stored is told, once.

        Raises:
          CannotWrite: this or the previous checkpoint cannot be written.
        """
        self._wait()
        self.flush()
        stored = {
            **state,
            "row_counts": self.log.row_counts(),
            "event_count": self.events.num_lines,
        }
        try:
            structure, arrays = codec.encode(stored)
        except codec.CodecError as error:
            self.wants_checkpoints = False
            _LOG.warning("no checkpoints, the trial cannot be resumed: %s", error)
            return
        # Frameworks hand out views of buffers that the next step writes to.
        copies = [np.array(array, order="K", copy=True) for array in arrays]
        self._pending = self._writer.submit(
            checkpoints.save_encoded,
            self.log.directory,
            global_step,
            codec.Encoded(structure, copies),
            keep=self._keep,
        )

    def finish(self) -> None:
        """Waits until events and checkpoint are written.

        Raises:
          CannotWrite: they cannot be.
        """
        self.flush()
        self._wait()

    def close(self) -> None:
        """Ends the thread and closes the files; what cannot be written any more is logged."""
        try:
            self.finish()
        except CannotWrite as error:
            _LOG.error("%s", error)
        self._writer.shutdown()
        for board in self._boards:
            board.close()
        self.log.close()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def write_result(directory: Path, result: TrialResult) -> None:
    """Writes ``result.json``: how the trial ended, its times and its evaluations.

    Raises:
      CannotWrite: the file cannot be written.
    """
    path = directory / RESULT
    try:
        write_text(path, json.dumps(result.as_json(), indent=2, default=str) + "\n")
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error


class DamagedResult(Exception):
    """A ``result.json`` cannot be understood; the message is one sentence."""


def read_result(directory: Path) -> TrialResult | None:
    """Returns the result of a finished trial, None if it has not ended.

    Raises:
      DamagedResult: there is one that cannot be understood.
    """
    path = directory / RESULT
    try:
        return TrialResult.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedResult(f"{path} is damaged ({type(error).__name__}: {error})") from error


def set_aside_result(directory: Path) -> Path:
    """Renames a damaged ``result.json``, so that a new one does not replace it; returns where."""
    number = 1
    while (aside := directory / f"{RESULT}.damaged_{number}").exists():
        number += 1
    return (directory / RESULT).replace(aside)


@contextmanager
def text_log(directory: Path) -> Iterator[None]:
    """Sends this package's and absl's log records of a trial to ``trial.log``, tracebacks too."""
    handler = logging.FileHandler(directory / TEXT_LOG, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in ("algoperf_ref", "absl", "py.warnings")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
