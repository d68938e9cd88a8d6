"""How processes learn that another one has failed or died."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from algoperf_ref.frameworks.peers import Peers


class Store:
    """A channel in memory."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self.is_gone = False

    def add(self, key: str) -> int:
        with self._changed:
            self._check()
            self._counts[key] = self._counts.get(key, 0) + 1
            return self._counts[key]

    def set(self, key: str, text: str) -> None:
        with self._changed:
            self._check()
            self._values[key] = text
            self._changed.notify_all()

    def get(self, key: str, seconds: float) -> str | None:
        end = time.monotonic() + seconds
        with self._changed:
            while key not in self._values:
                self._check()
                if not self._changed.wait(min(0.05, max(0.0, end - time.monotonic()))):
                    self._check()
                    if time.monotonic() >= end:
                        return None
            return self._values[key]

    def _check(self) -> None:
        if self.is_gone:
            raise RuntimeError("no store")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def peers(store: Store) -> Iterator[list[Peers]]:
    made = [Peers(index, 3, store, store, hosts_store=False) for index in range(3)]
    yield made
    for peer in made:
        peer.is_broken = True  # nobody is ended for what a test announced
        peer.close()


CLOSED = RuntimeError("gloo: Connection closed by peer [127.0.0.1]:4711")


def test_a_failure_is_told_to_the_others_with_the_number_of_the_process(
    peers: list[Peers],
) -> None:
    peers[2].announce("no more ideas", "submission_failed")
    for other in peers[:2]:
        failure = other.verdict(CLOSED)
        assert failure is not None
        assert (failure.process, failure.status) == (2, "submission_failed")
        assert str(failure) == "process 2 of 3 failed: no more ideas"
        assert other.is_broken
    assert peers[2].verdict(CLOSED) is None, "its own failure"


def test_the_first_failure_counts(peers: list[Peers]) -> None:
    peers[1].announce("first", "submission_failed")
    peers[2].announce("second", "out_of_memory")
    failure = peers[0].verdict(CLOSED)
    assert failure is not None
    assert failure.process == 1


def test_an_error_of_its_own_is_not_blamed_on_others(peers: list[Peers]) -> None:
    peers[1].announce("no more ideas", "submission_failed")
    assert peers[0].verdict(ValueError("a wrong shape")) is None


def test_a_process_that_does_not_answer_is_named(store: Store) -> None:
    alive = [Peers(index, 3, store, store, hosts_store=False) for index in (0, 2)]
    failure = alive[0].verdict(CLOSED)
    assert failure is not None
    assert (failure.process, failure.status) == (1, "process_lost")
    assert "process 1 of 3 died or is out of reach" in str(failure)
    for peer in alive:
        peer.close()


def test_all_processes_answer_a_roll_call(peers: list[Peers]) -> None:
    assert peers[1].lost_process() is None
    assert peers[0].verdict(CLOSED) is None


def test_a_store_that_is_gone_means_that_process_0_is(store: Store) -> None:
    peer = Peers(1, 2, store, store, hosts_store=False)
    store.is_gone = True
    failure = peer.verdict(CLOSED)
    assert failure is not None
    assert failure.process == 0
    peer.announce("heard by nobody", "submission_failed")
    peer.close()
