"""The commands of CIFAR-10; see ``algoperf_ref.data.datasets``. Its files are read as they are."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path

from algoperf_ref.data.cifar import files
from algoperf_ref.data.cifar.split import COUNTS
from algoperf_ref.data.datasets import Listing
from algoperf_ref.data.files import atomic_directory, directory_bytes
from algoperf_ref.errors import UserError

Say = Callable[[str], object]


def prepare(
    data_dir: str | PathLike[str],
    tier: str,
    *,
    source: Path | None = None,
    processes: int | None = None,
    say: Say = print,
) -> Path:
    """Unpacks or links the user's files and reads them once.

    Args:
      data_dir: directory of all data sets; see `algoperf_ref.data.cifar.files`.
      tier: "full"; there is no other.
      source: folder with the downloaded archive or with the unpacked folder; None looks where they
        will lie.
      processes: not used.
      say: called with a line of text at every stage.

    Returns:
      The directory of the data.

    Raises:
      UserError: if something is missing or not as it should be.
    """
    files.check_tier(tier)
    root = Path(data_dir).expanduser() / files.DATASET
    place = files.find(data_dir)
    if place is None and source is not None:
        found = [source / files.FOLDER, source / files.ARCHIVE, source]
        place = next(
            (one for one in found if one.name in (files.FOLDER, files.ARCHIVE) and one.exists()),
            None,
        )
    if place is None:
        raise files.missing(data_dir)
    target = root / files.FOLDER
    try:
        if place.is_file():
            say(f"unpacking {place}")
            contents = files.contents(place, (*files.TRAIN_FILES, *files.TEST_FILES))
            with atomic_directory(target) as partial:
                for name, content in contents.items():
                    (partial / name).write_bytes(content)
        elif files.find(data_dir) is None:
            root.mkdir(parents=True, exist_ok=True)
            target.symlink_to(place.resolve(), target_is_directory=True)
            say(f"linked {target} to {place}")
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror}): give another --data_dir"
        ) from error
    problems = verify(data_dir, tier)
    if problems:
        raise UserError(problems[0])
    say(f"{root}: ready")
    return root


def verify(data_dir: str | PathLike[str], tier: str) -> list[str]:
    """Reads all files: shapes, types, labels, numbers of images.

    Returns:
      One sentence per problem; empty if there is none.

    Raises:
      MissingDataError: there are no data.
      UserError: there is no such tier.
    """
    files.check_tier(tier)
    place = files.find(data_dir)
    if place is None:
        raise files.missing(data_dir)
    problems = []
    wanted = {
        files.TRAIN_FILES: COUNTS["train"] + COUNTS["validation"],
        files.TEST_FILES: COUNTS["test"],
    }
    for names, count in wanted.items():
        try:
            _, labels = files.read(place, names)
        except UserError as error:
            problems.append(str(error))
            continue
        if len(labels) != count:
            problems.append(
                f"{place}: {len(labels):,} images in {names[0]} and the like, expected {count:,}; "
                f"download {files.ARCHIVE} again"
            )
    return problems


def listing(data_dir: str | PathLike[str]) -> list[Listing]:
    """What is there; no file is opened."""
    place = files.find(data_dir)
    if place is None:
        return []
    size = directory_bytes(place.resolve()) if place.is_dir() else place.stat().st_size
    return [
        Listing(
            dataset=files.DATASET,
            tier="full",
            place=str(place),
            state="prepared",
            examples=dict(COUNTS),
            bytes=size,
        )
    ]
