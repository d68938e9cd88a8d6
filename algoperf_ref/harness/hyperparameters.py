"""Points of a search space as the objects that submissions receive."""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from spec.tuning import SearchSpace, SearchSpaceError, validate_search_space


def to_namedtuple(point: Mapping[str, Any] | None) -> Any:
    """Returns the point as a ``Hyperparameters`` named tuple; None stays None (self-tuning).

    Source: harness contract, section 3.1.
    """
    if point is None:
        return None
    return namedtuple("Hyperparameters", list(point))(**point)


def read_search_space(path: str | Path) -> SearchSpace:
    """Reads and checks a ``tuning_search_space.json``.

    Raises:
      UserError: no such file, no JSON, or not a valid search space; names file and field.
    """
    file = Path(path).expanduser()
    try:
        space = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--tuning_search_space {file}: {error.strerror or error}") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--tuning_search_space {file}: not valid JSON: {error}") from error
    try:
        return validate_search_space(space)
    except SearchSpaceError as error:
        raise UserError(f"--tuning_search_space {file}: {error}") from error
