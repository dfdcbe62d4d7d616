"""Colours, kinds of files and damage; `test_images` has the formats there and back."""

import functools
import io
import os
import struct
import subprocess
import sys
import zlib

import hypothesis
import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import strategies
from PIL import ExifTags, Image, ImageCms

from keras_refocus.pictures import images


def ramp(height=24, width=32):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 2 * x, 60 + 3 * y, 200 - x - y], -1).astype("uint8")


def saved(image, format, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with(*chunks, rgb=None):
    content = imagecodecs.png_encode(ramp() if rgb is None else rgb)
    return content[:33] + b"".join(chunks) + content[33:]


# YCbCr in TIFF


def ycbcr(rgb):
    """ITU-R BT.601 over the full range, as JFIF and TIFF have it by default."""
    red, green, blue = np.moveaxis(rgb.astype("float64"), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = (128 + (blue - luma) / 1.772 * 254 / 255, 128 + (red - luma) / 1.402 * 254 / 255)
    return np.rint(np.stack([luma, *chroma], -1)).clip(0, 255).astype("uint8")


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits"])
def test_ycbcr_tiff(compression):
    tags = [(530, "H", 2, (1, 1), True)]
    content = tiff(ycbcr(ramp()), photometric="ycbcr", compression=compression, extratags=tags)
    assert np.abs(images.read(content).rgb.astype(int) - ramp()).max() <= 2


@pytest.mark.parametrize("compression", [None, "lzw", "deflate"])
@pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"bigtiff": True, "byteorder": ">"}])
def test_ycbcr_tiff_that_does_not_say_that_nothing_is_subsampled(compression, layout):
    content = tiff(ycbcr(ramp()), photometric="ycbcr", compression=compression, **layout)
    content = without_tag(content, 530)
    assert np.abs(images.read(content).rgb.astype(int) - ramp()).max() <= 2


def without_tag(content, tag):
    """The same TIFF file, with a tag renamed to one that nobody knows."""
    order = "<" if content.startswith(b"II") else ">"
    entry = struct.pack(order + "HH", tag, 3)
    assert content.count(entry) <= 1
    return content.replace(entry, struct.pack(order + "HH", 65000, 3))


@pytest.mark.parametrize("codec", ["png", "jpeg2000", "jpegxl", "webp"])
def test_ycbcr_inside_a_codec_with_a_header_of_its_own(codec):
    content = tiff(ycbcr(ramp()), photometric="ycbcr", compression=codec)
    assert np.abs(images.read(content).rgb.astype(int) - ramp()).max() <= 4


def test_ycbcr_of_aperio_is_known_by_its_codec():
    plain = tiff(ycbcr(ramp()), photometric="rgb", compression="jpeg2000", metadata=None)
    entry = struct.pack("<HHI", 259, 3, 1)
    content = plain.replace(entry + struct.pack("<H", 34712), entry + struct.pack("<H", 33003))
    assert content != plain
    assert np.abs(images.read(content).rgb.astype(int) - ramp()).max() <= 2


@pytest.mark.parametrize("across, down", [(2, 2), (2, 1), (4, 1)])
def test_subsampled_ycbcr_tiff(across, down):
    height, width = 5, 9  # Units reach over both edges.
    luma = np.arange(45, dtype="uint8").reshape(height, width) + 50
    padded = np.pad(luma, ((0, -height % down), (0, -width % across)))
    units = []
    for y in range(0, padded.shape[0], down):
        for x in range(0, padded.shape[1], across):
            units.append(padded[y : y + down, x : x + across].tobytes() + bytes([128, 128]))
    data = b"".join(units)
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (259, 3, 1, 1), (262, 3, 1, 6),
        (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(data)),
        (530, 3, 2, across | down << 16),
    ]  # fmt: skip
    bits = struct.pack("<3H", 8, 8, 8)
    entries.append((258, 3, 3, 8 + len(data)))
    directory = struct.pack("<H", len(entries))
    for entry in sorted(entries):
        directory += struct.pack("<HHII", *entry)
    head = b"II*\0" + struct.pack("<I", 8 + len(data) + len(bits))
    photo = images.read(head + data + bits + directory + bytes(4))
    # Chroma at its middle is grey, and grey is luma.
    np.testing.assert_array_equal(photo.rgb, np.repeat(luma[..., None], 3, -1))


