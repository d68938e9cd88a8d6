"""Ends a trial that makes no progress: a submission that never returns, a hung device."""

from __future__ import annotations

import _thread
import faulthandler
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

GRACE_SECONDS = 30.0
"""How long an interrupted trial has to end by itself, before the process is ended."""


class Watchdog:
    """Looks now and then, from a thread of its own, whether the trial has moved on.

    It costs the training loop nothing: the loop replaces its clock at every event, and the
    watchdog compares. A trial that stands still is interrupted as Ctrl-C would; if even that does
    not reach it, because it hangs inside a library, ``on_stuck`` has to end the process.

    Attributes:
      fired: the trial was interrupted by this watchdog.
    """

    def __init__(
        self,
        heartbeat: Callable[[], object],
        timeout_seconds: float,
        on_stuck: Callable[[], None],
        stacks: Path | None = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        """Args:
        heartbeat: returns an object that is another one after every event of the trial.
        timeout_seconds: longest time without an event; 0 or less never interrupts.
        on_stuck: called if the trial has not ended ``grace_seconds`` after the interrupt.
        stacks: file to write the stacks of all threads to when it fires.
        grace_seconds: see ``on_stuck``.
        """
        self._heartbeat = heartbeat
        self._timeout = timeout_seconds
        self._on_stuck = on_stuck
        self._stacks = stacks
        self._grace = grace_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.fired = False

    def __enter__(self) -> Watchdog:
        """Starts watching."""
        if self._timeout > 0:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        last = self._heartbeat()
        while not self._stop.wait(self._timeout):
            now = self._heartbeat()
            if now is not last:
                last = now
                continue
            self.fired = True
            self._write_stacks()
            _thread.interrupt_main()
            if not self._stop.wait(self._grace):
                self._on_stuck()
            return

    def _write_stacks(self) -> None:
        if self._stacks is not None:
            with self._stacks.open("a", encoding="utf-8") as file:
                faulthandler.dump_traceback(file)
