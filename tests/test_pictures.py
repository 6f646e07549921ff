"""Pictures where several studios share them: in an object store with a local cache, or in a folder."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from test_annotations_samples import aha, png

from annotations import backup
from annotations.errors import DirectoryError, NotFoundError, PictureError
from annotations.pictures import object_storage
from annotations.pictures.object_storage import ObjectStorage, trim
from annotations.pictures.storage import CACHE, FolderStorage, open_storage
from annotations.store.store import open_store


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an object store, kept in memory by fsspec."""
    address = f"memory://{uuid4().hex}"
    yield address
    MemoryFileSystem().rm(address, recursive=True) if MemoryFileSystem().exists(address) else None


def sha_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_picture_that_one_studio_stored_is_read_by_another_and_then_from_its_cache(bucket, tmp_path):
    first, second = (ObjectStorage(bucket, tmp_path / name) for name in ("first", "second"))
    sha256 = first.write(png(1)).sha256
    assert second.has(sha256) and second.read(sha256) == png(1)
    assert set(second.hashes()) == {sha256}
    MemoryFileSystem().rm(bucket, recursive=True)
    assert second.read(sha256) == png(1)


def test_what_is_damaged_or_missing_in_the_store_is_told_and_never_shown(bucket, tmp_path):
    storage, sha256 = ObjectStorage(bucket, tmp_path), sha_of(png(1))
    with pytest.raises(NotFoundError):
        storage.read(sha256)
    MemoryFileSystem().pipe_file(f"{bucket}/{sha256[:2]}/{sha256}.png", png(2))
    with pytest.raises(PictureError, match="damaged"):
        storage.read(sha256)
    with pytest.raises(PictureError, match="wanted a PNG"):
        storage.write(b"no picture")
    storage.remove(sha256)
    storage.remove(sha256)
    assert not storage.has(sha256)


def test_a_damaged_copy_in_the_cache_is_fetched_anew(bucket, tmp_path):
    storage = ObjectStorage(bucket, tmp_path)
    sha256 = storage.write(png(1)).sha256
    (tmp_path / sha256[:2] / f"{sha256}.png").write_bytes(b"cut sh")
    assert storage.read(sha256) == png(1)


def test_the_cache_keeps_the_newest_and_nothing_for_more_than_a_day(bucket, tmp_path):
    storage = ObjectStorage(bucket, tmp_path)
    pngs = {sha_of(content): content for content in map(png, range(3))}
    storage.write_all(pngs)
    oldest, middle, _ = files = [tmp_path / sha256[:2] / f"{sha256}.png" for sha256 in pngs]
    for age, file in zip((300, 200, 100), files, strict=True):
        os.utime(file, (1e9 - age, 1e9 - age))
    assert trim(tmp_path, sum(file.stat().st_size for file in files) - 1, now=1e9) == 1 and not oldest.exists()
    assert trim(tmp_path, now=1e9 - 150 + object_storage.CACHE_SECONDS) == 1 and not middle.exists()


def test_the_address_says_where_pictures_are(bucket, tmp_path):
    assert open_storage(tmp_path).folder == tmp_path / "images"
    assert open_storage(tmp_path, str(tmp_path / "shared")).folder == tmp_path / "shared"
    assert open_storage(tmp_path, f"file://{tmp_path}/mounted").folder == tmp_path / "mounted"
    assert isinstance(open_storage(tmp_path, bucket), ObjectStorage)
    with pytest.raises(DirectoryError, match="pictures cannot be kept at nowhere://x"):
        open_storage(tmp_path, "nowhere://x")


def test_a_store_keeps_erases_backs_up_and_restores_pictures_of_an_object_store(bucket, tmp_path):
    trajectory, pictures = aha()
    with open_store(tmp_path / "data", pictures=bucket) as store:
        kept = store.save(trajectory, pictures, owner="me")
        assert all(store.picture(sha256) == content for sha256, content in pictures.items())
        assert not (tmp_path / "data" / "images").exists() and (tmp_path / "data" / CACHE).is_dir()
        backup.make(tmp_path / "data", str(tmp_path / "backup"), pictures=bucket)
        assert store.erase(lambda session: [kept] if store.visible([kept]) else []) == 1
        assert not set(ObjectStorage(bucket, tmp_path / "other").hashes())
    assert backup.restore(str(tmp_path / "backup"), tmp_path / "again", pictures=bucket) is not None
    with open_store(tmp_path / "again", pictures=bucket) as store:
        assert all(store.picture(sha256) == content for sha256, content in pictures.items())


def test_a_restore_removes_from_a_shared_folder_only_what_the_database_does_not_show(tmp_path: Path):
    trajectory, pictures = aha()
    shared = str(tmp_path / "shared")
    with open_store(tmp_path / "data", pictures=shared) as store:
        store.save(trajectory, pictures, owner="me")
        backup.make(tmp_path / "data", str(tmp_path / "backup"), pictures=shared)
    extra = FolderStorage(tmp_path / "shared").write(png(4)).sha256
    backup.restore(str(tmp_path / "backup"), tmp_path / "again", pictures=shared)
    assert set(FolderStorage(tmp_path / "shared").hashes()) == set(pictures) != {extra}