# Colours without a profile


def linear_to_srgb(light):
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [0.37, 0.55, 1.8])
def test_every_gamma_of_png_but_that_of_srgb_is_applied(gamma):
    photo = images.read(png_with(chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))))
    expected = linear_to_srgb((ramp() / 255) ** (1 / gamma)) * 255
    assert np.abs(photo.rgb - expected).max() < 0.51


def test_png_gamma():
    photo = images.read(png_with(chunk(b"gAMA", struct.pack(">I", 100_000))))
    expected = linear_to_srgb(ramp() / 255) * 255
    assert np.abs(photo.rgb - expected).max() < 0.51 and photo.notices == ()
    # What says sRGB is sRGB, and the usual gamma means it.
    for chunks in (
        [chunk(b"gAMA", struct.pack(">I", 45455))],
        [chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"sRGB", b"\0")],
    ):
        np.testing.assert_array_equal(images.read(png_with(*chunks)).rgb, ramp())


def test_display_p3_by_every_road():
    rgb = np.full((4, 4, 3), (200, 100, 50), "uint8")
    # CSS Color 4, sample code: lin_P3_to_XYZ, then XYZ_to_lin_sRGB, as one matrix.
    matrix = [
        [1.22494018, -0.22494018, 0.0],
        [-0.04205695, 1.04205695, 0.0],
        [-0.01963755, -0.07863605, 1.0982736],
    ]
    light = ((rgb[0, 0] / 255 + 0.055) / 1.055) ** 2.4
    expected = linear_to_srgb(matrix @ light) * 255
    p3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    for content in (
        png_with(chunk(b"cICP", bytes([12, 13, 0, 1])), rgb=rgb),
        png_with(chunk(b"cHRM", struct.pack(">8I", *p3)), rgb=rgb),
    ):
        np.testing.assert_allclose(images.read(content).rgb[0, 0], expected, atol=0.6)


def test_narrow_range_of_cicp():
    for depth in (8, 16):
        scale = 1 << depth - 8
        code = (16 + 219 * np.array([0.0, 0.5, 1.0])) * scale
        levels = np.repeat(np.rint(code)[None, :, None], 3, -1).astype(f"uint{depth}")
        photo = images.read(png_with(chunk(b"cICP", bytes([1, 13, 0, 0])), rgb=levels))
        found = photo.rgb[0, :, 0] / np.iinfo(levels.dtype).max
        np.testing.assert_allclose(found, [0.0, 0.5, 1.0], atol=0.003)
        assert photo.notices == ()


def test_a_matrix_in_cicp_is_named():
    photo = images.read(png_with(chunk(b"cICP", bytes([1, 13, 9, 1]))))
    assert "matrix 9" in photo.notices[0]


def test_gamma_counts_where_the_profile_is_damaged():
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    photo = images.read(png_with(chunk(b"iCCP", b"x\0\0junk"), gamma))
    np.testing.assert_array_equal(photo.rgb, images.read(png_with(gamma)).rgb)
    assert "colour profile is damaged" in photo.notices[0]


def jp2_with_colours(content, said):
    """Put another `colr` box into a JPEG 2000 file."""
    box = struct.pack(">I4s", 8 + len(said), b"colr") + said
    place, outer = content.index(b"colr") - 4, content.index(b"jp2h") - 4
    (old,) = struct.unpack(">I", content[place : place + 4])
    (size,) = struct.unpack(">I", content[outer : outer + 4])
    content = content[:place] + box + content[place + old :]
    return content[:outer] + struct.pack(">I", size + len(box) - old) + content[outer + 4 :]


@pytest.mark.parametrize("method", [2, 3])
def test_profile_of_jpeg_2000(method):
    profile = imagecodecs.cms_profile("adobergb")
    plain = imagecodecs.jpeg2k_encode(ramp(), level=0, codecformat="jp2")
    content = jp2_with_colours(plain, bytes([method, 0, 0]) + profile)
    expected = images.read(saved(ramp(), "PNG", icc_profile=profile)).rgb
    assert (expected != ramp()).any()
    np.testing.assert_array_equal(images.read(content).rgb, expected)


