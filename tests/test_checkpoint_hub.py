"""Checkpoints of the Hub, pinned to a commit: from its cache, as it is on a machine without a network."""

import shutil
from pathlib import Path

import pytest
from huggingface_hub import constants

from model.backends.checkpoint.hub import is_address
from model.backends.checkpoint.loading import WEIGHTS, CheckpointError, name_of, path_of
from model.decoding.load_for_inference import open_checkpoint

FIRST, SECOND = "a" * 40, "b" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> Path:
    """Two commits of one repository, the second of which is its branch main."""
    repository = tmp_path / "models--lab--tiny"
    for commit in (FIRST, SECOND):
        shutil.copytree(tiny_checkpoint, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(SECOND)
    (repository / "refs" / "v1").write_text(FIRST)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


def test_an_address_with_a_revision_opens_that_commit_and_is_called_by_it(cache: Path):
    assert open_checkpoint("lab/tiny@v1", device="cpu").name == f"lab/tiny@{FIRST}"
    assert path_of(f"lab/tiny@{FIRST}") == cache / "models--lab--tiny" / "snapshots" / FIRST


def test_an_address_without_one_is_pinned_to_the_commit_that_was_opened(cache: Path):
    assert name_of(path_of("lab/tiny")) == f"lab/tiny@{SECOND}"


def test_a_revision_that_is_not_there_is_told_in_one_line(cache: Path):
    with pytest.raises(CheckpointError, match="lab/tiny@v9 could not be opened as a Janus checkpoint") as told:
        open_checkpoint("lab/tiny@v9", device="cpu")
    assert "\n" not in str(told.value)


def test_folders_and_shipped_names_are_no_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    assert not is_address("runs/mine") and not is_address("embedded") and not is_address("/runs/mine/")
    assert is_address("lab/tiny") and is_address("lab/tiny@refs/pr/1")
    assert path_of("sft") == WEIGHTS / "sft" and path_of("./sft") == "./sft"
