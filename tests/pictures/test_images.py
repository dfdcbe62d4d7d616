import errno
import io
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from keras_refocus.pictures import decoders, images, writing
from keras_refocus.pictures import photo as photo_module


@pytest.fixture
def rgb8():
    """Noise that no codec can guess, 20 x 30, uint8."""
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype("uint8")


@pytest.fixture
def rgb16():
    return np.random.default_rng(1).integers(0, 65536, (20, 30, 3)).astype("uint16")


@pytest.fixture
def alpha8():
    return np.random.default_rng(2).integers(0, 256, (20, 30)).astype("uint8")


@pytest.fixture
def alpha16():
    return np.random.default_rng(3).integers(0, 65536, (20, 30)).astype("uint16")


def encoded(image, format, **options):
    """Content of a file that Pillow writes."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def encoded_tiff(array, **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def smooth(height=48, width=64):
    """A picture that survives lossy codecs: slow ramps, uint8."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 2 * x, 60 + 3 * y, 200 - x - y], -1).astype("uint8")


# Formats


@pytest.mark.parametrize("format, suffix", [("PNG", ".png"), ("TIFF", ".tif"), ("BMP", ".bmp")])
def test_lossless_formats_there_and_back(tmp_path, rgb8, format, suffix):
    path = tmp_path / f"photo{suffix}"
    assert images.write(path, images.Photo(rgb=rgb8)) == ()
    photo = images.read(path)
    np.testing.assert_array_equal(photo.rgb, rgb8)
    assert (photo.format, photo.bits, photo.alpha, photo.is_gray) == (format, 8, None, False)
    assert (photo.height, photo.width, photo.notices, photo.metadata) == (20, 30, (), b"")
    # Other software reads the same.
    np.testing.assert_array_equal(np.asarray(Image.open(path).convert("RGB")), rgb8)


@pytest.mark.parametrize("format, suffix", [("JPEG", ".jpg"), ("WebP", ".webp")])
def test_lossy_formats_there_and_back(tmp_path, format, suffix):
    rgb = smooth()
    path = tmp_path / f"photo{suffix}"
    images.write(path, images.Photo(rgb=rgb), quality=95)
    photo = images.read(path)
    assert photo.format == format and photo.rgb.dtype == np.uint8
    assert np.abs(photo.rgb.astype(int) - rgb).mean() < 2.0
    rough = tmp_path / f"rough{suffix}"
    images.write(rough, images.Photo(rgb=rgb), quality=10)
    assert rough.stat().st_size < path.stat().st_size


def test_sources_may_be_paths_bytes_and_files(tmp_path, rgb8):
    content = encoded(rgb8, "PNG")
    path = tmp_path / "photo.png"
    path.write_bytes(content)

    class Stream(io.RawIOBase):
        """What a web request gives: readable once, from the beginning."""

        def __init__(self):
            self.buffer = io.BytesIO(content)

        def read(self, size=-1):
            return self.buffer.read(size)

    for source in (path, str(path), content, bytearray(content), io.BytesIO(content), Stream()):
        np.testing.assert_array_equal(images.read(source).rgb, rgb8)
    with path.open("rb") as file:
        np.testing.assert_array_equal(images.read(file).rgb, rgb8)


def test_the_content_counts_and_not_the_name(tmp_path, rgb8):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(rgb8, "PNG"))
    assert images.read(path).format == "PNG"


def test_one_pixel(tmp_path):
    for suffix in images.FORMATS.values():
        path = tmp_path / f"dot{suffix}"
        images.write(path, images.Photo(rgb=np.full((1, 1, 3), 200, "uint8")))
        np.testing.assert_allclose(images.read(path).rgb, 200, atol=2)


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    rgb = smooth()
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(rgb)).save(buffer, quality=95)
    photo = images.read(buffer.getvalue())
    assert photo.format == "HEIC" and photo.bits == 8
    assert np.abs(photo.rgb.astype(int) - rgb).mean() < 3.0
    with pytest.raises(ValueError, match="most 100 pixels"):
        images.read(buffer.getvalue(), max_pixels=100)
    with pytest.raises(ValueError, match="damaged or cut off"):
        images.read(buffer.getvalue()[:-200])


def test_heic_of_more_than_8_bits():
    pillow_heif = pytest.importorskip("pillow_heif")
    rgb = smooth().astype("uint16") * 257
    heif = pillow_heif.encode("RGB;16", (64, 48), rgb.tobytes(), buffer := io.BytesIO(), quality=95)
    assert heif is None
    photo = images.read(buffer.getvalue())
    assert photo.bits == 16
    assert np.abs(photo.rgb.astype(int) - rgb).mean() < 3 * 257