def test_other_colours_of_jpeg_2000():
    plain = imagecodecs.jpeg2k_encode(ramp(), level=0, codecformat="jp2")
    unknown = images.read(jp2_with_colours(plain, b"\1\0\0" + struct.pack(">I", 14)))
    assert "number 14 of JPEG 2000" in unknown.notices[0]
    assert images.read(jp2_with_colours(plain, b"\1\0\0" + struct.pack(">I", 16))).notices == ()
    numbered = images.read(jp2_with_colours(plain, b"\5\0\0" + struct.pack(">3HB", 12, 13, 0, 128)))
    same = images.read(png_with(chunk(b"cICP", bytes([12, 13, 0, 1]))))
    np.testing.assert_array_equal(numbered.rgb, same.rgb)


def bmp5(kind, *, ends=bytes(36), gamma=0.0, profile=b""):
    """BMP with the header of version 5."""
    pixels = saved(ramp(), "BMP")[54:]
    head = struct.pack("<IiiHHIIiiII", 124, 32, 24, 1, 24, 0, len(pixels), 2835, 2835, 0, 0)
    head += bytes(16) + kind[::-1] + ends + 3 * struct.pack("<I", round(gamma * 65536))
    head += struct.pack("<4I", 4, 124 + len(pixels), len(profile), 0)
    start = struct.pack("<IHHI", 138 + len(pixels) + len(profile), 0, 0, 138)
    return b"BM" + start + head + pixels + profile


def test_colours_of_bmp():
    profile = imagecodecs.cms_profile("adobergb")
    same = images.read(saved(ramp(), "PNG", icc_profile=profile))
    np.testing.assert_array_equal(images.read(bmp5(b"MBED", profile=profile)).rgb, same.rgb)
    linear = images.read(bmp5(bytes(4), gamma=1.0))
    expected = linear_to_srgb(ramp() / 255) * 255
    assert np.abs(linear.rgb - expected).max() < 0.51
    assert "in another file" in images.read(bmp5(b"LINK")).notices[0]
    # Windows' own name of sRGB, a gamma that means it either way round, and one that says nothing.
    corners = struct.pack(
        "<9i", *(round(v * 2**30) for v in (0.64, 0.33, 0.03, 0.3, 0.6, 0.1, 0.15, 0.06, 0.79))
    )
    for content in (bmp5(b"sRGB"), bmp5(bytes(4), ends=corners, gamma=2.2),
                    bmp5(bytes(4), ends=corners, gamma=0.45455), bmp5(bytes(4))):  # fmt: skip
        np.testing.assert_array_equal(images.read(content).rgb, ramp())


