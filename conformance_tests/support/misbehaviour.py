"""Makes one process of a run misbehave: ``MISBEHAVE=kind,process,step``; else nothing happens."""

from __future__ import annotations

import os
import signal
import time

SLOW_SECONDS = 3.0


def misbehave(process: int, global_step: int) -> None:
    """Called by test submissions at the start of a step; kinds: ``raise`` and ``kill``."""
    kind, chosen, step = os.environ.get("MISBEHAVE", "no,0,0").split(",")
    if (process, global_step) != (int(chosen), int(step)):
        return
    if kind == "raise":
        raise ValueError("no more ideas")
    elif kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)


def completes(process: int, global_step: int) -> bool:
    """Called at the end of a step; kinds: ``complete`` (returns True) and ``slow`` (sleeps)."""
    kind, chosen, step = os.environ.get("MISBEHAVE", "no,0,0").split(",")
    if (process, global_step) != (int(chosen), int(step)):
        return False
    if kind == "slow":
        time.sleep(SLOW_SECONDS)
    return kind == "complete"