def test_heic_without_its_reader(monkeypatch):
    monkeypatch.setattr(decoders.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install pillow-heif"):
        images.read(b"\0\0\0\x18ftypheic" + bytes(16))


# 16 bits


def test_16_bit_png(rgb16, alpha16):
    photo = images.read(imagecodecs.png_encode(rgb16))
    assert photo.bits == 16 and not photo.is_gray
    np.testing.assert_array_equal(photo.rgb, rgb16)
    gray = images.read(imagecodecs.png_encode(rgb16[..., 0].copy()))
    assert gray.is_gray
    np.testing.assert_array_equal(gray.rgb, np.repeat(rgb16[..., :1], 3, -1))
    clear = images.read(imagecodecs.png_encode(np.dstack([rgb16, alpha16])))
    np.testing.assert_array_equal(clear.rgb, rgb16)
    np.testing.assert_array_equal(clear.alpha, alpha16)
    both = images.read(imagecodecs.png_encode(np.stack([rgb16[..., 0], alpha16], -1)))
    assert both.is_gray
    np.testing.assert_array_equal(both.rgb[..., 2], rgb16[..., 0])
    np.testing.assert_array_equal(both.alpha, alpha16)


def test_16_bit_png_with_a_transparent_color(rgb16):
    key = tuple(int(value) for value in rgb16[3, 4])
    content = imagecodecs.png_encode(rgb16)
    chunk = b"tRNS" + struct.pack(">3H", *key)
    chunk = struct.pack(">I", 6) + chunk + struct.pack(">I", zlib.crc32(chunk))
    photo = images.read(content[:33] + chunk + content[33:])
    assert photo.alpha[3, 4] == 0 and (photo.alpha == 65535).sum() == 20 * 30 - 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"compression": "lzw", "predictor": True},
        {"compression": "deflate", "tile": (16, 16)},
        {"planarconfig": "separate"},
        {"bigtiff": True},
    ],
    ids=str,
)
def test_16_bit_tiff(rgb16, options):
    array = np.moveaxis(rgb16, -1, 0) if "planarconfig" in options else rgb16
    photo = images.read(encoded_tiff(array, photometric="rgb", **options))
    np.testing.assert_array_equal(photo.rgb, rgb16)
    assert photo.rgb.dtype == np.dtype("uint16") and photo.rgb.dtype.isnative
    gray = images.read(encoded_tiff(rgb16[..., 0], photometric="minisblack"))
    assert gray.is_gray
    np.testing.assert_array_equal(gray.rgb[..., 1], rgb16[..., 0])