def test_high_dynamic_range():
    # BT.2408: reference white is 58% of PQ and 75% of HLG.
    for transfer, name, code in ((16, "PQ", 0.5807), (18, "HLG", 0.75)):
        level = np.full((2, 2, 3), round(code * 65535), "uint16")
        photo = images.read(png_with(chunk(b"cICP", bytes([9, transfer, 0, 1])), rgb=level))
        assert photo.rgb.min() > 0.98 * 65535
        assert name in photo.notices[0] and "clipped" in photo.notices[0]
        dark = images.read(png_with(chunk(b"cICP", bytes([9, transfer, 0, 1])), rgb=level // 2))
        assert dark.rgb.max() < 0.7 * 65535


def test_unknown_code_points_are_named():
    photo = images.read(png_with(chunk(b"cICP", bytes([77, 99, 0, 1]))))
    np.testing.assert_array_equal(photo.rgb, ramp())
    assert "primaries 77" in photo.notices[0] and "transfer 99" in photo.notices[0]


def exif_with(interoperability=None, **details):
    """EXIF with an interoperability directory, which Pillow does not write."""
    entries = [(0xA001, 3, 1, struct.pack("<HH", details["space"], 0))]
    if interoperability:
        entries.append((0xA005, 4, 1, struct.pack("<I", 56)))
    body = b"II*\0" + struct.pack("<I", 8)
    body += struct.pack("<HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    body += struct.pack("<H", len(entries))
    body += b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries) + bytes(4)
    body = body.ljust(56, b"\0")
    if interoperability:
        body += struct.pack("<HHHI", 1, 1, 2, 4) + interoperability + bytes(4)
    return b"Exif\0\0" + body


def test_adobe_rgb_by_exif():
    content = saved(ramp(), "JPEG", quality=95, exif=exif_with(b"R03\0", space=0xFFFF))
    profile = imagecodecs.cms_profile("adobergb")
    same = saved(ramp(), "JPEG", quality=95, icc_profile=profile)
    np.testing.assert_array_equal(images.read(content).rgb, images.read(same).rgb)
    plain = images.read(saved(ramp(), "JPEG", quality=95, exif=exif_with(b"R98\0", space=1)))
    assert (plain.rgb != images.read(content).rgb).any() and plain.notices == ()
    unknown = images.read(saved(ramp(), "JPEG", exif=exif_with(space=0xFFFF)))
    assert "not those of sRGB" in unknown.notices[0]


@pytest.mark.parametrize(("resolution", "is_kept"), [(0, False), (1, True), (300, True)])
def test_a_resolution_that_says_something_is_kept(resolution, is_kept):
    photo = images.read(saved(ramp(), "JPEG", dpi=(resolution, resolution)))
    exif = Image.Exif()
    if photo.metadata:
        exif.load(photo.metadata)
    found = [exif.get(tag) for tag in (282, 283)]
    assert found == ([resolution] * 2 if is_kept else [None] * 2)


# BigTIFF


@pytest.mark.parametrize("order", ["<", ">"])
def test_bigtiff_orientation_and_exif(order):
    tags = [(274, "H", 1, 6, True), (315, "s", 0, "Ada", True)]
    content = tiff(
        ramp(), photometric="rgb", bigtiff=True, byteorder=order, extratags=tags, metadata=None
    )
    photo = images.read(content)
    np.testing.assert_array_equal(photo.rgb, ramp()[::-1].transpose(1, 0, 2))
    assert photo.notices == ()
    exif = Image.Exif()
    exif.load(photo.metadata)
    assert exif[315] == "Ada" and ExifTags.Base.Orientation not in exif


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("kind", ["B", "H", "I"])
def test_orientation_of_tiff_as_any_whole_number(is_big, kind):
    tags = [(274, kind, 1, 6, True)]
    content = tiff(ramp(), photometric="rgb", bigtiff=is_big, extratags=tags, metadata=None)
    photo = images.read(content)
    np.testing.assert_array_equal(photo.rgb, ramp()[::-1].transpose(1, 0, 2))
    assert photo.notices == ()


@pytest.mark.parametrize("order", ["<", ">"])
def test_adobe_rgb_by_the_exif_of_a_bigtiff(order):
    tags = [(65000, "Q", 1, 0x1122334455667788, True)]
    content = tiff(
        ramp(), photometric="rgb", bigtiff=True, byteorder=order, extratags=tags, metadata=None
    )
    # Of EXIF, which the writer of tests will not write.
    content = content.replace(
        struct.pack(order + "HH", 65000, 16), struct.pack(order + "HH", 34665, 16)
    )
    start = len(content)
    content = content.replace(
        struct.pack(order + "Q", 0x1122334455667788), struct.pack(order + "Q", start)
    )
    entry = order + "HHQ"
    content += struct.pack(order + "Q", 2)
    content += struct.pack(entry, 0xA001, 3, 1) + struct.pack(order + "H6x", 0xFFFF)
    content += struct.pack(entry, 0xA005, 4, 1) + struct.pack(order + "I4x", start + 56) + bytes(8)
    content += struct.pack(order + "Q", 1) + struct.pack(entry, 1, 2, 4) + b"R03\0" + bytes(12)
    same = images.read(saved(ramp(), "PNG", icc_profile=imagecodecs.cms_profile("adobergb")))
    photo = images.read(content)
    np.testing.assert_array_equal(photo.rgb, same.rgb)
    assert photo.notices == ()


# Kinds of files


@pytest.mark.parametrize("format", ["GIF", "AVIF", "JPEG 2000", "JPEG XL"])
def test_formats_that_are_only_read(format):
    content = (
        imagecodecs.jpegxl_encode(ramp())
        if format == "JPEG XL"
        else saved(ramp(), format.replace(" ", ""))
    )
    photo = images.read(content)
    assert photo.format == format
    assert np.abs(photo.rgb.astype(int) - ramp()).mean() < 5
    with pytest.raises(ValueError, match="at most 100 pixels.*32 x 24"):
        images.read(content, max_pixels=100)


def test_first_frame_of_a_gif():
    other = Image.fromarray(255 - ramp())
    photo = images.read(saved(ramp(), "GIF", save_all=True, append_images=[other]))
    assert photo.notices == ("The file holds several pictures; only the first was read.",)
    assert np.abs(photo.rgb.astype(int) - ramp()).mean() < 5


def test_second_picture_of_an_mpo():
    other = Image.fromarray(255 - ramp())
    photo = images.read(saved(ramp(), "MPO", save_all=True, append_images=[other]))
    assert photo.notices == ("The file holds several pictures; only the first was read.",)


def deep_jpeg():
    return imagecodecs.jpeg_encode(ramp().astype("uint16") * 16, bitspersample=12, level=98)


@pytest.mark.parametrize("kind", ["baseline", "progressive", "12 bits"])
def test_jpeg_without_its_end_marker(kind):
    content = (
        deep_jpeg() if kind == "12 bits" else saved(ramp(), "JPEG", progressive=kind[0] == "p")
    )
    whole = images.read(content)
    assert whole.notices == ()
    # Cut between the two bytes too; with zeros that a disk filled up, with what a camera appends.
    for end in (b"", b"\xff", bytes(500), b"\xff" + bytes(500), b"made by a camera"):
        if end.startswith(b"\xff\0"):
            continue  # A byte of pixels, and what is to follow cannot be known.
        photo = images.read(content[:-2] + end)
        np.testing.assert_array_equal(photo.rgb, whole.rgb)
        assert "lacks its end marker" in photo.notices[0]
    for end in (b"", bytes(500)):
        with pytest.raises(ValueError, match="damaged or cut off"):
            images.read(content[:-30] + end)


def test_jpeg_whose_last_byte_of_pixels_has_a_zero_behind_it():
    """A byte of ones is followed by a zero, which is not one of the disk."""
    for level in range(256):
        content = saved(np.full((8, 8), level, "uint8"), "JPEG")
        whole = images.read(content)
        np.testing.assert_array_equal(images.read(content[:-2]).rgb, whole.rgb)


def test_the_end_marker_of_a_thumbnail_is_not_that_of_the_picture():
    thumbnail = b"Exif\0\0" + saved(ramp(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    content = saved(ramp(), "JPEG")
    photo = images.read(content[:2] + segment + content[2:-2])
    assert any("lacks its end marker" in notice for notice in photo.notices)


@pytest.mark.parametrize(
    "marker, body",
    [
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x hdrgm:Version='1.0'/>"),
        (
            0xE1,
            b"http://ns.adobe.com/xap/1.0/\0<x xmlns:g='http://ns.adobe.com/hdr-gain-map/1.0/'/>",
        ),
        (0xE2, b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)),
    ],
)
def test_gain_maps_of_jpeg_are_said(marker, body):
    content = saved(ramp(), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body
    assert "gain map" in images.read(content[:2] + segment + content[2:]).notices[0]


def test_gain_maps_of_heif_are_said():
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(ramp())).save(buffer)
    content = buffer.getvalue()
    assert images.read(content).notices == ()
    (size,) = struct.unpack(">I", content[:4])
    # In place of one of the compatible brands, so that nothing moves.
    content = content[: size - 4] + b"tmap" + content[size:]
    assert "gain map" in images.read(content).notices[0]


def test_12_bit_jpeg():
    levels = ramp().astype("uint16") * 16
    photo = images.read(imagecodecs.jpeg_encode(levels, bitspersample=12, level=98))
    # 4095 levels over 65535.
    assert photo.bits == 16
    assert np.abs(photo.rgb / 65535 - levels / 4095).mean() < 0.02


def test_kinds_of_jpeg_that_are_not_read():
    gray = np.tile(np.arange(64, dtype="uint8"), (64, 1))
    for content in (imagecodecs.jpegls_encode(gray), imagecodecs.ljpeg_encode(gray)):
        with pytest.raises(ValueError, match="not supported"):
            images.read(content)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_12_bit_jpeg_in_tiff(photometric):
    content = tiff(ramp(), photometric="rgb", compression="jpeg", metadata=None)
    stream = deep_jpeg()
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        bits, places, sizes = (page.tags[tag] for tag in (258, 273, 279))
        start = bits.valueoffset
    content = bytearray(content)
    content[start : start + 6] = struct.pack("<3H", 12, 12, 12)
    for tag, value in ((places, len(content)), (sizes, len(stream))):
        form = "<H" if tag.dtype == 3 else "<I"
        struct.pack_into(form, content, tag.valueoffset, value)
    photo = images.read(bytes(content) + stream)
    assert photo.bits == 16
    assert np.abs(photo.rgb / 65535 - ramp() * 16.0 / 4095).mean() < 0.02


def test_kinds_of_jpeg_in_tiff_that_are_not_read():
    content = tiff(ramp(), photometric="rgb", compression="jpeg", metadata=None)
    place = content.index(b"\xff\xc0")
    with pytest.raises(ValueError, match="a lossless JPEG, not supported"):
        images.read(content[: place + 1] + b"\xc3" + content[place + 2 :])


def test_compressions_of_tiff_that_are_not_read_are_no_damage():
    content = tiff(ramp(), photometric="rgb", compression="lerc")
    with pytest.raises(ValueError, match="LERC, not supported"):
        images.read(content)


def test_palettes_of_tiff():
    palette = np.random.default_rng(0).integers(0, 65536, (3, 65536)).astype("uint16")
    index = np.array([[0, 1000, 65535]], "uint16")
    photo = images.read(tiff(index, photometric="palette", colormap=palette))
    np.testing.assert_array_equal(photo.rgb[0], palette[:, index[0]].T)


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4", "packbits", "tiff_lzw"])
def test_faxes_are_read(compression):
    page = Image.fromarray(ramp()).convert("1")
    photo = images.read(saved(page, "TIFF", compression=compression))
    np.testing.assert_array_equal(photo.rgb[..., 0], np.asarray(page.convert("L")))
    assert photo.is_gray


def test_large_texts_and_profiles_of_png():
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20)))
    np.testing.assert_array_equal(images.read(png_with(text)).rgb, ramp())
    profile = imagecodecs.cms_profile("adobergb")
    padded = struct.pack(">I", len(profile) + (2 << 20)) + profile[4:] + bytes(2 << 20)
    large = chunk(b"iCCP", b"large\0\0" + zlib.compress(padded))
    small = chunk(b"iCCP", b"small\0\0" + zlib.compress(profile))
    np.testing.assert_array_equal(
        images.read(png_with(large)).rgb, images.read(png_with(small)).rgb
    )


