"""Reading the files of a trial in bounded memory; what cannot be read is named in one sentence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.score.sources import READ_ERRORS, Opener, Reader
from spec.audit import DamagedEvent

_BLOCK_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 20
_MAX_RESULT_BYTES = 64 << 20


class Opened:
    """An open file whose errors of reading name it, in one sentence."""

    def __init__(self, opener: Opener, shown: str) -> None:
        self._opener, self._shown = opener, shown

    def __enter__(self) -> Reader:
        try:
            self._context = self._opener()
            self._file = self._context.__enter__()
        except READ_ERRORS as error:
            raise self._named(error) from error
        return self

    def __exit__(self, *exception: Any) -> None:
        self._context.__exit__(*exception)

    def read(self, size: int, /) -> bytes:
        """Returns at most ``size`` bytes."""
        try:
            return self._file.read(size)
        except READ_ERRORS as error:
            raise self._named(error) from error

    def _named(self, error: BaseException) -> UserError:
        return UserError(f"cannot read {self._shown}: {one_line(error)}")


class Flag:
    """Something that may happen while a file is read.

    Attributes:
      is_set: whether it has.
    """

    is_set = False


def events(file: Reader, torn: Flag) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the lines of an event log, some at a time; ``torn`` is set if the last has no end."""
    number, rest = 0, b""
    while block := file.read(_BLOCK_BYTES):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            yield number, _event(line, number)
        if len(rest) > _MAX_LINE_BYTES:
            raise DamagedEvent(f"more than {_MAX_LINE_BYTES} bytes", number + 1)
    torn.is_set = bool(rest)


def _event(line: bytes, number: int) -> Mapping[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedEvent(f"not JSON ({one_line(error)})", number) from error
    if not isinstance(event, dict):
        raise DamagedEvent("not a JSON object", number)
    return event


def whole(file: Reader) -> bytes:
    """Returns the content of a file, cut off where it is absurdly long."""
    blocks = bytearray()
    while len(blocks) <= _MAX_RESULT_BYTES and (block := file.read(_BLOCK_BYTES)):
        blocks += block
    return bytes(blocks)


def one_line(error: BaseException) -> str:
    """Returns the message of an error as one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]
