"""Unpacking the downloaded archives into image folders, so that an interruption loses little."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from algoperf_ref.errors import MissingDataError, UserError

NAMES = {
    "train": "ILSVRC2012_img_train.tar",
    "validation": "ILSVRC2012_img_val.tar",
    "test": "imagenetv2-matched-frequency.tar.gz",
}
"""File names of the archives, as they are downloaded."""
SOURCES = {
    "train": "image-net.org (after registration)",
    "validation": "image-net.org (after registration)",
    "test": "huggingface.co/datasets/vaishaal/ImageNetV2",
}

LABEL_FILES = (
    "ILSVRC2012_validation_labels.txt",
    "imagenet_2012_validation_synset_labels.txt",
)
"""Names of a file with the class of every validation image, one wnid a line, in their order."""

_PARTIAL = ".partial"


def find(part: str, places: Sequence[Path]) -> Path | None:
    """The archive of a part in the first place that has one."""
    for place in places:
        if (place / NAMES[part]).is_file():
            return place / NAMES[part]
    return None


def validation_labels(places: Sequence[Path]) -> list[str]:
    """The class of every validation image, in the order of their numbers.

    The archive of the validation images does not say what they show. The list is one of
    :data:`LABEL_FILES`, or that of the installed tensorflow-datasets package.

    Raises:
      MissingDataError: there is no such file.
    """
    for place in places:
        for name in LABEL_FILES:
            if (place / name).is_file():
                return (place / name).read_text(encoding="ascii").split()
    try:
        from importlib.resources import files

        # Only as a place of files: the modules of that data set would import TensorFlow.
        listed = files("tensorflow_datasets") / "datasets/imagenet2012/validation_labels.txt"
        return listed.read_text(encoding="ascii").split()
    except (ImportError, OSError) as error:
        raise MissingDataError(
            f"no list of the classes of the validation images: put {LABEL_FILES[0]} (a wnid a "
            "line) beside the archive, or install tensorflow-datasets, which has one"
        ) from error


def unpack(part: str, archive: Path, target: Path, labels: Callable[[], Sequence[str]]) -> None:
    """Unpacks an archive; what is there already stays as it is.

    Args:
      part: of the data.
      archive: the downloaded file.
      target: folder that gets a folder for each class.
      labels: gives the classes of the validation images; called for these only.

    Raises:
      UserError: the archive is damaged or cut off, or holds no image; names it.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        if part == "train":
            found = _unpack_classes(archive, target)
        elif part == "validation":
            found = _unpack_files(archive, target, _by_number(labels()))
        else:
            found = _unpack_files(archive, target, lambda path: path.parent.name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(
            f"{archive} is damaged or not complete ({error or type(error).__name__}): download it "
            "again and repeat the command, which keeps what is unpacked"
        ) from error
    if not found:
        raise UserError(f"{archive} holds no images where they are expected")


def _by_number(labels: Sequence[str]) -> Callable[[Path], str]:
    def folder(path: Path) -> str:
        number = path.stem.rpartition("_")[2]
        if not number.isdecimal() or not 1 <= int(number) <= len(labels):
            raise UserError(f"the validation image {path.name} is not one of {len(labels)}")
        return labels[int(number) - 1]

    return folder


def _unpack_classes(archive: Path, target: Path) -> int:
    """An archive of archives, one for each class; a class folder appears in one rename."""
    found = 0
    with _opened(archive) as (outer, members):
        for member in members:
            wnid = Path(member.name).stem
            if not member.isfile() or Path(member.name).suffix != ".tar":
                continue
            found += 1
            if (target / wnid).is_dir():
                continue
            partial = target / f".{wnid}{_PARTIAL}"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            content = outer.extractfile(member)
            with tarfile.open(fileobj=content, mode="r:") as inner:
                for image in inner:
                    if _is_image(image):
                        _extract(inner, image, partial / Path(image.name).name)
            partial.rename(target / wnid)
    return found


def _unpack_files(archive: Path, target: Path, folder_of: Callable[[Path], str]) -> int:
    found = 0
    with _opened(archive) as (tar, members):
        for member in members:
            if not _is_image(member):
                continue
            # Only the last parts of a name are used: an archive cannot write anywhere else.
            path = Path(member.name)
            folder = folder_of(path)
            if folder in ("", "..", "."):
                continue
            found += 1
            place = target / folder / path.name
            if place.exists() and place.stat().st_size == member.size:
                continue
            place.parent.mkdir(exist_ok=True)
            partial = place.with_name(f".{place.name}{_PARTIAL}")
            _extract(tar, member, partial)
            partial.replace(place)
    return found


def _is_image(member: tarfile.TarInfo) -> bool:
    path = Path(member.name)
    return member.isfile() and path.suffix.lower() in (".jpeg", ".jpg") and path.name[0] != "."


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    try:
        with place.open("wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
        if place.stat().st_size != member.size:
            raise tarfile.ReadError(f"{member.name} is cut off")
    except BaseException:
        place.unlink(missing_ok=True)
        raise


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, Iterator[tarfile.TarInfo]]]:
    """Opens an archive, with a progress bar over its bytes."""
    from tqdm import tqdm

    with (
        archive.open("rb") as raw,
        tarfile.open(fileobj=raw, mode="r:gz" if archive.suffix == ".gz" else "r:") as tar,
        tqdm(
            total=archive.stat().st_size,
            desc=archive.name,
            unit="B",
            unit_scale=True,
            leave=False,
            disable=None,
        ) as bar,
    ):

        def members(file: IO[bytes] = raw) -> Iterator[tarfile.TarInfo]:
            for member in tar:
                yield member
                bar.update(file.tell() - bar.n)

        yield tar, members()
