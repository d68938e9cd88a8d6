"""Auditing a trial: its times and decisions derived once more from what it logged.

:func:`replay` plays an event log through the clock and the rules; the other functions hold the
rows, the result and the rules in force against it. :func:`check_columns` does what can be done
for a log without events. Nothing here reads files.
"""

from spec.audit.columns import NOT_WITHOUT_EVENTS, Limits, check_columns
from spec.audit.derived import Evaluation, Replay
from spec.audit.events import DamagedEvent, Start
from spec.audit.problems import Problem, Problems
from spec.audit.replaying import replay
from spec.audit.results import RESULT, check_result, check_rules
from spec.audit.rows import check_evaluations, check_final_rows

__all__ = [
    "NOT_WITHOUT_EVENTS",
    "RESULT",
    "DamagedEvent",
    "Evaluation",
    "Limits",
    "Problem",
    "Problems",
    "Replay",
    "Start",
    "check_columns",
    "check_evaluations",
    "check_final_rows",
    "check_result",
    "check_rules",
    "replay",
]
