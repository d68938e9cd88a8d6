"""How a trial can fail, by name: what went wrong in which function, as one sentence."""

from __future__ import annotations

from typing import Any

from algoperf_ref.harness.results import Status

# Text of the frameworks' errors. Their classes would have to be imported to be tested for, and
# both raise a plain RuntimeError where an allocator of the CPU fails.
_MEMORY_TEXTS = (
    "RESOURCE_EXHAUSTED",
    "out of memory",
    "OUT_OF_MEMORY",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


class SubmissionFailed(Exception):
    """A function of the submission raised, or returned something it must not.

    Attributes:
      status: what to record.
    """

    def __init__(self, function: str, global_step: int, error: BaseException) -> None:
        """Args:
        function: name of the submission function.
        global_step: steps done before.
        error: what it raised; becomes the cause.
        """
        self.status = Status.SUBMISSION_FAILED
        what = f"the submission's {function} raised {type(error).__name__}"
        if is_out_of_memory(error):
            self.status = Status.OUT_OF_MEMORY
            what = f"out of memory in the submission's {function} ({type(error).__name__})"
        super().__init__(f"{what} after {global_step} steps: {_first_line(error)}")


class WrongOutput(SubmissionFailed):
    """A function of the submission returned something of another structure than the API asks."""

    def __init__(self, function: str, global_step: int, problem: str) -> None:
        """Args:
        function: name of the submission function.
        global_step: steps done before.
        problem: what is wrong with the value.
        """
        Exception.__init__(
            self, f"the submission's {function} returned {problem}, after {global_step} steps"
        )
        self.status = Status.WRONG_OUTPUT


def is_out_of_memory(error: BaseException) -> bool:
    """Tells whether an error of Python or of a framework means that memory has run out."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(part in text for part in _MEMORY_TEXTS)


def three_values(value: Any, function: str, global_step: int) -> tuple[Any, Any, Any]:
    """Returns ``(optimizer_state, params, model_state)`` as a submission function gave them.

    Raises:
      WrongOutput: the value is not a tuple or list of three.
    """
    if isinstance(value, (tuple, list)) and len(value) == 3:
        optimizer_state, params, model_state = value
        return optimizer_state, params, model_state
    got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
    raise WrongOutput(
        function,
        global_step,
        f"{got} where (optimizer_state, params, model_state) is expected",
    )


def _first_line(error: BaseException) -> str:
    """A framework's message may run to a page, which the text log has."""
    text = str(error).strip()
    return text.splitlines()[0][:500] if text else "no message"
