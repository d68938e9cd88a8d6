"""Errors that a user can mend: one clear sentence, no traceback in command-line tools."""

from __future__ import annotations


class UserError(Exception):
    """The input, not the program, is wrong.

    The message names the file or flag, the field, and the mend. Command-line tools print it as
    one line after ``error:`` and exit with code 2.
    """


class MissingDataError(UserError):
    """A data set is absent, incomplete, or of another tier; names the command that prepares it."""
