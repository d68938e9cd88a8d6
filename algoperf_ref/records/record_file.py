"""The finished runs of a long piece of work, one JSON line each, so that it can go on later."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError

Record = Mapping[str, Any]
"""One line: JSON values with an ``id``; lists of numbers may hold NaN and infinities."""


class RecordFile:
    """Lines of one piece of work, safe to append to from one process.

    Attributes:
      records: the records by ``id``, in the order of the file.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Opens the file, and reads what is there.

        Args:
          path: the file; created with its header if it is not there.
          header: what the records belong to; tells a file of other work apart.

        Raises:
          UserError: the file is of other work, or damaged before its last line.
        """
        self._path = path
        first = json.dumps(header) + "\n"
        self.records: dict[str, Record] = {}
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        if lines and not lines[-1].endswith("\n"):
            # The command was stopped while it wrote this line.
            lines.pop()
        if not lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [first]
        if lines[0] != first:
            raise UserError(
                f"{path} holds runs of another study ({lines[0].strip()[:200]}): give the same "
                "flags to go on with it, or another --output"
            )
        path.write_text("".join(lines), encoding="utf-8")
        for number, line in enumerate(lines[1:], start=2):
            try:
                record = {name: _from_json(value) for name, value in json.loads(line).items()}
                self.records[record["id"]] = record
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{path}, line {number} is damaged ({error}): delete it") from error

    def append(self, record: Record) -> None:
        """Adds a finished run; it is on disk when this returns."""
        line = json.dumps({name: _to_json(value) for name, value in record.items()})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.records[record["id"]] = record


def _to_json(value: Any) -> Any:
    """JSON has no infinities: in a list, numbers that are not finite become null."""
    if isinstance(value, list):
        return [None if isinstance(v, float) and not math.isfinite(v) else v for v in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [math.nan if v is None else v for v in value]
    return value
