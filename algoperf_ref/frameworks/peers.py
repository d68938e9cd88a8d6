"""How the processes of a run learn that one of them has failed or died.

A process that fails says so on a *channel*, a small key-value store beside the collectives of the
framework, and the others then fail with its sentence instead of waiting for it. A process that
vanishes is found by a roll call, which a thread in every process answers.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from algoperf_ref.errors import ProcessFailed

EXIT_LOST = 4
"""Exit code of a process that hung because another one failed."""

_ROLL_CALL_SECONDS = 2.0
_GRACE_SECONDS = 5.0
_DAY = 86_400.0
_COMMUNICATION_TEXTS = (
    "gloo",
    "nccl",
    "connection",
    "socket",
    "peer",
    "timed out",
    "timeout",
    "unavailable",
    "deadline",
    "aborted",
)


class Channel(Protocol):
    """A key-value store that all processes reach."""

    def add(self, key: str) -> int:
        """Counts: returns 1 to the first caller of a key, then 2, and so on."""
        ...

    def set(self, key: str, text: str) -> None:
        """Stores a text."""
        ...

    def get(self, key: str, seconds: float) -> str | None:
        """Waits for a text, at most so long; None if it did not come."""
        ...


class Peers:
    """What a process knows of the other processes of its run."""

    def __init__(
        self,
        index: int,
        count: int,
        channel: Channel,
        listener: Channel,
        *,
        hosts_store: bool,
        grace_seconds: float = _GRACE_SECONDS,
    ) -> None:
        """Args:
        index: number of this process, from 0.
        count: number of processes.
        channel: used by the main thread.
        listener: the same store for the thread that listens; a connection of its own, since a
          connection is taken while it waits.
        hosts_store: the store ends with this process.
        grace_seconds: how long this process has to notice that another one has failed.
        """
        self.index = index
        self.count = count
        self.is_broken = False
        self._channel = channel
        self._listener = listener
        self._hosts_store = hosts_store
        self._grace = grace_seconds
        self._known_missing: list[int] = []
        self._has_announced = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="peers", daemon=True)
        self._thread.start()

    def announce(self, sentence: str, status: str) -> None:
        """Tells the others that this process cannot go on; only the first failure counts."""
        self.is_broken = self._has_announced = True
        try:
            if self._channel.add("failures") == 1:
                content = {"process": self.index, "sentence": sentence, "status": status}
                self._channel.set("failure", json.dumps(content))
                for other in range(self.count):
                    if other != self.index:
                        self._send(other, "failure")
        except RuntimeError:  # the store is gone with its process: nobody is left to be told
            return

    def verdict(self, error: BaseException) -> ProcessFailed | None:
        """Tells whether an error of this process is the consequence of another one's failure.

        Args:
          error: what was raised here.

        Returns:
          The other process's failure, None if the error is this process's own.
        """
        text = f"{type(error).__name__} {error}".lower()
        if self._has_announced or not any(part in text for part in _COMMUNICATION_TEXTS):
            return None
        try:
            failure = self._announced(0.0)
            if failure is None:
                missing = self._missing()
                # One that failed says so before it leaves; one that was killed does not.
                failure = self._announced(0.0) or self._lost(missing)
        except RuntimeError as store_error:
            failure = ProcessFailed(
                0, f"{self._name(0)} does not answer any more ({first_line(store_error)})"
            )
        self.is_broken |= failure is not None
        return failure

    def lost_process(self) -> ProcessFailed | None:
        """Holds a roll call; returns the failure of a process that does not answer."""
        try:
            return self._announced(0.0) or self._lost(self._missing())
        except RuntimeError:
            return None

    def close(self) -> None:
        """Ends the listening thread; in a broken run, the store's host leaves last."""
        self._closing.set()
        try:
            self._channel.set(f"left {self.index}", "")
            if self.is_broken and self._hosts_store:
                end = time.monotonic() + self._grace + _ROLL_CALL_SECONDS
                for other in set(range(self.count)) - {self.index, *self._known_missing}:
                    self._channel.get(f"left {other}", max(0.0, end - time.monotonic()))
            self._send(self.index, "end")
        except RuntimeError:
            return  # the store is gone, and the thread has noticed
        self._thread.join(timeout=2.0)

    def _name(self, process: int) -> str:
        return f"process {process} of {self.count}"

    def _announced(self, seconds: float) -> ProcessFailed | None:
        text = self._channel.get("failure", seconds)
        if text is None:
            return None
        content = json.loads(text)
        process = int(content["process"])
        if process == self.index:
            return None
        sentence = f"{self._name(process)} failed: {content['sentence']}"
        return ProcessFailed(process, sentence, content["status"])

    def _lost(self, missing: Sequence[int]) -> ProcessFailed | None:
        if not missing:
            return None
        names = ", ".join(self._name(process) for process in missing)
        return ProcessFailed(
            missing[0],
            f"{names} died or is out of reach; go on with --resume_last_run",
        )

    def _missing(self) -> list[int]:
        """Holds a roll call among the listening threads."""
        number = self._channel.add("roll calls")
        others = [other for other in range(self.count) if other != self.index]
        for other in others:
            self._send(other, f"roll call {number}")
        end = time.monotonic() + _ROLL_CALL_SECONDS
        self._known_missing = [
            other
            for other in others
            if self._channel.get(f"here {number} {other}", max(0.0, end - time.monotonic())) is None
        ]
        return self._known_missing

    def _send(self, process: int, text: str) -> None:
        number = self._channel.add(f"letters {process}")
        self._channel.set(f"letter {process} {number}", text)

    def _listen(self) -> None:
        number = 1
        while True:
            try:
                text = self._listener.get(f"letter {self.index} {number}", _DAY)
                if text is None:
                    continue
                number += 1
                kind, _, rest = text.partition(" call ")
                if kind == "roll":
                    self._listener.set(f"here {rest} {self.index}", "")
                    continue
            except RuntimeError:
                text = "failure"  # the store is gone, so a process is
            if text != "failure":
                return
            if not self._closing.wait(self._grace) and not self.is_broken:
                self._give_up()
            return

    def _give_up(self) -> None:
        """Ends a process whose main thread hangs in a collective of the framework."""
        try:
            text = self._listener.get("failure", 1.0)
            content = json.loads(text) if text else {}
            self._listener.set(f"left {self.index}", "")
        except RuntimeError:
            content = {}
        process, sentence = content.get("process", 0), content.get("sentence", "it is gone")
        print(f"error: {self._name(process)} failed: {sentence}", file=sys.stderr, flush=True)
        os._exit(EXIT_LOST)


def first_line(error: BaseException) -> str:
    """Returns the beginning of an error's text."""
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
