"""Directories and archives are one thing to the scorer, and archives are read safely."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.score import sources
from algoperf_ref.score.sources import open_source

from .conftest import WriteTrial
from .samples import hit_at, kinds, log, scored

GOOD = log((5.0, 1, 0, 0.9))
TRIAL = "s/ogbg_jax/trial_1/eval_measurements.csv"


def pack(directory: Path, archive: Path) -> Path:
    """Packs a directory as users do: with a leading ``./`` or the directory's own name."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
            for path in sorted(directory.rglob("*"), reverse=True):
                zipped.write(path, Path("logs") / path.relative_to(directory))
    else:
        mode = {".tar": "w", ".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}[archive.suffix]
        with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
            tar.add(directory, ".")
    return archive


def tar_of(path: Path, *members: tuple[str | tarfile.TarInfo, str]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name) if isinstance(name, str) else name
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.tar.xz", "a.tar.gz", "a.tar.bz2", "a.zip"])
def test_an_archive_scores_like_the_directory_and_nothing_is_unpacked(
    tmp_path: Path, write_trial: WriteTrial, name: str
) -> None:
    for submission, seconds in (("a", 20), ("b", 30)):
        for study in range(3):
            write_trial(submission, hit_at(seconds + study), study=study)
    archive = pack(tmp_path, tmp_path.with_name(name))
    before = sorted(tmp_path.parent.rglob("*"))
    expected, found = scored(tmp_path), scored(archive)
    assert found.leaderboard == expected.leaderboard
    assert [t.hits for t in found.trials] == [t.hits for t in expected.trials]
    assert found.trials[0].location.shown.startswith(f"{archive}:")
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["../" + TRIAL, "/" + TRIAL, "s/../../x/" + TRIAL, "C:/" + TRIAL])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_lead_out_of_an_archive_are_ignored(
    tmp_path: Path, name: str, kind: str
) -> None:
    archive = tmp_path / f"logs.{kind}"
    if kind == "tar":
        tar_of(archive, (name, GOOD), (TRIAL.replace("s/", "t/"), GOOD))
    else:
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.writestr(name, GOOD)
            zipped.writestr(TRIAL.replace("s/", "t/"), GOOD)
    report = scored(archive, num_studies=1)
    assert report.scores == {"t": 1.0}
    assert kinds(report) == ["unsafe_member"]
    assert "leads out of the archive" in report.findings[0].text


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_special_files_in_an_archive_are_not_followed(
    tmp_path: Path, kind: bytes
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(GOOD)
    link = tarfile.TarInfo(TRIAL)
    link.type, link.linkname = kind, str(secret)
    archive = tar_of(tmp_path / "a.tar", (link, ""), (TRIAL.replace("s/", "t/"), GOOD))
    report = scored(archive, num_studies=1)
    assert report.scores["t"] == 1.0
    assert report.scores.get("s", 0.0) == 0.0
    assert "unsafe_member" in kinds(report)


def test_links_in_a_zip_are_not_followed(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        link = zipfile.ZipInfo(TRIAL)
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "/etc/passwd")
        zipped.writestr(TRIAL.replace("s/", "t/"), GOOD)
    assert kinds(scored(archive, num_studies=1)) == ["unsafe_member"]


def test_of_a_member_that_is_there_twice_the_last_one_counts(tmp_path: Path) -> None:
    later = log((7.0, 1, 0, 0.9))
    report = scored(tar_of(tmp_path / "a.tar", (TRIAL, GOOD), (TRIAL, later)), num_studies=1)
    assert report.times["s"]["ogbg"] == 7.0
    assert kinds(report) == ["repeated_member"]


def test_what_is_no_archive_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty.tar").touch()
    whole = tar_of(tmp_path / "whole.tar.xz", (TRIAL, GOOD * 2000))
    with tarfile.open(tmp_path / "good.tar.xz", "w:xz") as tar:
        tar.add(whole, TRIAL)
    packed = (tmp_path / "good.tar.xz").read_bytes()
    (tmp_path / "cut.tar.xz").write_bytes(packed[: len(packed) // 2])
    for name in ("nowhere", "text", "empty.tar", "cut.tar.xz"):
        with pytest.raises(UserError, match=name) as caught:
            scored(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_damaged_member_is_a_trial_without_a_log(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(TRIAL, GOOD)
        zipped.writestr(TRIAL.replace("s/", "t/"), GOOD)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"5.0,1,0,0.9", b"5.0,1,0,0.8", 1))  # wrong checksum
    report = scored(archive, num_studies=1)
    assert report.scores == {"t": 1.0, "s": 0.0}
    assert kinds(report) == ["unusable_file"]


def test_an_archive_of_too_many_members_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_MEMBERS", 3)
    archive = tar_of(tmp_path / "a.tar", *((f"f{i}", "") for i in range(6)))
    with pytest.raises(UserError, match="more than 3 members"):
        open_source(archive)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_log_does_not_block(tmp_path: Path, write_trial: WriteTrial) -> None:
    path = write_trial("s", hit_at(20)) / "eval_measurements.csv"
    write_trial("t", hit_at(20))
    path.unlink()
    os.mkfifo(path)
    report = scored(tmp_path, num_studies=1)
    assert report.scores == {"t": 1.0, "s": 0.0}
    assert kinds(report) == ["unusable_file"]


def test_a_loop_of_links_ends(tmp_path: Path, write_trial: WriteTrial) -> None:
    write_trial("s", hit_at(20))
    (tmp_path / "s" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "s" / "study_0").symlink_to(tmp_path / "s", target_is_directory=True)
    with pytest.raises(UserError, match="are both study 0"):
        scored(tmp_path)
