"""A run of several processes: how they come together, agree, and part."""

from __future__ import annotations

import os
import pickle
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from algoperf_ref.errors import ProcessFailed, UserError
from algoperf_ref.frameworks.peers import Peers, first_line
from algoperf_ref.frameworks.twins import load_twin


@dataclass(frozen=True)
class ProcessSettings:
    """How the processes of a run find each other; see ``python -m algoperf_ref.run --help``.

    Attributes:
      coordinator_address: JAX only: ``host:port`` of process 0.
      num_processes: JAX only: number of processes.
      process_id: JAX only: number of this process, from 0.
      timeout_seconds: longest wait for another process.
    """

    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    timeout_seconds: float = 1800.0


class Group(ABC):
    """The processes of this run and what they do together.

    Every method that talks to the others raises :class:`ProcessFailed` if one of them has failed.
    """

    def __init__(self, peers: Peers) -> None:
        """Args:
        peers: the other processes.
        """
        self.peers = peers
        self.index = peers.index
        self.count = peers.count

    def agree(self, values: Sequence[float]) -> list[float]:
        """Returns the largest of every value over the processes, the same on all of them."""
        try:
            return self._maximum(values)
        except RuntimeError as error:
            raise self._failure(error) from error

    def broadcast(self, value: Any) -> Any:
        """Returns the value of process 0; what the others pass is not looked at."""
        try:
            data = pickle.dumps(value) if self.index == 0 else None
            # Only ever between the processes of this run.
            received = self._broadcast(data)
        except RuntimeError as error:
            raise self._failure(error) from error
        return value if self.index == 0 else pickle.loads(received)

    def gather(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Returns numpy arrays of all processes, joined along axis 0 in their order.

        Args:
          arrays: of equal shapes on all processes, each with at least one axis.
        """
        try:
            return self._gather(arrays)
        except RuntimeError as error:
            raise self._failure(error) from error

    def announce(self, error: BaseException, status: str) -> None:
        """Tells the others that this process cannot go on.

        Raises:
          ProcessFailed: the error is the consequence of another process's failure.
        """
        failure = self.peers.verdict(error.__cause__ or error)
        if failure is not None:
            raise failure from error
        self.peers.announce(str(error) or type(error).__name__, status)

    def leave(self) -> None:
        """Parts from the others: together if all is well, at once if not."""
        if not self.peers.is_broken:
            self.agree([0.0])  # a store in process 0 outlives the questions of the others
        self.peers.close()
        self._leave()

    def _failure(self, error: RuntimeError) -> ProcessFailed:
        failure = self.peers.verdict(error)
        if failure is None:
            self.peers.is_broken = True
            failure = ProcessFailed(
                None,
                f"process {self.index} of {self.count} waited in vain for the others: "
                f"{first_line(error)}",
            )
        return failure

    # Below, a RuntimeError is what the frameworks raise when they do not reach another process.

    @abstractmethod
    def _maximum(self, values: Sequence[float]) -> list[float]:
        """Does what :meth:`agree` says."""

    @abstractmethod
    def _broadcast(self, data: bytes | None) -> bytes:
        """Returns the bytes of process 0, which is the one that gives some."""

    @abstractmethod
    def _gather(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Does what :meth:`gather` says."""

    @abstractmethod
    def _leave(self) -> None:
        """Gives back what :func:`joined` set up, without waiting if the run is broken."""


_current: Group | None = None
_last_index = 0
_is_broken = False


def current() -> Group | None:
    """Returns the processes of this run, None if it is alone."""
    return _current


def process_index() -> int:
    """Returns this process's number, from 0, also after its run has ended."""
    return _last_index


def exit_code(code: int) -> int:
    """Returns the exit code; ends the process here if it could not end in good order.

    After a failure the frameworks would wait for processes that are gone.
    """
    if _is_broken:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


@contextmanager
def joined(framework: str, settings: ProcessSettings) -> Iterator[Group | None]:
    """Brings the processes of a run together, and parts them at its end.

    Args:
      framework: ``"jax"`` or ``"pytorch"``.
      settings: how they find each other. PyTorch's are in the environment, set by ``torchrun``.

    Yields:
      The group, None if this process is alone; also what :func:`current` returns meanwhile.

    Raises:
      UserError: settings that do not fit the framework or each other.
    """
    global _current, _last_index, _is_broken
    _check(framework, settings, os.environ)
    if _current is not None or not _is_distributed(framework, settings, os.environ):
        yield _current
        return
    group: Group | None = load_twin("algoperf_ref.frameworks.{}_processes", framework).join(
        settings
    )
    if group is None:
        yield None
        return
    _current, _last_index = group, group.index
    try:
        yield group
    except BaseException as error:
        if not isinstance(error, ProcessFailed):
            group.announce(error, ProcessFailed.LOST)
        group.peers.is_broken = True
        raise
    finally:
        _current = None
        _is_broken = group.peers.is_broken
        group.leave()


def _is_distributed(
    framework: str, settings: ProcessSettings, environment: Mapping[str, str]
) -> bool:
    if framework == "pytorch":
        return "LOCAL_RANK" in environment
    return settings.coordinator_address is not None or _slurm_tasks(environment) > 1


def _slurm_tasks(environment: Mapping[str, str]) -> int:
    """Number of tasks that ``srun`` started this process as one of; 0 outside of it."""
    return int(environment.get("SLURM_STEP_NUM_TASKS", 0))


def _check(framework: str, settings: ProcessSettings, environment: Mapping[str, str]) -> None:
    flags = {
        "--coordinator_address": settings.coordinator_address,
        "--num_processes": settings.num_processes,
        "--process_id": settings.process_id,
    }
    given = [flag for flag, value in flags.items() if value is not None]
    if framework == "pytorch":
        if given:
            raise UserError(
                f"{given[0]} is for JAX: start several PyTorch processes with "
                "torchrun --nproc_per_node=N -m algoperf_ref.run ..."
            )
        return
    if "TORCHELASTIC_RUN_ID" in environment:
        raise UserError(
            "torchrun starts PyTorch processes, and --framework is jax: start one process per host "
            "with --coordinator_address, --num_processes and --process_id"
        )
    if not given:
        return
    if settings.coordinator_address is None:
        raise UserError(
            f"{given[0]} is given, but --coordinator_address is missing: the host and port of "
            "process 0, for example 10.0.0.1:1234"
        )
    missing = [flag for flag in flags if flag not in given]
    if missing and _slurm_tasks(environment) < 2:
        raise UserError(f"--coordinator_address is given, but {' and '.join(missing)} is missing")
    host, colon, port = settings.coordinator_address.rpartition(":")
    if not (host and colon and port.isdigit()):
        raise UserError(
            f"--coordinator_address is {settings.coordinator_address!r}; it must be host:port"
        )
    count, index = settings.num_processes, settings.process_id
    if count is not None and index is not None and not 0 <= index < count:
        raise UserError(
            f"--process_id is {index}; with --num_processes={count} it must be from 0 to "
            f"{count - 1}"
        )
