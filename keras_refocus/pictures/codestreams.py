"""What the header of a coded picture promises, read before any of its pixels is decoded.

Libraries allocate what the header of the stream says. Inside TIFF that is not what the file says.
"""

import dataclasses
import io
import struct
from typing import BinaryIO


@dataclasses.dataclass(frozen=True)
class Header:
    """Size of a coded picture, and its bits per channel where the header says them simply.

    Attributes:
        width: In pixels.
        height: In pixels.
        bits: Bits per channel; 0 if it is not known.
        marker: Second byte of the frame marker of a JPEG stream, which names the process; else 0.
        position: Where the frame header of a JPEG stream ends, in bytes; else 0.
    """

    width: int
    height: int
    bits: int = 0
    marker: int = 0
    position: int = 0


#: Markers of JPEG frames that are baseline, extended or progressive, by Huffman or arithmetic
#: codes. Decoders of the other kinds can take minutes over damaged files.
DCT_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)


#: How many times the memory of other decoders that of JPEG 2000 takes: it holds 32 bits a value.
JPEG_2000_COST = 2


def jpeg_kind(header: Header) -> str:
    """Name the kind of a JPEG stream for people, with its article."""
    kinds = {0xF7: "a JPEG-LS", 0xC3: "a lossless JPEG"}
    return kinds.get(header.marker, f"a {header.bits}-bit JPEG")


def header(stream: bytes | BinaryIO) -> Header:
    """Read the header of a JPEG, JPEG-LS, JPEG 2000, JPEG XL, PNG or WebP stream.

    Raises:
        ValueError: It is none of these, or ends before it says its size.
    """
    file = io.BytesIO(stream) if isinstance(stream, bytes | bytearray | memoryview) else stream
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    try:
        if start.startswith(b"\xff\xd8"):
            return _jpeg(file)
        if start.startswith(b"\x89PNG\r\n\x1a\n"):
            width, height, bits = struct.unpack(">IIB", start[16:25])
            return Header(width, height, bits)
        if start.startswith(b"RIFF"):
            return _webp(start)
        if start.startswith((b"\xff\x4f", b"\0\0\0\x0cjP  ")):
            return _jpeg2000(file)
        if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
            return _jpeg_xl(file)
    except (struct.error, IndexError):
        raise ValueError("the stream ends before it says how large its picture is") from None
    raise ValueError("the stream is of no known codec")


def _jpeg(file):
    file.seek(2)
    while True:
        byte = file.read(1)
        if not byte:
            raise ValueError("the JPEG stream has no frame header")
        if byte != b"\xff":
            continue
        while byte == b"\xff":
            byte = file.read(1)
        marker = byte[0]
        if marker in (0x00, 0x01, *range(0xD0, 0xDA)):
            continue
        (length,) = struct.unpack(">H", file.read(2))
        # Frames of JPEG (C4, C8 and CC are tables), and of JPEG-LS.
        if marker in (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), 0xF7) or (
            0xCD <= marker <= 0xCF
        ):
            bits, height, width, channels = struct.unpack(">BHHB", file.read(6))
            if channels > 4:
                raise ValueError(f"the JPEG stream has {channels} channels")
            return Header(width, height, bits, marker, file.tell())
        if marker == 0xDA:
            raise ValueError("the JPEG stream has no frame header")
        file.seek(max(length - 2, 0), io.SEEK_CUR)


def _webp(start):
    kind, body = start[12:16], start[20:]
    if kind == b"VP8X":
        # Each in three bytes.
        low, high, low_rows, high_rows = struct.unpack("<HBHB", body[4:10])
        width, height = 1 + (high << 16 | low), 1 + (high_rows << 16 | low_rows)
    elif kind == b"VP8L":
        (packed,) = struct.unpack("<I", body[1:5])
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    else:
        raise ValueError("the WebP stream starts with no picture")
    return Header(width, height, 8)


def _boxes(file, end):
    """Names, starts and ends of the contents of boxes (ISO/IEC 14496-12)."""
    position = file.tell()
    while position + 8 <= end:
        file.seek(position)
        size, name = struct.unpack(">I4s", file.read(8))
        content = position + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            content += 8
        stop = end if size == 0 else position + size
        if stop < content:
            raise ValueError("a box is smaller than its own header")
        yield name, content, min(stop, end)
        position = stop