# What must be refused


def test_png_whose_pixels_end_early():
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(bytes(9 * 5))) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="damaged or cut off"):
        images.read(content)


def test_long_sides_are_refused():
    header = struct.pack(">IIBBBBB", 1, 200_000_000, 8, 2, 0, 0, 0)
    with pytest.raises(ValueError, match="1,000,000 pixels wide and high"):
        images.read(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))


@pytest.mark.parametrize("codec", ["jpegxl", "jpeg2000", "png", "webp", "jpeg"])
def test_streams_larger_than_their_tile(codec):
    """The header of the file says 16 x 16; that of the stream in it 256 x 256."""
    options = {"photometric": "rgb", "compression": codec, "metadata": None}
    content = tiff(np.zeros((256, 256, 3), "uint8"), rowsperstrip=256, **options)
    for tag in (256, 257, 278):  # Width, height, rows of a strip.
        for kind, form in ((3, "<H"), (4, "<I")):
            entry = struct.pack("<HHI", tag, kind, 1)
            content = content.replace(entry + struct.pack(form, 256), entry + struct.pack(form, 16))
    with pytest.raises(ValueError, match="16 x 16 pixels holds a picture of 256 x 256"):
        images.read(content)


def test_jpeg_2000_file_larger_than_its_stream():
    content = saved(ramp(), "JPEG2000")
    place = content.index(b"ihdr") + 4
    content = content[:place] + struct.pack(">II", 60000, 50000) + content[place + 8 :]
    with pytest.raises(ValueError, match="50000 x 60000"):
        images.read(content)