def test_16_bit_tiff_with_alpha(rgb16, alpha16):
    array = np.dstack([rgb16, alpha16])
    photo = images.read(encoded_tiff(array, photometric="rgb", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(photo.rgb, rgb16)
    np.testing.assert_array_equal(photo.alpha, alpha16)
    # Another channel that is not transparency.
    photo = images.read(encoded_tiff(array, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(photo.rgb, rgb16)
    assert photo.alpha is None
    # Premultiplied: half of (40000, 20000, 0) at half opacity.
    array = np.full((2, 2, 4), (20000, 10000, 0, 32768), "uint16")
    photo = images.read(encoded_tiff(array, photometric="rgb", extrasamples=["assocalpha"]))
    np.testing.assert_allclose(photo.rgb[0, 0], (40000, 20000, 0), atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("has_alpha", [False, True])
@pytest.mark.parametrize("is_gray", [False, True])
def test_depth_and_alpha_there_and_back(tmp_path, rgb16, alpha16, suffix, has_alpha, is_gray):
    for bits in (8, 16):
        rgb = rgb16 if bits == 16 else (rgb16 >> 8).astype("uint8")
        alpha = alpha16 if bits == 16 else (alpha16 >> 8).astype("uint8")
        if is_gray:
            rgb = np.repeat(rgb[..., :1], 3, -1)
        photo = images.Photo(rgb=rgb, alpha=alpha if has_alpha else None, is_gray=is_gray)
        path = tmp_path / f"photo{bits}{suffix}"
        assert images.write(path, photo) == ()
        again = images.read(path)
        assert again.is_gray == is_gray
        np.testing.assert_array_equal(again.rgb, rgb)
        assert again.rgb.dtype == rgb.dtype
        if has_alpha:
            np.testing.assert_array_equal(again.alpha, alpha)
        else:
            assert again.alpha is None


def test_gray_that_became_color_is_written_as_color(tmp_path, rgb8):
    gray = np.repeat(rgb8[..., :1], 3, -1)
    path = tmp_path / "a.png"
    # Rounding of one level is still grey; more is colour.
    nearly = gray.copy()
    nearly[0, 0, 0] = min(int(gray[0, 0, 0]) + 1, 255)
    images.write(path, images.Photo(rgb=nearly, is_gray=True))
    assert Image.open(path).mode == "L"
    images.write(path, images.Photo(rgb=rgb8, is_gray=True), overwrite=True)
    np.testing.assert_array_equal(images.read(path).rgb, rgb8)
    images.write(path, images.Photo(rgb=gray), overwrite=True)
    assert Image.open(path).mode == "RGB"


def test_16_bits_in_a_format_of_8(tmp_path, caplog):
    # 257 levels of 65535 to one of 255: 32896 / 257 = 128, and 200 / 257 rounds to 1.
    rgb = np.full((8, 8, 3), (32896, 200, 65535), "uint16")
    for suffix in (".jpg", ".webp", ".bmp"):
        notices = images.write(tmp_path / f"x{suffix}", images.Photo(rgb=rgb), quality=100)
        assert notices == (
            "The format holds 8 bits a channel; the 16 of the picture were rounded.",
        )
        assert notices[0] in caplog.text
        caplog.clear()
    np.testing.assert_array_equal(images.read(tmp_path / "x.bmp").rgb[0, 0], (128, 1, 255))


# Alpha, palettes, CMYK


def test_alpha_of_8_bits(tmp_path, rgb8, alpha8):
    photo = images.read(encoded(np.dstack([rgb8, alpha8]), "PNG"))
    np.testing.assert_array_equal(photo.rgb, rgb8)
    np.testing.assert_array_equal(photo.alpha, alpha8)
    gray = images.read(encoded(Image.fromarray(np.dstack([rgb8[..., 0], alpha8])), "PNG"))
    assert gray.is_gray
    np.testing.assert_array_equal(gray.alpha, alpha8)
    path = tmp_path / "photo.webp"
    images.write(path, images.Photo(rgb=rgb8, alpha=alpha8))
    np.testing.assert_array_equal(images.read(path).alpha, alpha8)


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_in_a_format_without(tmp_path, suffix):
    rgb = np.zeros((16, 16, 3), "uint8")
    alpha = np.full((16, 16), 51, "uint8")  # A fifth opaque: black on white gives 204.
    path = tmp_path / f"x{suffix}"
    notices = images.write(path, images.Photo(rgb=rgb, alpha=alpha), quality=100)
    assert notices == ("The format holds no transparency; the picture was laid on white.",)
    np.testing.assert_allclose(images.read(path).rgb, 204, atol=1)
    opaque = images.Photo(rgb=rgb, alpha=np.full((16, 16), 255, "uint8"))
    assert images.write(path, opaque, overwrite=True) == ()
    np.testing.assert_allclose(images.read(path).rgb, 0, atol=1)


def test_palettes():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 250, 251, 252])
    image.putdata([0, 1, 2])
    expected = [[10, 20, 30], [40, 50, 60], [250, 251, 252]]
    for format in ("PNG", "BMP", "TIFF"):
        photo = images.read(encoded(image, format))
        assert photo.rgb[0].tolist() == expected and photo.alpha is None, format
    for transparency in (1, bytes([255, 0, 128])):
        photo = images.read(encoded(image, "PNG", transparency=transparency))
        assert photo.rgb[0].tolist() == expected
        assert photo.alpha[0, 1] == 0 and photo.alpha[0, 0] == 255
    assert photo.alpha[0, 2] == 128


def test_black_and_white_and_odd_depths():
    image = Image.fromarray(np.array([[True, False, True]]))
    for format in ("PNG", "TIFF", "BMP"):
        photo = images.read(encoded(image, format))
        assert photo.rgb[0, :, 0].tolist() == [255, 0, 255], format
    white_is_zero = encoded_tiff(np.array([[0, 100, 255]], "uint8"), photometric="miniswhite")
    assert images.read(white_is_zero).rgb[0, :, 1].tolist() == [255, 155, 0]
    # A grey PNG with a transparent level.
    photo = images.read(encoded(np.array([[7, 200]], "uint8"), "PNG", transparency=200))
    assert photo.alpha[0].tolist() == [255, 0] and photo.is_gray


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_without_profile(format):
    # Full cyan, no ink, and black ink; (1 - ink) (1 - black).
    ink = np.zeros((16, 48, 4), "uint8")
    ink[:, :16] = (255, 0, 0, 0)
    ink[:, 32:] = (0, 0, 0, 204)
    options = {"quality": 100} if format == "JPEG" else {}
    photo = images.read(encoded(Image.fromarray(ink, "CMYK"), format, **options))
    for column, expected in ((8, (0, 255, 255)), (24, (255, 255, 255)), (40, (51, 51, 51))):
        np.testing.assert_allclose(photo.rgb[8, column], expected, atol=3)
    assert "CMYK without a colour profile" in photo.notices[0]


def test_cmyk_of_16_bits():
    ink = np.full((4, 4, 4), (0, 65535, 0, 13107), "uint16")
    photo = images.read(encoded_tiff(ink, photometric="separated"))
    np.testing.assert_allclose(photo.rgb[0, 0], (52428, 0, 52428), atol=1)


def cmyk_profile(lab_of_ink):
    """A printer profile with a corner of the ink cube in each entry of its table.

    Args:
        lab_of_ink: Function of (c, m, y, k), each 0 or 1, to (L*, a*, b*).
    """
    corners = [lab_of_ink(*(index >> shift & 1 for shift in (3, 2, 1, 0))) for index in range(16)]
    linear = struct.pack(">2H", 0, 65535)
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + identity + struct.pack(">2H", 2, 2)
    table += linear * 4
    for lightness, a, b in corners:
        table += struct.pack(
            ">3H",
            *(int(round(v)) for v in (lightness * 652.8, (a + 128) * 256, (b + 128) * 256)),
        )
    table += linear * 3
    table += bytes(-len(table) % 4)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    text += bytes(-len(text) % 4)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags = {b"A2B0": table, b"A2B1": table, b"desc": text, b"cprt": text, b"wtpt": white}
    position = 128 + 4 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        directory += name + struct.pack(">2I", position + len(body), len(data))
        body += data
    header = struct.pack(">I", position + len(body)) + b"lcms" + struct.pack(">I", 0x02400000)
    header += b"prtrCMYKLab " + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + directory + body


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_with_profile(format):
    # A printer whose black ink is a middle grey of L* 50 (sRGB 119) and whose paper is white.
    profile = cmyk_profile(lambda c, m, y, k: (50.0 if k else 100.0, 0.0, 0.0))
    ink = np.zeros((16, 32, 4), "uint8")
    ink[:, 16:, 3] = 255
    options = {"quality": 100} if format == "JPEG" else {}
    content = encoded(Image.fromarray(ink, "CMYK"), format, icc_profile=profile, **options)
    photo = images.read(content)
    assert photo.notices == ()
    # Black point compensation would move the grey down to black: the profile's darkest colour is
    # its black point.
    np.testing.assert_allclose(photo.rgb[8, 4], 255, atol=2)
    assert photo.rgb[8, 28].max() < 125 and np.ptp(photo.rgb[8, 28].astype(int)) <= 2


# Profiles


def adobe_to_srgb(rgb):
    """Adobe RGB (1998), both with D65, so no adaptation is needed; values in [0, 1]."""
    linear = rgb ** (563 / 256)
    to_xyz = np.array(
        [
            [0.57667, 0.18556, 0.18823],
            [0.29734, 0.62736, 0.07529],
            [0.02703, 0.07069, 0.99134],
        ]
    )
    to_srgb = np.array(
        [
            [3.2404542, -1.5371385, -0.4985314],
            [-0.9692660, 1.8760108, 0.0415560],
            [0.0556434, -0.2040259, 1.0572252],
        ]
    )
    linear = np.clip(linear @ to_xyz.T @ to_srgb.T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def test_profile_of_8_bits(rgb8):
    profile = imagecodecs.cms_profile("adobergb")
    for content in (
        encoded(rgb8, "PNG", icc_profile=profile),
        encoded(rgb8, "TIFF", icc_profile=profile),
    ):
        photo = images.read(content)
        expected = adobe_to_srgb(rgb8 / 255) * 255
        assert np.abs(photo.rgb - expected).max() < 1.2
        assert photo.notices == ()


def test_profile_of_16_bits_keeps_its_precision(rgb16):
    profile = imagecodecs.cms_profile("adobergb")
    expected = adobe_to_srgb(rgb16 / 65535) * 65535
    tiff = images.read(encoded_tiff(rgb16, photometric="rgb", iccprofile=profile))
    png = imagecodecs.png_encode(rgb16)
    name = b"Adobe RGB\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(name)) + b"iCCP" + name
    chunk += struct.pack(">I", zlib.crc32(b"iCCP" + name))
    png = images.read(png[:33] + chunk + png[33:])
    for photo in (tiff, png):
        assert photo.bits == 16
        # A sixth of a level of 255 at most, where 8-bit tables would be off by many.
        assert np.abs(photo.rgb - expected).max() < 50


def test_srgb_profile_changes_nothing(rgb8):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(images.read(encoded(rgb8, "PNG", icc_profile=profile)).rgb, rgb8)


def test_gray_profile():
    # Gamma 1: a quarter of the light is sRGB 137.
    profile = imagecodecs.cms_profile("gray", gamma=1.0)
    levels = np.full((4, 4), 64, "uint8")
    photo = images.read(encoded(levels, "PNG", icc_profile=profile))
    linear = 64 / 255
    expected = 255 * (1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(photo.rgb, expected, atol=1.5)
    assert photo.is_gray


def test_profile_that_does_not_fit(rgb8):
    for profile in (b"nonsense" * 20, imagecodecs.cms_profile("gray", gamma=2.2)):
        photo = images.read(encoded(rgb8, "PNG", icc_profile=profile))
        np.testing.assert_array_equal(photo.rgb, rgb8)
        assert "colour profile does not fit" in photo.notices[0]


# Orientation and metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_orientation(rgb8, orientation, format):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if format == "WEBP" else {}
    photo = images.read(encoded(rgb8, format, exif=exif, **options))
    # As the EXIF standard says where row 0 and column 0 of the file belong.
    expected = {
        1: rgb8,
        2: rgb8[:, ::-1],
        3: rgb8[::-1, ::-1],
        4: rgb8[::-1],
        5: rgb8.transpose(1, 0, 2),
        6: rgb8[::-1].transpose(1, 0, 2),
        7: rgb8[::-1, ::-1].transpose(1, 0, 2),
        8: rgb8[:, ::-1].transpose(1, 0, 2),
    }[orientation]
    np.testing.assert_array_equal(photo.rgb, expected)
    assert 0x0112 not in stored_exif(photo.metadata)


def test_orientation_of_jpeg_alpha_and_16_bits(rgb16, alpha16):
    exif = Image.Exif()
    exif[0x0112] = 6
    rgb = smooth(32, 64)
    photo = images.read(encoded(rgb, "JPEG", quality=95, exif=exif))
    assert photo.rgb.shape == (64, 32, 3)
    assert np.abs(photo.rgb.astype(int) - rgb[::-1].transpose(1, 0, 2)).mean() < 2
    array = np.dstack([rgb16, alpha16])
    photo = images.read(
        encoded_tiff(
            array,
            photometric="rgb",
            extrasamples=["unassalpha"],
            extratags=[(274, "H", 1, 6, True)],
        )
    )
    np.testing.assert_array_equal(photo.rgb, rgb16[::-1].transpose(1, 0, 2))
    np.testing.assert_array_equal(photo.alpha, alpha16[::-1].T)
    # A 16-bit PNG whose EXIF comes after the pixels.
    png = imagecodecs.png_encode(rgb16)
    buffer = io.BytesIO()
    buffer.write(png[:-12])
    PngImagePlugin.putchunk(buffer, b"eXIf", exif.tobytes()[6:])
    buffer.write(png[-12:])
    photo = images.read(buffer.getvalue())
    np.testing.assert_array_equal(photo.rgb, rgb16[::-1].transpose(1, 0, 2))


def stored_exif(metadata):
    exif = Image.Exif()
    if metadata:
        exif.load(metadata)
    return exif


@pytest.fixture
def tagged_photo(rgb8):
    """A photo as a phone would have taken it."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif[0x0112] = 3
    exif[0x013B] = "Ada Photographer"
    exif[0x8298] = "(c) Ada"
    exif[0x011A], exif[0x011B], exif[0x0128] = 300.0, 300.0, 2
    exif[ExifTags.IFD.Exif] = {
        0x9003: "2024:05:06 07:08:09",
        0x829A: 0.004,
        0x927C: b"secret maker note",
        0xA002: 30,
    }
    exif[ExifTags.IFD.GPSInfo] = {1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    return images.read(encoded(rgb8, "PNG", exif=exif))


def file_exif(path):
    return stored_exif(images.read(path).metadata)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_metadata_is_stripped_unless_asked_for(tmp_path, tagged_photo, suffix, bits):
    photo = tagged_photo
    if bits == 16:
        rgb = photo.rgb.astype("uint16") * 257
        photo = images.Photo(rgb=rgb, metadata=photo.metadata)
    path = tmp_path / f"photo{suffix}"
    images.write(path, photo)
    assert images.read(path).metadata == b"" or not file_exif(path).get(0x013B)
    content = path.read_bytes()
    assert b"Ada" not in content and b"2024" not in content

    images.write(path, photo, keep_metadata=True, overwrite=True)
    exif = file_exif(path)
    assert exif[0x013B] == "Ada Photographer" and exif[0x8298] == "(c) Ada"
    assert float(exif[0x011A]) == 300.0
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[0x9003] == "2024:05:06 07:08:09"
    assert float(details[0x829A]) == pytest.approx(0.004)
    assert 0x927C not in details and 0xA002 not in details
    assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
    assert b"secret" not in path.read_bytes()
    # Other software finds it too, and sees no orientation that would turn the picture again.
    other = Image.open(path).getexif()
    assert other[0x013B] == "Ada Photographer" and other.get(0x0112, 1) == 1
    assert other.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2024:05:06 07:08:09"

    images.write(path, photo, keep_metadata=True, keep_gps=True, overwrite=True)
    position = file_exif(path).get_ifd(ExifTags.IFD.GPSInfo)
    assert position[1] == "N" and [float(v) for v in position[2]] == [48.0, 51.0, 29.0]


def test_every_description_of_a_photo_and_its_camera_is_kept_and_no_other_tag(tmp_path):
    """Tags by the names of EXIF 2.32, each with its own text."""
    names = (
        "ImageDescription Make Model Software DateTime Artist HostComputer Copyright "
        "XPTitle XPComment XPAuthor XPKeywords XPSubject"
    ).split()
    texts = {ExifTags.Base[name].value: f"of {name}" for name in names}
    # They are bytes: UTF-16.
    texts = {tag: v.encode("utf-16-le") if tag >= 40091 else v for tag, v in texts.items()}
    exif = Image.Exif()
    exif.update(texts)
    exif[ExifTags.Base.DocumentName.value] = "how it was stored"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", exif=exif)
    kept = Image.Exif()
    kept.load(images.read(tmp_path / "a.png").metadata)
    assert dict(kept) == texts


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_metadata_of_all_kinds_survives(tmp_path, rgb8, suffix):
    exif = Image.Exif()
    exif[0x013B] = "Zoé Müller".encode()
    exif[0x0131] = b"Darkroom 3"
    exif[0x9C9B] = "Übung".encode("utf-16-le")  # A title, as Windows writes it.
    exif[0x011A], exif[0x011B], exif[0x0128] = 120.0, 121.0, 3  # Per centimetre.
    exif[ExifTags.IFD.Exif] = {0xA434: "Objektiv 50 mm ƒ/2".encode()}
    photo = images.read(encoded(rgb8, "PNG", exif=exif))
    path = tmp_path / f"photo{suffix}"
    images.write(path, photo, keep_metadata=True)
    found = file_exif(path)
    assert found[0x013B].encode("latin-1").decode() == "Zoé Müller"
    assert found[0x0131] == "Darkroom 3"
    assert found[0x9C9B].decode("utf-16-le") == "Übung"
    assert (float(found[0x011A]), float(found[0x011B]), found[0x0128]) == (120.0, 121.0, 3)
    lens = found.get_ifd(ExifTags.IFD.Exif)[0xA434]
    assert lens.decode() == "Objektiv 50 mm ƒ/2"
    if suffix == ".jpg":
        assert Image.open(path).info["dpi"] == pytest.approx((304.8, 307.34), abs=1.0)


def test_resolution_without_exif(tmp_path, rgb8):
    photo = images.read(encoded(rgb8, "JPEG", dpi=(600, 600)))
    for suffix in (".tif", ".png"):
        images.write(tmp_path / f"a{suffix}", photo, keep_metadata=True)
        written = Image.open(tmp_path / f"a{suffix}")
        assert written.info["dpi"] == pytest.approx((600, 600), abs=0.1)
    # A resolution of nothing says nothing.
    exif = Image.Exif()
    exif[0x011A], exif[0x011B], exif[0x0128] = TiffImagePlugin.IFDRational(0, 0), 0.0, 2
    exif[0x013B] = "Ada"
    found = stored_exif(images.read(encoded(rgb8, "PNG", exif=exif)).metadata)
    assert found[0x013B] == "Ada" and 0x011A not in found


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_png_with_a_resolution_and_no_exif_is_whole(tmp_path, rgb8, mode):
    """Most editors write them so: nothing is damaged, and the resolution is kept."""
    file = io.BytesIO()
    Image.fromarray(rgb8).convert(mode).save(file, "PNG", dpi=(300, 300))
    photo = images.read(file.getvalue())
    assert not photo.notices
    images.write(tmp_path / "a.png", photo, keep_metadata=True)
    assert Image.open(tmp_path / "a.png").info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_position_needs_the_rest(tmp_path, tagged_photo):
    with pytest.raises(ValueError, match="keep_metadata"):
        images.write(tmp_path / "a.jpg", tagged_photo, keep_gps=True)
    assert list(tmp_path.iterdir()) == []


def test_metadata_in_a_format_without(tmp_path, tagged_photo):
    notices = images.write(tmp_path / "a.bmp", tagged_photo, keep_metadata=True)
    assert notices == ("The format holds no metadata.",)


def test_thumbnails_are_dropped():
    # A JPEG with a thumbnail in the second directory of its EXIF.
    thumbnail = encoded(np.zeros((8, 8, 3), "uint8"), "JPEG")
    first = struct.pack("<H", 0) + struct.pack("<I", 14)
    second = struct.pack("<H", 2)
    second += struct.pack("<HHII", 0x0201, 4, 1, 44) + struct.pack("<HHII", 0x0202, 4, 1, 600)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + second + bytes(4) + thumbnail.ljust(600, b"T")
    photo = images.read(encoded(smooth(), "JPEG", exif=exif))
    assert thumbnail[:100] not in photo.metadata


def test_damaged_metadata_does_not_cost_the_picture():
    photo = images.read(encoded(smooth(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert photo.rgb.shape == (48, 64, 3)


# Several pictures


def test_first_of_several(rgb8, rgb16, caplog):
    other = Image.fromarray(255 - rgb8)
    for format in ("TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        content = encoded(rgb8, format, save_all=True, append_images=[other], **options)
        photo = images.read(content)
        np.testing.assert_array_equal(photo.rgb, rgb8)
        assert photo.notices == ("The file holds several pictures; only the first was read.",)
        assert "only the first" in caplog.text
    pages = encoded_tiff(np.stack([rgb16, rgb16[::-1]]), photometric="rgb")
    photo = images.read(pages)
    np.testing.assert_array_equal(photo.rgb, rgb16)
    assert len(photo.notices) == 1


# Refusals


@pytest.mark.parametrize(
    "content, name",
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "drawing.svg"),
        (b"MZ\x90\0\x03\0\0\0" + bytes(100), "photo.jpg"),
        (b"\x7fELF\x02\x01\x01" + bytes(100), "photo.png"),
        (b"just some text", "photo.tif"),
        (b"%PDF-1.7\n", "scan.pdf"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match="JPEG, PNG, TIFF, WebP, BMP, GIF, HEIC, AVIF") as error:
        images.read(path)
    assert name in str(error.value)


def test_empty_missing_and_folders(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match="empty.jpg.*0 bytes"):
        images.read(tmp_path / "empty.jpg")
    with pytest.raises(FileNotFoundError, match="missing.jpg"):
        images.read(tmp_path / "missing.jpg")
    with pytest.raises(ValueError, match="folder"):
        images.read(tmp_path)
    with pytest.raises(TypeError, match="ndarray"):
        images.read(np.zeros((2, 2, 3)))


def truncatable():
    noise = np.random.default_rng(5).integers(0, 256, (64, 64, 3)).astype("uint8")
    deep = noise.astype("uint16") * 257
    return {
        "JPEG": encoded(noise, "JPEG"),
        "PNG": encoded(noise, "PNG"),
        "WebP": encoded(noise, "WEBP"),
        "BMP": encoded(noise, "BMP"),
        "TIFF": encoded(noise, "TIFF"),
        "TIFF deflate": encoded_tiff(noise, photometric="rgb", compression="deflate"),
        "TIFF palette": encoded(Image.fromarray(noise).convert("P"), "TIFF"),
        "PNG 16": imagecodecs.png_encode(deep),
        "TIFF 16": encoded_tiff(deep, photometric="rgb"),
    }


@pytest.mark.parametrize("kind", truncatable())
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_truncated_files_are_refused(kind, share, tmp_path):
    content = truncatable()[kind]
    path = tmp_path / "holiday.xyz"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="damaged or cut off") as error:
        images.read(path)
    assert "holiday.xyz" in str(error.value)


def test_damaged_files_raise_only_value_errors():
    rng = np.random.default_rng(6)
    for content in truncatable().values():
        for _ in range(15):
            damaged = np.frombuffer(content, "uint8").copy()
            places = rng.integers(12, len(damaged), 20)
            damaged[places] = rng.integers(0, 256, 20)
            try:
                images.read(damaged.tobytes(), max_pixels=1_000_000)
            except ValueError as error:
                assert "Received" in str(error)


def bomb_png(width, height, depth=8):
    """A PNG of a few bytes whose header promises any number of pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    content = b"\x89PNG\r\n\x1a\n"
    for chunk in (header, data, b"IEND"):
        content += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return content


def bomb_tiff():
    content = encoded_tiff(np.zeros((8, 8), "uint8"))
    for tag in (256, 257):  # Width and height.
        entry = struct.pack("<HHI", tag, 4, 1)
        assert entry in content
        content = content.replace(entry + struct.pack("<I", 8), entry + struct.pack("<I", 60000))
    return content


@pytest.mark.parametrize(
    "content",
    [bomb_png(60000, 60000), bomb_png(60000, 60000, depth=16), bomb_tiff()],
    ids=["PNG", "PNG 16", "TIFF"],
)
def test_too_many_pixels_are_refused_before_decoding(content):
    assert len(content) < 1000
    with pytest.raises(ValueError, match="60000 x 60000 = 3,600,000,000 pixels.*max_pixels"):
        images.read(content)


def test_pixel_limit_is_a_setting(rgb8):
    for format in ("JPEG", "PNG", "TIFF", "WEBP", "BMP"):
        content = encoded(rgb8, format)
        assert images.read(content, max_pixels=600).width == 30
        with pytest.raises(ValueError, match="at most 599 pixels.*30 x 20 = 600"):
            images.read(content, max_pixels=599)


def test_no_pixels_are_refused():
    with pytest.raises(ValueError, match="at least one pixel|damaged"):
        images.read(bomb_png(0, 5))
    with pytest.raises(ValueError, match="at least one pixel"):
        images.Photo(rgb=np.zeros((0, 4, 3), "uint8"))


def test_other_tiffs_are_refused(rgb8):
    content = encoded_tiff(rgb8.astype("float32"), photometric="rgb")
    with pytest.raises(ValueError, match="8 or 16 bits"):
        images.read(content)
    preview = encoded_tiff(rgb8, photometric="rgb", subfiletype=1)
    with pytest.raises(ValueError, match="preview"):
        images.read(preview)
    raw = encoded_tiff(rgb8, photometric="rgb", extratags=[(50706, "B", 4, b"\1\4\0\0", True)])
    with pytest.raises(ValueError, match="raw"):
        images.read(raw)


def test_photos_are_checked(rgb8):
    with pytest.raises(TypeError, match="float32"):
        images.Photo(rgb=rgb8.astype("float32"))
    with pytest.raises(ValueError, match="shape"):
        images.Photo(rgb=rgb8[..., 0])
    with pytest.raises(ValueError, match="alpha"):
        images.Photo(rgb=rgb8, alpha=np.zeros((20, 30), "uint16"))


# Writing


def test_nothing_is_overwritten_unasked(tmp_path, rgb8):
    path = tmp_path / "photo.png"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="overwrite"):
        images.write(path, images.Photo(rgb=rgb8))
    assert path.read_bytes() == b"precious"
    images.write(path, images.Photo(rgb=rgb8), overwrite=True)
    np.testing.assert_array_equal(images.read(path).rgb, rgb8)
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.png"]


def test_a_file_that_appears_while_writing_is_kept(tmp_path, rgb8, monkeypatch):
    path = tmp_path / "photo.png"
    monkeypatch.setattr(writing.os, "fsync", lambda descriptor: path.write_bytes(b"precious"))
    with pytest.raises(FileExistsError):
        images.write(path, images.Photo(rgb=rgb8))
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.png"]


def test_a_file_system_without_hard_links(tmp_path, rgb8, monkeypatch):
    def refuse(self, target):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(writing.pathlib.Path, "hardlink_to", refuse)
    images.write(tmp_path / "a.png", images.Photo(rgb=rgb8))
    np.testing.assert_array_equal(images.read(tmp_path / "a.png").rgb, rgb8)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("suffix", [*images.FORMATS.values()])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_full_disk_leaves_nothing_behind(tmp_path, rgb16, monkeypatch, suffix, bits):
    class FullDisk(writing._Sink):
        def __init__(self, file):
            super().__init__(file)
            self.write = self.refuse

        def refuse(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    old = tmp_path / f"old{suffix}"
    old.write_bytes(b"old")
    monkeypatch.setattr(writing, "_Sink", FullDisk)
    rgb = rgb16 if bits == 16 else (rgb16 >> 8).astype("uint8")
    for path, overwrite in ((tmp_path / f"new{suffix}", False), (old, True)):
        with pytest.raises(OSError) as error:
            images.write(path, images.Photo(rgb=rgb), overwrite=overwrite)
        assert error.value.errno == errno.ENOSPC
        assert error.value.filename == str(path)
    assert [entry.name for entry in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"old"


def test_long_names(tmp_path, rgb8):
    path = tmp_path / ("n" * 250 + ".png")
    images.write(path, images.Photo(rgb=rgb8))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_formats_by_name(tmp_path, rgb8):
    for name in ("PNG", "png", "jpg", "JPEG", "tif", "tiff", "WebP", "bmp"):
        path = tmp_path / f"{name}-without-suffix"
        images.write(path, images.Photo(rgb=rgb8), format=name)
        assert images.read(path).rgb.shape == rgb8.shape
    with pytest.raises(ValueError, match="format='gif'"):
        images.write(tmp_path / "a.png", images.Photo(rgb=rgb8), format="gif")
    with pytest.raises(ValueError, match=r"\.jpg.*a\.heic"):
        images.write(tmp_path / "a.heic", images.Photo(rgb=rgb8))


def test_bad_requests_to_write(tmp_path, rgb8):
    photo = images.Photo(rgb=rgb8)
    for quality in (0, 101):
        with pytest.raises(ValueError, match=f"quality={quality}"):
            images.write(tmp_path / "a.jpg", photo, quality=quality)
    with pytest.raises(FileNotFoundError, match="folder"):
        images.write(tmp_path / "no" / "a.jpg", photo)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(IsADirectoryError):
        images.write(tmp_path / "folder.png", photo, overwrite=True)
    wide = images.Photo(rgb=np.zeros((1, 16384, 3), "uint8"))
    with pytest.raises(ValueError, match="WebP.*16383.*PNG or TIFF"):
        images.write(tmp_path / "a.webp", wide)


def test_bands_meet_without_a_seam(tmp_path, monkeypatch, rgb8, alpha8):
    monkeypatch.setattr(photo_module, "_BAND", 70)  # Two rows and a bit.
    profile = imagecodecs.cms_profile("adobergb")
    content = encoded(np.dstack([rgb8, alpha8]), "PNG", icc_profile=profile)
    banded = images.read(content)
    images.write(tmp_path / "banded.png", banded)
    monkeypatch.undo()
    whole = images.read(content)
    np.testing.assert_array_equal(banded.rgb, whole.rgb)
    np.testing.assert_array_equal(banded.alpha, whole.alpha)
    np.testing.assert_array_equal(images.read(tmp_path / "banded.png").rgb, whole.rgb)


@pytest.mark.parametrize(
    ("suffix", "wanted", "expected"),
    [
        ("jpg", (40, 60), (60, 40)),
        ("jpg", (30, 45), (60, 40)),
        ("jpg", (20, 30), (30, 20)),
        ("jpg", (41, 61), (120, 80)),
        ("jpg", (500, 500), (120, 80)),
        ("png", (10, 15), (120, 80)),
    ],
)
def test_a_jpeg_is_decoded_no_larger_than_is_enough(tmp_path, suffix, wanted, expected):
    rows = np.linspace(0, 255, 80).astype(np.uint8)
    stored = np.broadcast_to(rows[:, None, None], (80, 120, 3))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(stored).save(path, exif=exif)
    asked = []

    def enough(height, width):
        asked.append((height, width))
        return wanted

    photo = images.read(path, enough=enough)
    assert photo.rgb.shape[:2] == expected
    assert asked == ([(80, 120)] if suffix == "jpg" else [])
    # Upright: what was the top is on the right.
    assert photo.rgb[0, -1].mean() < 15 and photo.rgb[0, 0].mean() > 240
