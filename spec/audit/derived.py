"""What an event log gives: the evaluations, the ends and the final state of a trial."""

from __future__ import annotations

from dataclasses import dataclass, field

from spec.audit.events import Start
from spec.audit.problems import Problems
from spec.evaluation import Progress
from spec.timing import Clock

NON_FINITE = "non_finite"
"""What the harness calls ``evaluation_failed`` where the parameters or metrics are not finite."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation as the events give it.

    Attributes:
      line: of the event log.
      step: global step.
      preemption_count: resumes before it.
      clock: the accounts at its end, before it is logged.
      validation: target metric, NaN if there is none.
      test: likewise.
      has_row: it gave metrics, so it has a row in the tables.
    """

    line: int
    step: int
    preemption_count: int
    clock: Clock
    validation: float
    test: float
    has_row: bool


@dataclass(frozen=True, slots=True)
class End:
    """A line ``ended``: its number, the reason, the step and the submission seconds."""

    line: int
    reason: str
    step: int
    submission_seconds: float


@dataclass
class Replay:
    """What an event log gives.

    Attributes:
      problems: disagreements with the rules.
      evaluations: in order, failed ones included.
      ends: in order; a run that ended at its step limit may have gone on.
      start: the last ``started`` line, None if there is none.
      clock: the accounts at the last event.
      progress: what the rules know at the last event.
      num_lines: lines read.
      has_ended: the last line is ``ended``.
      is_complete: all lines could be read.
    """

    problems: Problems = field(default_factory=Problems)
    evaluations: list[Evaluation] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    start: Start | None = None
    clock: Clock = field(default_factory=lambda: Clock.start(0.0))
    progress: Progress = field(default_factory=Progress)
    num_lines: int = 0
    has_ended: bool = False
    is_complete: bool = True
