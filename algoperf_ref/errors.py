"""Errors that a user can mend: one clear sentence, no traceback in command-line tools."""

from __future__ import annotations


class UserError(Exception):
    """The input, not the program, is wrong.

    The message names the file or flag, the field, and the mend. Command-line tools print it as
    one line after ``error:`` and exit with code 2.
    """


class MissingDataError(UserError):
    """A data set is absent, incomplete, or of another tier; names the command that prepares it."""


class ProcessFailed(Exception):
    """Another process of a distributed run cannot go on, so this one cannot either.

    Attributes:
      process: its number, from 0; None if it is not known which one.
      status: how its trial ended, by the names of ``result.json``; ``process_lost`` if it vanished
        without a word.
    """

    LOST = "process_lost"

    def __init__(self, process: int | None, sentence: str, status: str = LOST) -> None:
        """Args:
        process: see the attribute.
        sentence: what happened, with the number of the process.
        status: see the attribute.
        """
        super().__init__(sentence)
        self.process = process
        self.status = status
