"""Auditing logs: all times of all trials below a directory, derived once more.

A trial of this harness has an event log, from which every time and every decision follows; its
tables and its result are held against them. A trial of the official harness has only its
tables; what their columns do not show is said. The rules are those of :mod:`spec.audit`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from algoperf_ref.audit.trials import Auditor, Rules, TrialAudit, trials_of
from algoperf_ref.errors import UserError
from algoperf_ref.score.sources import open_source
from spec.records import EVAL_MEASUREMENTS, EVENTS

__all__ = ["Rules", "TrialAudit", "audit_logs"]


def audit_logs(path: Path | str, rules: Rules | None = None) -> Iterator[TrialAudit]:
    """Audits all trials below a directory or in an archive.

    Args:
      path: a trial directory or one above; also a .tar, .tar.xz or .zip of it.
      rules: for trials without an event log; those with one state their rules.

    Yields:
      The trials in the order of their paths.

    Raises:
      UserError: there is no trial, or a file cannot be read.
    """
    source = open_source(Path(path).expanduser())
    trials = trials_of(source)
    if not trials:
        raise UserError(
            f"no trial found in {source.show('')}; expected directories "
            f"<workload>_<framework>/trial_<n> with {EVENTS} or {EVAL_MEASUREMENTS}"
        )
    for directory, files in trials.items():
        yield Auditor(source, directory, files, rules or Rules()).audited()
