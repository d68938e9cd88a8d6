"""Loads a submission from any path and checks it before anything is trained."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from algoperf_ref.compat import official_names
from algoperf_ref.errors import UserError
from spec.submission import check_submission


@dataclass(frozen=True)
class Submission:
    """A loaded submission.

    Attributes:
      module: the module with the submission functions.
      path: absolute path of its file.
      takes_train_state: ``update_params`` has a parameter ``train_state``.
      has_prepare_for_eval: the optional function is defined.
    """

    module: ModuleType
    path: Path
    takes_train_state: bool
    has_prepare_for_eval: bool


def find_submission_file(path: str | Path, framework: str) -> Path:
    """Returns the file of a submission.

    Args:
      path: a Python file, or a directory with ``submission_<framework>.py`` or
        ``submission.py``.
      framework: ``"jax"`` or ``"pytorch"``.

    Raises:
      UserError: nothing there, or not a Python file.
    """
    given = Path(path).expanduser()
    resolved = given.resolve()
    if resolved.is_dir():
        names = (f"submission_{framework}.py", "submission.py")
        for name in names:
            if (resolved / name).is_file():
                return resolved / name
        raise UserError(f"--submission_path {given}: the directory has no {' or '.join(names)}")
    if not resolved.is_file():
        raise UserError(f"--submission_path {given}: there is no such file or directory")
    if resolved.suffix != ".py":
        raise UserError(f"--submission_path {given}: a submission is a Python file ending in .py")
    return resolved


@contextmanager
def loaded_submission(
    path: str | Path, framework: str, *, compat: bool = True
) -> Iterator[Submission]:
    """Imports a submission, and forgets it and its helper modules afterwards.

    A file inside packages (directories with ``__init__.py``) is imported under its dotted name,
    so that relative imports work; files written for the official package find it (see
    :mod:`algoperf_ref.compat`); the directory above the packages, the file's own directory and
    the working directory are on ``sys.path`` meanwhile, so that helper modules beside it work.

    Args:
      path: see :func:`find_submission_file`.
      framework: ``"jax"`` or ``"pytorch"``.
      compat: whether the official package's names lead to this one meanwhile.

    Yields:
      The submission, with all required functions present.

    Raises:
      UserError: cannot be found or imported, or functions are missing or have other parameters;
        all problems are named at once.
    """
    file = find_submission_file(path, framework)
    root, name = _import_name(file)
    before = set(sys.modules)
    added = [str(directory) for directory in (file.parent, root, Path.cwd())]
    sys.path[:0] = added
    try:
        # Until the end: a submission may import in the middle of its training.
        with official_names(file, framework, enabled=compat):
            module = _import(file, name)
            problems = check_submission(module)
            if problems:
                raise UserError(f"submission {file}: {'; '.join(problems)}")
            parameters = inspect.signature(module.update_params).parameters
            yield Submission(
                module=module,
                path=file,
                takes_train_state="train_state" in parameters,
                has_prepare_for_eval=getattr(module, "prepare_for_eval", None) is not None,
            )
    finally:
        for directory in added:
            if directory in sys.path:
                sys.path.remove(directory)
        _forget(before, file.parent)


def _import_name(file: Path) -> tuple[Path, str]:
    """Returns the directory to import from and the dotted module name."""
    parts = [file.stem]
    directory = file.parent
    while (directory / "__init__.py").is_file() and directory.parent != directory:
        parts.insert(0, directory.name)
        directory = directory.parent
    return directory, ".".join(parts)


def _import(file: Path, name: str) -> ModuleType:
    try:
        if "." in name and all(part.isidentifier() for part in name.split(".")):
            module = importlib.import_module(name)
            if Path(module.__file__ or "").resolve() == file:
                return module
        # Not in a package, or hidden by another module of that name: a name of its own.
        alias = f"algoperf_submission_{zlib.crc32(str(file).encode()):08x}"
        module_spec = importlib.util.spec_from_file_location(alias, file)
        if module_spec is None or module_spec.loader is None:
            raise ImportError(f"no loader for {file}")
        module = importlib.util.module_from_spec(module_spec)
        sys.modules[alias] = module
        module_spec.loader.exec_module(module)
        return module
    except UserError:
        raise
    except SystemExit as error:
        raise UserError(
            f"submission {file}: it ends the interpreter when it is imported"
        ) from error
    except Exception as error:
        place = _last_line_of(error, file)
        raise UserError(
            f"submission {file}: importing it raises {type(error).__name__}: {error}{place}"
        ) from error


def _last_line_of(error: BaseException, file: Path) -> str:
    """Returns `` (line N)`` for the last frame of the traceback that lies in the file."""
    line = None
    traceback = error.__traceback__
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename) == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f" (line {line})" if line else ""


def _forget(before: set[str], directory: Path) -> None:
    """Removes modules that were loaded from the submission's directory.

    Another submission may have helper modules of the same names.
    """
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules.get(name), "__file__", None)
        if origin is not None and directory in Path(origin).resolve().parents:
            del sys.modules[name]
    importlib.invalidate_caches()
