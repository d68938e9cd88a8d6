"""What is noteworthy about logs: warnings that name the file they are about."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Kind(enum.Enum):
    """Kinds of findings: (name, whether the scored set would not be eligible officially, shown).

    With ``--strict`` the findings that matter for eligibility are errors. Those that are not shown
    are no warnings of their own: an incomplete set of trials is legal, but not official.
    """

    STRAY = ("stray", False, True)
    UNSAFE_MEMBER = ("unsafe_member", False, True)
    REPEATED_MEMBER = ("repeated_member", True, True)
    UNREADABLE = ("unreadable", True, True)
    UNKNOWN_WORKLOAD = ("unknown_workload", False, True)
    OTHER_TIER = ("other_tier", True, True)
    OTHER_RULESET = ("other_ruleset", True, True)
    SIMULATED = ("simulated", True, True)
    TIMESTAMPED = ("timestamped", False, True)
    NO_TRIAL = ("no_trial", True, True)
    NO_LOGS = ("no_logs", True, True)
    MISSING_WORKLOAD = ("missing_workload", True, True)
    MISSING_STUDY = ("missing_study", True, True)
    MISSING_TRIAL = ("missing_trial", True, False)
    EXTRA_TRIALS = ("extra_trials", True, True)
    MISSING_FILE = ("missing_file", True, True)
    UNUSABLE_FILE = ("unusable_file", True, True)
    MALFORMED_ROWS = ("malformed_rows", True, True)
    REPEATED_ROWS = ("repeated_rows", False, True)
    TIME_DECREASES = ("time_decreases", True, True)
    BAD_TIME = ("bad_time", True, True)
    LATE_HIT = ("late_hit", False, True)
    LISTING_DECIDES = ("listing_decides", False, True)
    HELD_OUT_NOT_RUN = ("held_out_not_run", True, True)
    ONE_SUBMISSION = ("one_submission", False, True)

    def __init__(self, label: str, affects_eligibility: bool, shown: bool) -> None:
        self.label = label
        self.affects_eligibility = affects_eligibility
        self.shown = shown


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
      kind: what it is.
      path: file or directory that it is about, as the user can find it.
      text: a sentence without the path.
    """

    kind: Kind
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"
