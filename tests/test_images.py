"""What people give as a picture: read as every reader should see it, or refused in words."""

import io
import random
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from PIL import ImageCms, ImageDraw

from model.images import (
    MOST_FILE,
    WANTED,
    PictureFileError,
    crop_cells,
    decode,
    encode_png,
    normalized_png,
    read_picture,
    read_rgb,
    size_of,
)
from model.png import SIGNATURE

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
LOSSY = 40  # of 255; what a JPEG may differ


def scene(side: int = 96) -> Picture.Image:
    """Green above, red left, blue right: no two orientations look alike."""
    picture = Picture.new("RGB", (side, side), "red")
    draw = ImageDraw.Draw(picture)
    draw.rectangle([side // 2, 0, side, side], fill="blue")
    draw.rectangle([0, 0, side, side // 4 - 1], fill="lime")
    return picture


def saved(picture: Picture.Image, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes, crc: int | None = None) -> bytes:
    checksum = zlib.crc32(name + data) if crc is None else crc
    return len(data).to_bytes(4, "big") + name + data + checksum.to_bytes(4, "big")


def png_file(width: int, height: int, depth: int, colour: int, rows: bytes, *between: bytes) -> bytes:
    """A PNG made by hand: `rows` with their filter bytes, `between` the header and the image data."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0])
    body = chunk(b"IHDR", header) + b"".join(between) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return SIGNATURE + body


def same(seen: Picture.Image | np.ndarray, wanted: Picture.Image, tolerance: int = 0) -> bool:
    difference = np.abs(np.asarray(seen).astype(int) - np.asarray(wanted).astype(int))
    return np.percentile(difference, 95) <= tolerance


def noise(side: int = 256) -> Picture.Image:
    return Picture.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8))


# --- the same pixels for everybody -------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_picture_lies_as_its_camera_says_in_every_format(format: str, orientation: int):
    turns = [(), (0,), (3,), (1,), (5,), (2,), (6,), (4,)][orientation - 1]  # what a camera does, undone by a reader
    held = scene()
    for turn in turns:
        held = held.transpose(Picture.Transpose(turn))
    exif = Picture.Exif()
    exif[0x112] = orientation
    options = {"PNG": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}[format]
    content = saved(held, format, exif=exif.tobytes(), **options)
    assert same(read_rgb(content), scene(), LOSSY if format == "JPEG" else 0)
    assert same(read_rgb(normalized_png(content)), scene(), LOSSY if format == "JPEG" else 0)


def test_what_is_transparent_is_white_whatever_says_so():
    layered = Picture.new("RGBA", (96, 96), (0, 0, 0, 0))
    ImageDraw.Draw(layered).ellipse([20, 20, 76, 76], fill=(255, 0, 0, 255))
    on_white = Picture.new("RGB", (96, 96), "white")
    on_white.paste(layered, mask=layered)
    palette = Picture.new("P", (96, 96), 0)
    palette.putpalette([0, 0, 0, 255, 0, 0] + [0] * 762)
    ImageDraw.Draw(palette).ellipse([20, 20, 76, 76], fill=1)
    key = Picture.new("RGB", (96, 96), (1, 2, 3))
    key.paste("red", mask=layered.getchannel("A"))
    for content in (
        saved(layered, "PNG"),
        saved(layered.quantize(8), "PNG"),
        saved(palette, "PNG", transparency=0),
        saved(palette, "GIF", transparency=0),
        saved(key, "PNG", transparency=(1, 2, 3)),
        saved(layered, "WEBP", lossless=True),
    ):
        assert same(read_rgb(content), on_white)
    grey = saved(layered.getchannel("A").convert("L"), "PNG", transparency=0)
    assert same(read_rgb(grey), Picture.new("RGB", (96, 96), "white"))
    assert same(read_rgb(saved(layered.convert("LA"), "PNG")).getpixel((0, 0)), Picture.new("RGB", (1, 1), "white"))


@pytest.mark.parametrize(("depth", "dark_and_light"), [(1, 0b01000000), (2, 0b00010000), (4, 0b00000001)])
def test_a_transparent_grey_of_few_bits_is_white(depth: int, dark_and_light: int):
    transparent = chunk(b"tRNS", b"\0\0")
    content = png_file(8 // depth, 1, depth, 0, bytes([0, dark_and_light]), transparent)
    first, second = list(read_rgb(content).get_flattened_data())[:2]
    assert first == (255, 255, 255)
    assert second == (255 // (2**depth - 1),) * 3


def test_sixteen_bits_are_scaled_to_eight_not_clipped():
    ramp = np.linspace(0, 65_535, 96 * 96).reshape(96, 96).astype(np.uint16)
    grey = np.asarray(read_rgb(saved(Picture.fromarray(ramp), "PNG")))
    assert np.abs(grey[..., 0].astype(float) - ramp / 257).max() <= 0.5
    assert (grey.min(), grey.max()) == (0, 255)
    rows = b"".join(b"\0" + b"\xff\xff\0\0\x80\0" * 4 for _ in range(4))
    assert read_rgb(png_file(4, 4, 16, 2, rows)).getpixel((0, 0)) == (255, 0, 128)
    key = chunk(b"tRNS", b"\xff\xff\0\0\x80\0")
    assert read_rgb(png_file(4, 4, 16, 2, rows, key)).getpixel((0, 0)) == (255, 255, 255)
    transparent = png_file(2, 1, 16, 0, b"\0\x12\x34\x80\0", chunk(b"tRNS", b"\x12\x34"))
    assert list(read_rgb(transparent).get_flattened_data()) == [(255, 255, 255), (128, 128, 128)]


def test_cmyk_is_read_and_a_colour_profile_is_applied():
    assert same(read_rgb(saved(scene().convert("CMYK"), "JPEG", quality=95)), scene(), LOSSY)
    swapped = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # does not fit: ignored
    assert same(read_rgb(saved(scene(), "PNG", icc_profile=swapped)), scene())
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert same(read_rgb(saved(scene(), "PNG", icc_profile=srgb)), scene())
    assert normalized_png(saved(scene(), "PNG", icc_profile=srgb)) != saved(scene(), "PNG", icc_profile=srgb)


def test_of_an_animation_the_first_picture_is_read():
    frames = [scene(), Picture.new("RGB", (96, 96), "white")]
    for format, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
        content = saved(frames[0], format, save_all=True, append_images=frames[1:], duration=100, **options)
        assert same(read_rgb(content), scene())
    assert same(read_rgb(saved(scene(), "BMP")), scene())


def test_a_picture_is_cropped_to_its_middle_and_scaled():
    picture = Picture.new("RGB", (300, 100), "red")
    picture.paste("blue", (100, 0, 200, 100))
    assert (read_picture(encode_png(picture), 64)[:, 2:-2] == (0, 0, 255)).all()


def test_a_plain_png_is_stored_as_it_is_and_every_other_as_what_is_seen():
    for plain in (saved(scene(), "PNG"), saved(scene().convert("L"), "PNG")):
        assert normalized_png(plain) is plain
    for other in (saved(scene(), "JPEG"), saved(scene().convert("RGBA"), "PNG"), saved(scene().quantize(4), "PNG")):
        png = normalized_png(other)
        assert decode(png).plain
        assert same(read_rgb(png), read_rgb(other))


def test_a_file_a_path_and_bytes_are_read_alike(tmp_path: Path):
    content = saved(noise(), "PNG")
    (tmp_path / "a.png").write_bytes(content)
    for source in (content, tmp_path / "a.png", io.BytesIO(content)):
        assert same(read_rgb(source), noise())
    assert (size_of(content), decode(content).width) == ((256, 256), 256)


def test_cells_of_a_drawing_are_cut_out():
    assert same(read_rgb(crop_cells(encode_png(scene(64)), 64, 9, 2)), scene(64).crop((8, 8, 24, 16)))


# --- what is refused ---------------------------------------------------------------------------------------------


def test_what_is_no_picture_is_refused_whatever_its_name_says(tmp_path: Path):
    tiff = saved(scene(), "TIFF")
    for name, content in (("a.svg", SVG), ("a.png", b"GIF89a not at all"), ("b.png", SVG), ("c.png", tiff)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureFileError, match=f"{name}: got .* bytes .*, wanted .*; save"):
            read_picture(tmp_path / name, 64)
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(PictureFileError, match=f"a.jpg: got an empty file, wanted {WANTED}; give"):
        read_picture(tmp_path / "a.jpg", 64)
    with pytest.raises(PictureFileError, match="gone.png: got a file that cannot be read"):
        read_picture(tmp_path / "gone.png", 64)


def test_a_picture_that_is_cut_short_or_damaged_is_refused():
    png, half = saved(noise(), "PNG"), zlib.compress(noise().tobytes())[:1000]
    header = png[8:33]
    wrong = chunk(b"IDAT", zlib.compress(b"\0" * 256 * 769), crc=7)
    end = chunk(b"IEND", b"")
    for content in (
        png[: len(png) // 2],
        png[:-20],
        SIGNATURE + header + chunk(b"IDAT", half) + end,  # its checksums are right
        SIGNATURE + header + wrong + end,
        SIGNATURE + header + chunk(b"IDAT", b"nonsense") + end,
        SIGNATURE + header + end,
        saved(noise(), "JPEG")[:20_000],
        saved(noise(), "WEBP")[:5_000],
        saved(noise(), "GIF")[:20_000],
        saved(noise(), "BMP")[:20_000],
    ):
        with pytest.raises(PictureFileError):
            read_rgb(content)


def test_long_texts_in_a_png_are_left_out_unread():
    text = chunk(b"zTXt", b"prompt\0\0" + zlib.compress(b"x" * 100_000_000, 9))
    profile = chunk(b"iCCP", b"long\0\0" + zlib.compress(b"x" * 4_000_000))
    rows = (b"\0" + b"\xff\0\0" * 4) * 4
    assert read_rgb(png_file(4, 4, 8, 2, rows, text, profile)).getpixel((0, 0)) == (255, 0, 0)


def test_files_that_are_too_long_or_have_too_many_pixels_are_refused_with_the_most_that_is_read(tmp_path: Path):
    with (tmp_path / "long.bmp").open("wb") as file:
        file.truncate(MOST_FILE + 1)
    with pytest.raises(PictureFileError, match="long.bmp: got 32 MB, wanted at most 32 MB"):
        read_rgb(tmp_path / "long.bmp")
    with pytest.raises(PictureFileError, match="7,000×7,000 pixels .*wanted at most 25.2 million pixels"):
        read_rgb(png_file(7_000, 7_000, 8, 2, b""))
    for side in (20_000, 2**31 - 1):
        with pytest.raises(PictureFileError, match="smaller"):
            read_rgb(png_file(side, side, 1, 0, b""))


def test_very_wide_and_very_high_pictures_are_read():
    for size in ((5_000, 3), (3, 5_000), (65_535, 1), (1, 1)):
        assert read_picture(saved(Picture.new("RGB", size, "red"), "PNG"), 64).shape == (64, 64, 3)


MEASURE = """
import sys
from pathlib import Path
from model.images import PictureFileError, read_picture
def memory(name):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(name))
for small in Path(sys.argv[1]).iterdir():
    read_picture(small, 64)
before = memory("VmRSS")
for file in sys.argv[2:]:
    try:
        read_picture(Path(file), 384)
    except PictureFileError as error:
        assert "make it smaller" in str(error), error
print(memory("VmHWM") - before, memory("VmRSS") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_huge_picture_costs_at_most_150_mb_which_are_given_back(tmp_path: Path):
    small, files = tmp_path / "small", []
    small.mkdir()
    for format in ("PNG", "JPEG", "WEBP"):
        (small / format).write_bytes(saved(scene(), format))
    for mode in ("1", "L", "P", "I;16", "RGB", "RGBA"):
        files.append(tmp_path / f"{mode.replace(';', '')}.png")
        Picture.new(mode, (7_000, 7_000)).save(files[-1], compress_level=1)
    files.append(tmp_path / "a.jpg")
    Picture.new("RGB", (7_000, 7_000)).save(files[-1])
    files.append(tmp_path / "a.webp")
    Picture.new("RGB", (2_500, 2_500)).save(files[-1], lossless=True, quality=0, method=0)
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), *map(str, files), *map(str, files)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    most, left = map(float, told.stdout.split())
    assert most < 150
    assert left < 25


# --- whatever comes ----------------------------------------------------------------------------------------------


def test_a_reader_gives_a_picture_or_our_error_and_nothing_else():
    for seed in range(200):
        rng = random.Random(seed)
        content = bytearray(saved(noise(rng.randint(1, 40)), rng.choice(["PNG", "JPEG", "WEBP", "GIF", "BMP"])))
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            assert read_rgb(bytes(content)).mode == "RGB"
        except PictureFileError as error:
            assert "wanted" in str(error)
