"""Data sets in the tfds array_record format, written and read without TensorFlow or network.

Mini data is written under the real data set's name and version with its own features, so that the
same reader serves both tiers.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from algoperf_ref.data.files import atomic_directory, read_json
from algoperf_ref.errors import UserError

INSTALL_HINT = 'pip install "algoperf-ref[data]"'


def import_tfds() -> ModuleType:
    """The tensorflow_datasets module.

    Raises:
      UserError: if it is not installed.
    """
    try:
        import tensorflow_datasets  # type: ignore[import-untyped]
    except ImportError as error:
        raise UserError(
            f"reading and writing prepared data needs tensorflow-datasets ({error}): {INSTALL_HINT}"
        ) from error
    module: ModuleType = tensorflow_datasets
    return module


def file_format(version_dir: Path) -> str | None:
    """File format of a tfds data set, "tfrecord" or "array_record"; None if there is no data."""
    dataset_info = read_json(version_dir / "dataset_info.json")
    if not isinstance(dataset_info, dict):
        return None
    # tfds left the field out when tfrecord was the only format.
    return str(dataset_info.get("fileFormat") or "tfrecord")


def write(
    version_dir: Path,
    splits: Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    description: str,
    licence: str,
) -> None:
    """Writes `<root>/<name>/<version>` with the features of the stock builder of that name.

    Records stand in the order of iteration. The directory appears in one rename.
    """
    tfds = import_tfds()
    name, version = version_dir.parent.name, version_dir.name
    stock = tfds.builder_cls(name)(data_dir=str(version_dir.parent.parent / "none"))

    base: Any = tfds.core.GeneratorBasedBuilder

    class Writer(base, skip_registration=True):  # type: ignore[misc,call-arg]
        VERSION = tfds.core.Version(version)
        # No checksum file to look for beside the code; the search needs a package that tfds does
        # not declare for the Pythons it supports (importlib_resources).
        code_path = None

        def _info(self) -> Any:
            return tfds.core.DatasetInfo(
                builder=self,
                features=stock.info.features,
                description=description,
                license=licence,
                disable_shuffling=True,
            )

        def _split_generators(self, _: Any) -> dict[str, Any]:
            return {split: self._generate_examples(items) for split, items in splits.items()}

        def _generate_examples(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Any]:
            yield from enumerate(items)

    Writer.name = name
    with atomic_directory(version_dir) as partial, _quiet(tfds):
        scratch = partial / "scratch"
        builder = Writer(data_dir=str(scratch), file_format="array_record")
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False)
        )
        for path in (scratch / name / version).iterdir():
            path.rename(partial / path.name)
        shutil.rmtree(scratch)


def read(version_dir: Path, split: str) -> Sequence[Mapping[str, Any]]:
    """Random access to the decoded examples of a split in array_record format."""
    tfds = import_tfds()
    with _quiet(tfds):
        source: Sequence[Mapping[str, Any]] = tfds.builder_from_directory(
            str(version_dir)
        ).as_data_source(split)
    return source


@contextlib.contextmanager
def _quiet(tfds: ModuleType) -> Iterator[None]:
    """Keeps the library's own progress bars, notices and warnings off the console, for a while."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    bars = tfds.core.utils.tqdm_utils
    active = bars._active
    bars.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        if active:
            bars.enable_progress_bar()
