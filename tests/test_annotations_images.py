"""Picture files: by content, whole or not at all, checked when they are read."""

import hashlib
import io

import pytest
from PIL import Image as Picture

from annotations.errors import NotFoundError, PictureError
from annotations.pictures.images import describe, path_of, read, write


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (8, 6), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_picture_comes_back_byte_for_byte_under_the_hash_of_its_bytes(tmp_path):
    described = write(tmp_path, png())
    assert described.sha256 == hashlib.sha256(png()).hexdigest()
    assert (described.width, described.height, described.size) == (8, 6, len(png()))
    assert path_of(tmp_path, described.sha256) == tmp_path / described.sha256[:2] / f"{described.sha256}.png"
    assert read(tmp_path, described.sha256) == png()


def test_storing_it_again_changes_nothing_and_leaves_no_other_file(tmp_path):
    path = path_of(tmp_path, write(tmp_path, png()).sha256)
    before = path.stat()
    write(tmp_path, png())
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]


def test_a_damaged_file_is_noticed_and_mended_by_storing_it_again(tmp_path):
    sha256 = write(tmp_path, png()).sha256
    path_of(tmp_path, sha256).write_bytes(png("blue"))
    with pytest.raises(PictureError, match="is damaged"):
        read(tmp_path, sha256)
    write(tmp_path, png())
    assert read(tmp_path, sha256) == png()


def as_jpeg() -> bytes:
    buffer = io.BytesIO()
    Picture.new("RGB", (8, 8)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"hello", as_jpeg(), png()[:40], png()[:-20], png()[:45] + b"x" * 40])
def test_what_is_not_a_whole_png_is_refused(content):
    with pytest.raises(PictureError, match=r"wanted a PNG|cannot be read"):
        describe(content)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_that_is_no_hash_reaches_no_file(tmp_path, name):
    with pytest.raises(NotFoundError):
        read(tmp_path, name)


def test_a_disk_that_refuses_is_told_in_one_line(tmp_path):
    (tmp_path / "images").write_text("in the way")
    with pytest.raises(PictureError, match="could not be written"):
        write(tmp_path / "images", png())
