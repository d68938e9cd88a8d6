"""The files of one trial: log, checkpoints, result, and the text log with tracebacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from algoperf_ref.harness.results import TrialResult
from algoperf_ref.harness.trial_parts import Metrics
from algoperf_ref.records import checkpoints
from algoperf_ref.records.codec import CodecError
from algoperf_ref.records.files import write_text
from algoperf_ref.records.trial_log import TrialLog

RESULT = "result.json"
TEXT_LOG = "trial.log"

_LOG = logging.getLogger(__name__)


class NoFiles:
    """Keeps nothing: for trials run from Python without an output directory."""

    wants_checkpoints = False

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Adds the two keys that a log would add (contract, section 2.4)."""
        metrics.update(global_step=global_step, preemption_count=0)

    def final(self, score: float, global_step: int) -> None:
        """Keeps nothing."""

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Keeps nothing."""


class TrialFiles:
    """Writes one trial directory; see :class:`algoperf_ref.harness.trial_parts.Recorder`."""

    def __init__(self, log: TrialLog, *, save_checkpoints: bool, keep_all: bool) -> None:
        """Args:
        log: open log of the trial.
        save_checkpoints: False writes none.
        keep_all: keep every checkpoint, not only the newest two.
        """
        self.log = log
        self.wants_checkpoints = save_checkpoints
        # Two, so that a damaged newest file has one before it to fall back to.
        self._keep = None if keep_all else 2

    def evaluation(self, metrics: Metrics, global_step: int) -> None:
        """Appends an evaluation row to both tables."""
        self.log.append_scalar_metrics(metrics, global_step, is_eval=True)

    def final(self, score: float, global_step: int) -> None:
        """Appends the last row."""
        self.log.finish(score, global_step)

    def checkpoint(self, state: Mapping[str, Any], global_step: int) -> None:
        """Replaces the checkpoint; a state that cannot be stored is reported, once."""
        stored = {**state, "row_counts": self.log.row_counts()}
        try:
            checkpoints.save(self.log.directory, global_step, stored, keep=self._keep)
        except CodecError as error:
            self.wants_checkpoints = False
            _LOG.warning("no checkpoints, the trial cannot be resumed: %s", error)


def write_result(directory: Path, result: TrialResult) -> None:
    """Writes ``result.json``: how the trial ended, its times and its evaluations."""
    content = result.as_json()
    write_text(directory / RESULT, json.dumps(content, indent=2, default=str) + "\n")


def read_result(directory: Path) -> dict[str, Any] | None:
    """Returns ``result.json`` of a finished trial, None if it has not ended."""
    try:
        content: dict[str, Any] = json.loads((directory / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return content


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
