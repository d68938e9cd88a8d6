"""Checkpoints: one checksummed file per saved step, replaced atomically, read without pickle.

A checkpoint is an uncompressed zip archive::

    structure.json      the tree, see records.codec
    arrays/00000.npy    its arrays, in order
    manifest.json       format number, step, and size and SHA-256 of every other member

The file appears under its name only when it is complete and on disk, and older files are deleted
only after that, so that a kill at any instant leaves a usable checkpoint. Equal states give equal
bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from algoperf_ref.errors import UserError
from algoperf_ref.records import codec
from algoperf_ref.records.files import CannotWrite, remove_leftovers, replacing
from spec.records import RecordNameError, checkpoint_name, parse_numbered

FORMAT = 1
"""Number of the file format written; readers refuse others."""

_PREFIX = checkpoint_name(0).removesuffix("0")
_STRUCTURE = "structure.json"
_MANIFEST = "manifest.json"
_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # The earliest that zip knows: no clock reading in the file.

# Damage can surface in any layer: zip directory, zip features we never write, JSON, our checks.
_DAMAGE: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
    struct.error,
    zipfile.BadZipFile,
)


class CheckpointError(UserError):
    """A checkpoint file is missing, damaged or not a checkpoint."""


def save(directory: Path, step: int, state: dict[str, Any], *, keep: int | None = 1) -> Path:
    """Writes ``checkpoint_<step>`` and then removes checkpoints that are no longer wanted.

    Args:
      directory: an existing directory, normally that of a trial.
      step: global step, at least 0.
      state: what to store; see :func:`algoperf_ref.records.codec.encode` for the types. See
        :func:`save_encoded` for the rest.
    """
    return save_encoded(directory, step, codec.encode(state), keep=keep)


def save_encoded(
    directory: Path, step: int, encoded: codec.Encoded, *, keep: int | None = 1
) -> Path:
    """Does what :func:`save` does with a state that is encoded already.

    Args:
      directory: an existing directory, normally that of a trial.
      step: global step, at least 0.
      encoded: what to store.
      keep: number of checkpoints to keep, this one included; None keeps all. Files of later
        steps come from a continuation that was abandoned (the run went back to an earlier
        checkpoint) and are removed unless ``keep`` is None.

    Returns:
      The path of the new file.

    Raises:
      CannotWrite: the file cannot be written; earlier checkpoints are untouched.
      ValueError: ``step`` or ``keep`` is out of range.
    """
    if step < 0 or (keep is not None and keep < 1):
        raise ValueError(f"step must be at least 0 and keep at least 1, not {step} and {keep}")
    directory = Path(directory)
    path = directory / checkpoint_name(step)
    try:
        with replacing(path) as file:
            _write(file, step, encoded)
    except OSError as error:
        raise CannotWrite(
            f"cannot write the checkpoint {path}: {error.strerror or error}; "
            "earlier checkpoints are still there"
        ) from error
    remove_leftovers(directory, _PREFIX)
    if keep is not None:
        earlier = [s for s in _steps(directory) if s < step]
        wanted = {step, *earlier[len(earlier) - (keep - 1) :]}
        for other in set(_steps(directory)) - wanted:
            (directory / checkpoint_name(other)).unlink(missing_ok=True)
    return path


def latest(directory: Path) -> Path | None:
    """Returns the checkpoint of the highest step, damaged or not, or None if there is none."""
    steps = _steps(Path(directory))
    return Path(directory) / checkpoint_name(steps[-1]) if steps else None


def load(path: Path) -> dict[str, Any]:
    """Reads one checkpoint.

    Args:
      path: a file written by :func:`save`.

    Returns:
      The stored state, as :func:`algoperf_ref.records.codec.decode` gives it.

    Raises:
      CheckpointError: the file is missing, damaged, of another format, or was renamed.
    """
    return _read(Path(path))[0]


def load_latest(directory: Path) -> tuple[dict[str, Any], int] | None:
    """Reads the newest usable checkpoint.

    Args:
      directory: where checkpoints are.

    Returns:
      The state and its step, or None if the directory holds no checkpoint. A damaged file is
      passed over with a warning that names it.

    Raises:
      CheckpointError: there are checkpoints and none of them is usable. Starting again from
        nothing would lose the run, so that decision is left to a person.
    """
    steps = _steps(Path(directory))
    problems = []
    for step in reversed(steps):
        path = Path(directory) / checkpoint_name(step)
        try:
            return _read(path)
        except CheckpointError as error:
            problems.append(str(error))
            remedy = "trying the one before" if step != steps[0] else "no earlier one is left"
            warnings.warn(f"{error}; {remedy}", stacklevel=2)
    if problems:
        raise CheckpointError(
            f"no usable checkpoint in {directory} ({'; '.join(problems)}); "
            "restore the file, or start again with --overwrite"
        )
    return None


def _steps(directory: Path) -> list[int]:
    steps = []
    for entry in directory.iterdir() if directory.is_dir() else ():
        with contextlib.suppress(RecordNameError):  # other files of the trial
            steps.append(parse_numbered(entry.name, "checkpoint"))
    return sorted(steps)


class _Digest:
    """A write-only file that passes bytes on and keeps their SHA-256 and number."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def write(self, content: bytes) -> int:
        self._hash.update(content)
        self._size += len(content)
        return int(self._file.write(content))

    def entry(self) -> dict[str, Any]:
        return {"sha256": self._hash.hexdigest(), "bytes": self._size}


def _write(file: BinaryIO, step: int, encoded: codec.Encoded) -> None:
    members: dict[str, Any] = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(zipfile.ZipInfo(_STRUCTURE, _TIMESTAMP), "w", force_zip64=True) as raw:
            digest = _Digest(raw)
            digest.write(json.dumps(encoded.structure).encode("ascii"))
        members[_STRUCTURE] = digest.entry()
        for index, array in enumerate(encoded.arrays):
            name = _array_name(index)
            with archive.open(zipfile.ZipInfo(name, _TIMESTAMP), "w", force_zip64=True) as raw:
                digest = _Digest(raw)
                np.lib.format.write_array(cast(Any, digest), array, allow_pickle=False)
            members[name] = digest.entry()
        manifest = {"format": FORMAT, "step": step, "members": members}
        archive.writestr(zipfile.ZipInfo(_MANIFEST, _TIMESTAMP), json.dumps(manifest, indent=1))


def _read(path: Path) -> tuple[dict[str, Any], int]:
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(_member(archive, _MANIFEST))
            if manifest["format"] != FORMAT:
                raise ValueError(f"format {manifest['format']!r}, this version reads {FORMAT}")
            step, members = manifest["step"], manifest["members"]
            if path.name != checkpoint_name(step):
                raise ValueError(f"it holds step {step!r}, so it was renamed")
            if sorted([*members, _MANIFEST]) != sorted(archive.namelist()):
                raise ValueError("its members are not those of its manifest")
            structure = json.loads(_checked(archive, _STRUCTURE, members[_STRUCTURE]))
            names = [_array_name(index) for index in range(len(members) - 1)]
            arrays = [_array(_checked(archive, name, members[name])) for name in names]
        state = codec.decode(structure, arrays)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}, not a dict")
        return state, step
    except _DAMAGE as error:
        raise CheckpointError(f"{path} is not a usable checkpoint: {error}") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"member {name} is compressed")
    return archive.read(name)


def _checked(archive: zipfile.ZipFile, name: str, entry: dict[str, Any]) -> bytes:
    content = _member(archive, name)
    if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise ValueError(f"member {name} does not match its checksum")
    return content


def _array(content: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _array_name(index: int) -> str:
    return f"arrays/{index:05d}.npy"