def test_jpeg_2000_of_too_many_tiles():
    content = saved(ramp(), "JPEG2000")
    place = content.index(b"\xff\x51") + 22  # Of SIZ, where tiles have their size.
    content = content[:place] + struct.pack(">II", 1, 1) + content[place + 8 :]
    with pytest.raises(ValueError, match="too short for its tiles"):
        images.read(content)


def test_tiles_far_larger_than_the_picture():
    content = tiff(np.zeros((16, 16), "uint8"), tile=(16, 16), metadata=None)
    for tag in (322, 323):
        for kind, form in ((3, "<H"), (4, "<I")):
            entry = struct.pack("<HHI", tag, kind, 1)
            content = content.replace(
                entry + struct.pack(form, 16), entry + struct.pack(form, 60000)
            )
    with pytest.raises(ValueError, match="strips or tiles.*60000 x 60000"):
        images.read(content)


def test_too_little_memory_is_the_documented_error(monkeypatch):
    monkeypatch.setattr(images.read.__globals__["srgb"], "to_srgb", _no_memory)
    with pytest.raises(ValueError, match="fit into the memory"):
        images.read(saved(ramp(), "PNG"))


def _no_memory(picture):
    raise MemoryError


def test_jpeg_2000_may_have_half_the_pixels_of_others():
    rgb = np.tile(ramp(), (2, 2, 1))
    most = rgb.shape[0] * rgb.shape[1]
    for content in (saved(rgb, "JPEG2000"), tiff(rgb, photometric="rgb", compression="jpeg2000")):
        assert images.read(content, max_pixels=2 * most).rgb.shape == rgb.shape
        with pytest.raises(ValueError, match=f"at most {2 * most - 1:,} pixels, .* 1/2 of that"):
            images.read(content, max_pixels=2 * most - 1)
    tiles = tiff(rgb, photometric="rgb", compression="jpeg2000", tile=(16, 16))
    assert images.read(tiles, max_pixels=most).rgb.shape == rgb.shape


