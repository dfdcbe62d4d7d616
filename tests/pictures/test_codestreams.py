"""Headers of coded pictures: sizes, bits, and ends that come too early."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from keras_refocus.pictures import codestreams


def picture(height, width, dtype="uint8"):
    levels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3))
    return levels.astype(dtype)


def pillow(height, width, format, **options):
    buffer = io.BytesIO()
    Image.fromarray(picture(height, width)).save(buffer, format, **options)
    return buffer.getvalue()


def with_alpha(height, width):
    buffer = io.BytesIO()
    rgba = np.dstack([picture(height, width), picture(height, width)[..., :1]])
    Image.fromarray(rgba).save(buffer, "WEBP", quality=50)
    return buffer.getvalue()


STREAMS = {
    "JPEG": lambda h, w: pillow(h, w, "JPEG"),
    "JPEG, progressive": lambda h, w: pillow(h, w, "JPEG", progressive=True),
    "JPEG, with a comment": lambda h, w: pillow(h, w, "JPEG", comment=bytes(70) + b"\xff\xc0"),
    "JPEG-LS": lambda h, w: imagecodecs.jpegls_encode(np.zeros((h, w, 3), "uint8")),
    "PNG": lambda h, w: pillow(h, w, "PNG"),
    "WebP": lambda h, w: pillow(h, w, "WEBP"),
    "WebP, lossless": lambda h, w: pillow(h, w, "WEBP", lossless=True),
    "WebP, extended": with_alpha,
    "JPEG 2000": lambda h, w: pillow(h, w, "JPEG2000"),
    "JPEG 2000, tiles": lambda h, w: pillow(h, w, "JPEG2000", tile_size=(64, 32)),
    "JPEG 2000, codestream": lambda h, w: imagecodecs.jpeg2k_encode(
        picture(h, w), codecformat="j2k"
    ),
    "JPEG XL": lambda h, w: imagecodecs.jpegxl_encode(picture(h, w), effort=1),
    "JPEG XL, container": lambda h, w: imagecodecs.jpegxl_encode(
        picture(h, w), effort=1, usecontainer=True
    ),
}


@pytest.mark.parametrize("kind", STREAMS)
# Those of JPEG XL are written in five ways: by eights, by ratio, in 9, in 13 and in 18 bits.
@pytest.mark.parametrize("size", [(24, 32), (37, 101), (96, 40), (60, 80), (75, 90)])
def test_sizes_before_decoding(kind, size):
    found = codestreams.header(STREAMS[kind](*size))
    assert (found.height, found.width) == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP, lossless", "JPEG 2000", "JPEG XL"])
@pytest.mark.parametrize("size", [(3, 1001), (9000, 2), (2, 9000)])
def test_long_sizes_before_decoding(kind, size):
    found = codestreams.header(STREAMS[kind](*size))
    assert (found.height, found.width) == size


@pytest.mark.parametrize(
    ("across", "down"), [(1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)]
)
def test_ratios_of_jpeg_xl(across, down):
    size = (11 * down, 11 * across)
    found = codestreams.header(imagecodecs.jpegxl_encode(picture(*size), effort=1))
    assert (found.height, found.width) == size


def test_bits_and_processes():
    for kind, marker in (("JPEG", 0xC0), ("JPEG, progressive", 0xC2), ("JPEG-LS", 0xF7)):
        content = STREAMS[kind](24, 32)
        found = codestreams.header(content)
        assert (found.width, found.height, found.bits, found.marker) == (32, 24, 8, marker)
        # Behind the frame header, in front of its channels.
        assert content[: found.position].endswith(bytes([8, 0, 24, 0, 32, 3]))
    lossless = codestreams.header(imagecodecs.ljpeg_encode(picture(24, 32)[..., 0]))
    assert (lossless.bits, lossless.marker) == (8, 0xC3)
    twelve = imagecodecs.jpeg_encode(picture(24, 32, "uint16") >> 4, bitspersample=12)
    assert codestreams.header(twelve).bits == 12
    assert codestreams.header(imagecodecs.png_encode(picture(24, 32, "uint16"))).bits == 16
    for kind in ("PNG", "WebP", "JPEG 2000"):
        assert codestreams.header(STREAMS[kind](24, 32)).bits == 8
    deep = imagecodecs.jpeg2k_encode(picture(24, 32, "uint16"), codecformat="j2k")
    assert codestreams.header(deep).bits == 16


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_that_end_early_are_refused_or_said_as_they_are(kind):
    content = STREAMS[kind](24, 32)
    whole = codestreams.header(content)
    for length in range(min(len(content), 400)):
        try:
            found = codestreams.header(content[:length])
        except ValueError as error:
            assert "stream" in str(error) or "box" in str(error)
        else:
            assert found == whole or kind.startswith("JPEG XL")


def test_files_are_read_from_their_start():
    file = io.BytesIO(STREAMS["JPEG"](24, 32))
    file.seek(100)
    assert codestreams.header(file).width == 32


def test_jpeg_headers_that_are_none_are_refused():
    content = STREAMS["JPEG"](24, 32)
    place = content.index(b"\xff\xc0")
    # Fill bytes may stand before any marker.
    assert codestreams.header(content[:place] + b"\xff\xff" + content[place:]).width == 32
    five = content[: place + 9] + b"\x05" + content[place + 10 :]
    with pytest.raises(ValueError, match="5 channels"):
        codestreams.header(five)
    scan = content.index(b"\xff\xda")
    with pytest.raises(ValueError, match="no frame header"):
        codestreams.header(content[:2] + content[scan:])


def test_boxes_may_say_their_size_in_64_bits_or_reach_to_the_end():
    stream = imagecodecs.jpegxl_encode(picture(24, 32), effort=1)
    start = struct.pack(">I4sI", 12, b"JXL ", 0x0D0A870A)
    boxes = {
        "long": struct.pack(">I4sQ", 1, b"jxlc", 16 + len(stream)) + stream,
        "to the end": struct.pack(">I4s", 0, b"jxlc") + stream,
        "in parts": struct.pack(">I4sI", 12 + len(stream), b"jxlp", 0) + stream,
        "behind another": struct.pack(">I4sI", 12, b"free", 7)
        + struct.pack(">I4s", 8 + len(stream), b"jxlc")
        + stream,
    }
    for content in boxes.values():
        found = codestreams.header(start + content)
        assert (found.height, found.width) == (24, 32)
    for size in (1, 7):
        small = struct.pack(">I4sQ", 1, b"free", size) if size == 1 else b"\0\0\0\7free"
        with pytest.raises(ValueError, match="smaller than its own header"):
            codestreams.header(start + small + boxes["long"])
    with pytest.raises(ValueError, match="no codestream"):
        codestreams.header(start + struct.pack(">I4sI", 12, b"free", 7))


def siz(right=32, bottom=24, left=0, top=0, across=32, down=24, channels=3):
    body = struct.pack(">HH4I4IH", 41 + 3 * (channels % 5), 0, right, bottom, left, top, across,
                       down, 0, 0, channels)  # fmt: skip
    return b"\xff\x4f\xff\x51" + body[:36] + body[36:] + b"\x07\x01\x01" * 3 + bytes(60)


def test_sizes_of_jpeg_2000_begin_at_its_offset():
    found = codestreams.header(siz(right=50, bottom=40, left=18, top=16))
    assert (found.width, found.height, found.bits) == (32, 24, 8)


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 0}, {"channels": 5}, {"across": 0}, {"down": 0}, {"left": 32}, {"top": 24}],
)
def test_impossible_sizes_of_jpeg_2000_are_refused(wrong):
    with pytest.raises(ValueError, match="impossible size"):
        codestreams.header(siz(**wrong))


def test_every_tile_of_jpeg_2000_has_a_header():
    # Of 111 bytes; a tile has at least 14.
    content = siz(across=8, down=12)
    assert len(content) // 14 < 8
    with pytest.raises(ValueError, match="too short for its tiles"):
        codestreams.header(content)
    assert codestreams.header(content + bytes(8 * 14 - len(content))).width == 32


def test_the_largest_sizes_of_webp():
    def header(kind, body):
        return codestreams.header(b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + body + bytes(9))

    # RFC 9649: three bytes a side less one; 14 bits a side less one; 14 bits a side and scaling.
    sides = (0x6789A).to_bytes(3, "little") + (0x12345).to_bytes(3, "little")
    assert header(b"VP8X", bytes(4) + sides) == codestreams.Header(0x6789B, 0x12346, 8)
    packed = struct.pack("<I", 16383 | 9876 << 14 | 0xF << 28)
    assert header(b"VP8L", b"\x2f" + packed) == codestreams.Header(16384, 9877, 8)
    frame = bytes(6) + struct.pack("<HH", 16383 | 0x4000, 9876 | 0x8000)
    assert header(b"VP8 ", frame) == codestreams.Header(16383, 9876, 8)
    with pytest.raises(ValueError, match="no picture"):
        header(b"ALPH", bytes(10))
