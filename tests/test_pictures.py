"""What people give as a picture: read as the network sees it, or refused in words."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from model.pictures import MOST_PIXELS, read_picture

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'


def saved(path: Path, picture: Picture.Image, **options) -> Path:
    picture.save(path, **options)
    return path


def test_a_picture_is_cropped_to_its_middle_scaled_and_put_on_white(tmp_path: Path):
    picture = Picture.new("RGBA", (300, 100), (255, 0, 0, 255))
    picture.paste((0, 0, 255, 0), (100, 0, 200, 100))  # the middle is transparent
    assert (read_picture(saved(tmp_path / "a.png", picture), 64)[:, 2:-2] == 255).all()
    assert read_picture(saved(tmp_path / "a.webp", picture), 64).shape == (64, 64, 3)


def test_a_picture_lies_as_its_camera_says(tmp_path: Path):
    picture = Picture.new("RGB", (64, 64), "white")
    picture.paste("black", (0, 0, 64, 32))
    turned = picture.getexif()
    turned[274] = 3  # upside down
    seen = read_picture(saved(tmp_path / "a.jpg", picture, exif=turned, quality=95), 64)
    assert seen[:30].mean() > 250
    assert seen[34:].mean() < 5


def test_what_is_no_picture_is_refused_whatever_its_name_says(tmp_path: Path):
    for name, content in (("a.svg", SVG), ("a.png", b"GIF89a not at all"), ("a.jpg", b""), ("b.png", SVG)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(OSError, match=f"{name} is no picture that can be read; give a PNG, JPEG or WebP"):
            read_picture(tmp_path / name, 64)


def test_an_animation_is_refused(tmp_path: Path):
    frames = [Picture.new("P", (8, 8), colour) for colour in (1, 2)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    with pytest.raises(OSError, match="give a PNG, JPEG or WebP"):
        read_picture(path, 64)


def test_a_picture_that_is_cut_short_is_refused(tmp_path: Path):
    noise = Picture.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    whole = saved(tmp_path / "a.png", noise).read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OSError):
        read_picture(tmp_path / "a.png", 64)


def test_a_small_file_of_very_many_pixels_is_refused_before_it_is_unpacked():
    side = 10_000  # 100 million pixels in a hundred kilobytes
    assert side**2 > MOST_PIXELS
    rows = zlib.compress(b"\0" * (side // 8 + 1) * side)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="100 million pixels, at most 50 million"):
            read_picture(io.BytesIO(b"\x89PNG\r\n\x1a\n" + body), 64)
