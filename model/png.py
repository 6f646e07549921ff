"""PNG chunks: checked, and reduced to those that determine the pixels.

Pillow neither checks the CRC of image data nor reads a file whose compressed texts grow beyond a limit of its own;
texts are left out here without being unpacked. Chunks are those of the PNG specification, third edition, section 11.
"""

import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NEEDED = (b"IHDR", b"IDAT", b"IEND")
OPTIONAL = (b"PLTE", b"tRNS", b"eXIf", b"iCCP")  # the others do not change a pixel, or belong to later frames
MOST_PROFILE = 1 << 20  # bytes of an unpacked colour profile; a longer one is left out


def checked(content: bytes) -> bytes:
    """The file with only the chunks that matter; `content` itself where nothing is left out. Raises ValueError."""
    kept, names, whole = [memoryview(SIGNATURE)], set(), True
    for name, data, chunk in _chunks(content):
        names.add(name)
        if name in NEEDED or (name in OPTIONAL and not (name == b"iCCP" and _is_long(data))):
            kept.append(chunk)
        else:
            whole = False
    if missing := [name.decode() for name in NEEDED if name not in names]:
        raise ValueError(f"the file is cut short: it has no {missing[0]} chunk")
    return content if whole else b"".join(kept)


def bit_depth(content: bytes) -> int:
    """Bits per channel, of a file that `checked` has let pass."""
    return content[24]


def _chunks(content: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """(name, data, whole chunk) up to the end of the image; what follows it is ignored."""
    view, at = memoryview(content), len(SIGNATURE)
    while at + 12 <= len(view):
        length, name = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 12 + length
        if end > len(view):
            break
        data = view[at + 8 : end - 4]
        if name in NEEDED + OPTIONAL and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            raise ValueError(f"the {name.decode()} chunk at byte {at} is damaged: its checksum does not fit")
        if at == len(SIGNATURE) and (name, length) != (b"IHDR", 13):
            raise ValueError("it does not begin with an IHDR chunk of 13 bytes")
        yield name, data, view[at:end]
        if name == b"IEND":
            return
        at = end
    raise ValueError(f"the file is cut short after {len(content):,} bytes")


def _is_long(profile: memoryview) -> bool:
    """Whether an iCCP chunk unpacks to more than is read, or not at all."""
    name, _, rest = bytes(profile[:80]).partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(profile[len(name) + 2 :], MOST_PROFILE)
    except zlib.error:
        return True
    return not rest or not unpacker.eof