def _length(file):
    end = file.seek(0, io.SEEK_END)
    file.seek(0)
    return end


def _jpeg2000(file):
    if file.read(2) != b"\xff\x4f":
        for name, start, _ in _boxes(file, _length(file)):
            if name == b"jp2c":
                file.seek(start + 2)
                break
        else:
            raise ValueError("the JPEG 2000 file has no codestream")
    body = file.read(40)  # SIZ, which comes first.
    if body[:2] != b"\xff\x51":
        raise ValueError("the JPEG 2000 codestream does not start with its size")
    right, bottom, left, top = struct.unpack(">4I", body[6:22])
    across, down, tiles_left, tiles_top, channels = struct.unpack(">4IH", body[22:40])
    bits = (file.read(1)[0] & 0x7F) + 1
    if not 1 <= channels <= 4 or not across or not down or right <= left or bottom <= top:
        raise ValueError("the JPEG 2000 codestream has an impossible size")
    tiles = -(-(right - tiles_left) // across) * -(-(bottom - tiles_top) // down)
    # Decoders make room for every tile, and every tile has a header of 14 bytes.
    if tiles * 14 > _length(file):
        raise ValueError("the JPEG 2000 codestream is too short for its tiles")
    return Header(right - left, bottom - top, bits)


def jpeg_xl_start(file: BinaryIO) -> int:
    """Tell where the size stands in a JPEG XL stream, with boxes around it or without.

    Raises:
        ValueError: There is none.
    """
    file.seek(0)
    start, content = 0, file.read(2)
    if content != b"\xff\x0a":
        file.seek(0)
        for name, place, stop in _boxes(file, _length(file)):
            if name in (b"jxlc", b"jxlp"):
                start = place + 4 * (name == b"jxlp")
                file.seek(start)
                content = file.read(min(stop - place, 2))
                break
        if content != b"\xff\x0a":
            raise ValueError("the JPEG XL file has no codestream")
    return start + 2


def holds_jpeg(file: BinaryIO) -> bool:
    """Whether a JPEG XL file was made of a JPEG that can be had back."""
    file.seek(0)
    if file.read(2) == b"\xff\x0a":
        return False
    file.seek(0)
    return any(name == b"jbrd" for name, _, _ in _boxes(file, _length(file)))


def jpeg_2000_colours(file: BinaryIO) -> tuple[int, bytes]:
    """Give the method and the content of the first box of colours of a JPEG 2000 file.

    Returns:
        The method (1: a number of ISO/IEC 15444-1, 2 and 3: an ICC profile, 5: code points), and
        what it says; 0 and nothing where there is no such box.
    """
    file.seek(0)
    if file.read(2) == b"\xff\x4f":
        return 0, b""
    file.seek(0)
    for name, start, stop in _boxes(file, _length(file)):
        if name == b"jp2h":
            file.seek(start)
            for inner, place, end in _boxes(file, stop):
                if inner == b"colr":
                    file.seek(place)
                    body = file.read(min(end - place, 16 << 20))
                    return (body[0], body[3:]) if body else (0, b"")
            break
    return 0, b""


def _jpeg_xl(file):
    file.seek(jpeg_xl_start(file))
    # ISO/IEC 18181-1, SizeHeader: bits from the lowest of each byte up.
    body = file.read(16)
    if len(body) < 10:
        body = body.ljust(10, b"\0")
    packed, position = int.from_bytes(body, "little"), 0

    def bits(count):
        nonlocal position
        position += count
        return packed >> (position - count) & ((1 << count) - 1)

    def side(is_small):
        return 8 * (bits(5) + 1) if is_small else 1 + bits((9, 13, 18, 30)[bits(2)])

    is_small = bits(1)
    height = side(is_small)
    ratio = bits(3)
    ratios = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
    if ratio:
        across, down = ratios[ratio - 1]
        return Header(height * across // down, height)
    return Header(side(is_small), height)
