"""Where the images of each tier lie under a data directory.

    <data_dir>/imagenet/                        full tier
    <data_dir>/mini/imagenet/                   mini tier
      train/<wnid>/*.JPEG                       image folders, the official PyTorch layout
      val/<wnid>/*.JPEG
      imagenet_v2/imagenetv2-matched-frequency-format-val/<label>/*.jpeg
      imagenet2012/5.1.0/                       tfds preparations, the official JAX layout
      imagenet_v2/matched-frequency/3.0.0/
      packed/{train,validation,test}/           converted, quick to read in any order
      index/                                    what is in folders and tfds preparations
      manifest.json                             what was made, from what

What is in a folder ``pytorch`` or ``jax`` of the tier's directory, as the official setup script
leaves it, is found as well. Of several forms of a split, the packed one is read first, then tfds,
then the folder. Examples count in the order of their bare file names, whatever the form.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.data import tfds_store
from algoperf_ref.data.datasets import TIERS
from algoperf_ref.data.places import TierPlaces
from algoperf_ref.errors import MissingDataError

DATASET = "imagenet"
PARTS = ("train", "validation", "test")
"""What the data consist of; the splits ``train`` and ``eval_train`` share one."""
SPLIT_PARTS = {"train": "train", "eval_train": "train", "validation": "validation", "test": "test"}
"""Part of the data that every split uses."""

TEST_FOLDER = Path("imagenet_v2", "imagenetv2-matched-frequency-format-val")
"""Where preparation puts the test images, in folders that are named by label."""
FOLDERS = {"train": Path("train"), "validation": Path("val"), "test": TEST_FOLDER}
"""Folder of every part."""
TFDS = {
    "train": Path("imagenet2012", "5.1.0"),
    "validation": Path("imagenet2012", "5.1.0"),
    "test": Path("imagenet_v2", "matched-frequency", "3.0.0"),
}
"""tfds preparation of every part."""

_OTHER_TEST_FOLDERS = (Path("imagenetv2-matched-frequency-format-val"), Path("imagenet_v2"))


@dataclass(frozen=True)
class Layout(TierPlaces):
    """Places of one tier under a data directory."""

    dataset = DATASET

    def index(self, part: str, form: str) -> Path:
        """File with what is in a part, in a form: ``folder`` or ``tfds``."""
        return self.root / "index" / f"{part}-{form}.npz"

    def packed(self, part: str) -> Path:
        return self.root / "packed" / part

    def folder(self, part: str) -> Path | None:
        """The image folder of a part, with a folder for each class; None if there is none."""
        return find_folder(part, [self.root, self.root / "pytorch"])

    def tfds(self, part: str, file_format: str) -> Path | None:
        """The tfds preparation of a part in a file format; None if there is none."""
        places = [self.root, self.root / "array_record", self.root / "jax"]
        return find_tfds(part, places, file_format)

    def missing(self, part: str) -> MissingDataError:
        """The error for a part that is not there in any form."""
        if self.tfds(part, "tfrecord") is not None:
            return MissingDataError(
                f"{self.tfds(part, 'tfrecord')} is in tfrecord format, which needs TensorFlow: "
                f"convert it with: python -m algoperf_ref.data convert {DATASET} --data_dir "
                f"{self.data_dir}"
            )
        message = f"no {self.tier} tier of {DATASET} ({part} images) in {self.root}"
        (other,) = (tier for tier in TIERS if tier != self.tier)
        if Layout(self.data_dir, other).manifest.is_file():
            message += f" (the {other} tier is there)"
        return MissingDataError(f"{message}; prepare it with: {self.prepare_command()}")


def find_folder(part: str, places: list[Path]) -> Path | None:
    """The first image folder of a part in some places; of the test images, by its inner name."""
    names: list[Path] = [FOLDERS[part], *(_OTHER_TEST_FOLDERS if part == "test" else ())]
    for place in places:
        for name in names:
            if class_folders(place / name, part):
                return place / name
    return None


def class_folders(folder: Path, part: str) -> list[str]:
    """Names of the folders of the classes in the order of their labels; none if there are none."""
    try:
        found = [one.name for one in folder.iterdir() if one.is_dir() and one.name[0] != "."]
    except OSError:
        return []
    if part == "test":
        return sorted((name for name in found if name.isdecimal()), key=int)
    return sorted(found)


def find_tfds(part: str, places: list[Path], file_format: str) -> Path | None:
    """The first tfds preparation of a part in a file format."""
    for place in places:
        if tfds_store.file_format(place / TFDS[part]) == file_format:
            return place / TFDS[part]
    return None
