"""Child processes: one for each trial, ended together with what they started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TextIO

import psutil

_ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_FOLLOW_SECONDS = 0.5


class Children:
    """Starts children, and hands them the signals that end a study.

    Each child is the leader of a session of its own, for two reasons. Ctrl-C reaches it once, from
    here, and not also from the terminal. And the processes that it leaves behind can be found.

    Attributes:
      signal: number of the first signal that arrived; None so far.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def signals_handed_on(self) -> Iterator[None]:
        """Handles signals meanwhile; call it from the main thread."""
        names = [name for name in _ENDING_SIGNALS if hasattr(signal, name)]
        before = {name: signal.signal(getattr(signal, name), self._handle) for name in names}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(getattr(signal, name), handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.stop(number)

    def stop(self, number: int) -> None:
        """Sends a signal to all children, and lets none start any more; kills at the second call.

        Args:
          number: the signal.
        """
        is_first = self.signal is None
        if is_first:
            self.signal = number
        # Not under the lock: a signal handler must not wait for the thread it interrupts.
        for child in tuple(self._running):
            with contextlib.suppress(OSError):
                if is_first:
                    child.send_signal(number)
                else:
                    _kill_tree(child)

    def run(
        self, command: Sequence[str], console: Path, environment: Mapping[str, str] | None = None
    ) -> int | None:
        """Runs a command to its end.

        Args:
          command: program and arguments.
          console: file that its output is appended to.
          environment: None takes that of this process.

        Returns:
          The exit code, or minus the number of the signal that killed it; None if it was not
          started since the study is being stopped.

        Raises:
          OSError: it cannot be started.
        """
        with console.open("ab") as output:
            with self._lock:
                if self.signal is not None:
                    return None
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
                self._running.add(child)
            # A signal between the test above and the addition has not seen this child.
            if self.signal is not None:
                with contextlib.suppress(OSError):
                    child.send_signal(self.signal)
            try:
                _wait_for_end(child)
                _kill_session(child)
                return child.wait()
            finally:
                self._running.discard(child)


def _wait_for_end(child: subprocess.Popen[bytes]) -> None:
    """Waits without reaping, so that the number of the child's session stays its own."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    else:
        child.wait()


def _kill_session(child: subprocess.Popen[bytes]) -> None:
    """Kills what a child has left behind: workers of a crashed trial hold memory and the device."""
    if hasattr(os, "killpg") and child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)


def _kill_tree(child: subprocess.Popen[bytes]) -> None:
    """Kills a living child and all below it; launchers give their workers sessions of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for descendant in psutil.Process(child.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                descendant.kill()
    _kill_session(child)


@contextlib.contextmanager
def followed(path: Path, stream: TextIO | None) -> Iterator[None]:
    """Shows what is appended to a file meanwhile, in steps of half a second.

    The children write to a file and not to a pipe: if this process is killed, they go on.

    Args:
      path: a file; made if it is not there.
      stream: where to show it; None shows nothing.
    """
    if stream is None:
        yield
        return
    path.touch()
    ended = threading.Event()

    def follow() -> None:
        with path.open("rb") as file:
            file.seek(start)
            is_last = False
            while True:
                text = file.read().decode("utf-8", "replace")
                if text:
                    stream.write(text)
                    stream.flush()
                if is_last:
                    return
                is_last = ended.wait(_FOLLOW_SECONDS)

    start = path.stat().st_size
    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