_READ_WITH_A_LIMIT = """
import pathlib, resource, sys
from keras_refocus.pictures import images
images.read(sys.argv[2])
held = next(l for l in pathlib.Path("/proc/self/status").read_text().splitlines() if "VmSize" in l)
size = int(held.split()[1]) * 1024 + int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (size, size))
print(images.read(sys.argv[3]).rgb.shape)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of a process")
@pytest.mark.parametrize(
    "kind",
    ["JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG of CMYK", "PNG with gamma", "TIFF of YCbCr"],
)
def test_memory_is_three_times_the_picture_at_most(tmp_path, kind):
    format, _, of = kind.partition(" of ")
    format = format.removesuffix(" with gamma")
    small, large = tmp_path / "small", tmp_path / "large"
    options = {"compression": "tiff_lzw"} if format == "TIFF" else {}
    options |= {"quality": 10, "method": 0} if format == "WEBP" else {}
    gradient = Image.linear_gradient("L").convert("RGB").resize((4000, 3000))
    for path, image in ((small, Image.fromarray(ramp())), (large, gradient)):
        content = saved(image.convert(of or "RGB"), format, **options)
        if kind.endswith("gamma"):
            gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
            content = content[:33] + gamma + content[33:]
        path.write_bytes(content)
    limit = 3 * 4000 * 3000 * 3 + (8 << 20)
    run = subprocess.run(
        [sys.executable, "-c", _READ_WITH_A_LIMIT, str(limit), str(small), str(large)],
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.strip() == "(3000, 4000, 3)", run.stderr[-800:]


# Damage


@functools.cache
def small_files():
    rgb = ramp()
    return {
        **{f: saved(rgb, f) for f in ("JPEG", "PNG", "WEBP", "BMP", "GIF", "AVIF", "JPEG2000")},
        "JPEG XL": imagecodecs.jpegxl_encode(rgb),
        "PNG 16": imagecodecs.png_encode(rgb.astype("uint16") * 257),
        "TIFF": tiff(rgb, photometric="rgb", compression="lzw"),
        "TIFF tiles": tiff(rgb, photometric="rgb", compression="deflate", tile=(16, 16)),
        "BigTIFF": tiff(rgb, photometric="rgb", bigtiff=True),
        "TIFF JPEG XL": tiff(rgb, photometric="rgb", compression="jpegxl"),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", small_files())
@hypothesis.settings(max_examples=25, deadline=10_000, derandomize=True, database=None)
@hypothesis.given(data=strategies.data())
def test_damaged_files_are_read_or_refused(kind, data):
    content = bytearray(small_files()[kind])
    place = strategies.integers(0, len(content) - 1)
    for position, value in data.draw(
        strategies.lists(strategies.tuples(place, strategies.integers(0, 255)), max_size=12)
    ):
        content[position] = value
    cut = data.draw(strategies.one_of(strategies.none(), place))
    try:
        photo = images.read(bytes(content[:cut]), max_pixels=1_000_000)
    except ValueError as error:
        assert "Received" in str(error)
    else:
        assert photo.rgb.size <= 3_000_000


# Pictures that Pillow has in memory


def levels(image):
    return images.from_image(image).rgb.astype(int)


def pillow_modes():
    base = Image.fromarray(ramp())
    alpha = Image.fromarray(np.uint8(np.linspace(1, 255, 24 * 32).reshape(24, 32)))
    with_alpha = base.copy()
    with_alpha.putalpha(alpha)
    gray = base.convert("L")
    gray_alpha = gray.convert("LA")
    deep = np.uint16(257) * np.asarray(gray)
    wide = Image.fromarray(deep.astype(np.int32))
    # Mode, a picture of it, what its pixels are, and how far a level may be off.
    yield "RGB", base, base, 0
    yield "RGBX", base.convert("RGBX"), base, 0
    yield "RGBA", with_alpha, base, 0
    yield "RGBa", with_alpha.convert("RGBa"), None, 0
    yield "L", gray, gray, 0
    yield "LA", gray_alpha, gray, 0
    yield "1", gray.convert("1"), gray.convert("1").convert("L"), 0
    yield "P", base.quantize(16), base.quantize(16).convert("RGB"), 0
    yield "PA", base.quantize(16).convert("PA"), base.quantize(16).convert("RGB"), 0
    yield "YCbCr", base.convert("YCbCr"), base, 4
    yield "HSV", base.convert("HSV"), base, 6
    yield "CMYK", base.convert("CMYK"), base, 1
    yield "I;16", Image.fromarray(deep), gray, 0
    yield "I", wide, gray, 0
    yield "F", Image.fromarray(np.float32(deep / 65535)), gray, 0


@pytest.mark.parametrize(
    ("mode", "image", "expected", "tolerance"),
    list(pillow_modes()),
    ids=lambda value: str(value)[:5],
)
def test_every_mode_of_pillow_is_taken_for_what_it_is(mode, image, expected, tolerance):
    assert image.mode == mode
    found = images.from_image(image)
    scale = 257 if found.bits == 16 else 1
    if expected is not None:
        wanted = np.asarray(expected.convert("RGB")).astype(int)
        assert np.abs(found.rgb.astype(int) / scale - wanted).max() <= tolerance
    assert (found.alpha is not None) == mode.endswith(("A", "a"))
    assert found.is_gray == (mode in ("L", "LA", "1", "I;16", "I", "F"))


@pytest.mark.parametrize(
    "levels", [np.uint16([[0, 65535]]), np.int32([[0, 65535]]), np.float32([[0, 1]])]
)
def test_deep_grey_in_memory_has_black_and_white(levels):
    found = images.from_image(Image.fromarray(levels))
    assert found.bits == 16 and found.is_gray
    np.testing.assert_array_equal(found.rgb[0], [[0] * 3, [65535] * 3])


def test_lab_of_pillow_has_its_own_white():
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.profileToProfile(Image.fromarray(ramp()), *profiles, outputMode="LAB")
    assert lab.mode == "LAB"
    assert np.abs(levels(lab) - ramp()).mean() < 2.5  # Lab of 8 bits is coarse.


def test_profile_orientation_and_metadata_count_in_memory_too():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Artist] = "somebody"
    content = saved(ramp(), "PNG", icc_profile=imagecodecs.cms_profile("adobergb"), exif=exif)
    opened = Image.open(io.BytesIO(content))
    photo, expected = images.from_image(opened), images.read(content)
    np.testing.assert_array_equal(photo.rgb, expected.rgb)
    assert photo.rgb.shape == (32, 24, 3)
    assert b"somebody" in photo.metadata


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("F", (3, 2), 2.0), "mode 'F' must have values from 0 to 1. Received: 2.0"),
        (Image.new("I", (3, 2), -1), "mode 'I' must have values from 0 to 65535. Received: -1"),
        (Image.new("RGB", (0, 2)), "0 x 2 pixels"),
    ],
)
def test_pictures_in_memory_that_cannot_be_taken_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        images.from_image(image)
