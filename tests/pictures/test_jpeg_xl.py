import io

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from keras_refocus.pictures import code_points, images, jpeg_xl


def ramp(height=24, width=32):
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([60 + 2 * x, 60 + 3 * y, 200 - x - y], -1).astype("uint8")


def bits(*values):
    """Values and how many bits each has, from the lowest bit of each byte up."""
    packed = count = 0
    for value, size in values:
        packed |= value << count
        count += size
    return packed.to_bytes(-(-count // 8), "little")


# 24 high and 4:3; not all as usual, no extra fields, 8 bits, no further channels, not XYB.
HEAD = [(1, 1), (2, 5), (3, 3), (0, 1), (0, 1), (0, 1), (0, 2), (1, 1), (0, 2), (0, 1)]
# Numbers of tables: 1, and 2 to 17 with four bits.
ONE = (1, 2)


def numbered(value):
    return [ONE] if value == 1 else [(2, 2), (value - 2, 4)]


def stream(*colours):
    """A whole lossless file whose header says other colours than its encoder wrote.

    Frames start at a whole byte, so a header of another length moves them, no more.
    """
    content = imagecodecs.jpegxl_encode(ramp(), lossless=True)
    plain = jpeg_xl._Bits(content[2:])
    total = plain.left
    for expected, count in HEAD:
        assert plain(count) == expected
    assert plain(1)  # Colours as usual,
    assert plain(2) == 0 and plain(1)  # no extensions, and the usual matrices.
    frames = 2 + -(-(total - plain.left) // 8)
    return content[:2] + bits(*HEAD, (0, 1), *colours, (0, 2), (1, 1)) + content[frames:]


def described(white, primaries, curve, is_gray=False):
    space = [(0, 1), ONE if is_gray else (0, 2)]
    return [*space, *white, *([] if is_gray else primaries), *curve, ONE]


def test_the_usual_header_is_srgb():
    for content in (
        imagecodecs.jpegxl_encode(ramp()),
        imagecodecs.jpegxl_encode(ramp(), lossless=True, usecontainer=True),
        imagecodecs.jpegxl_encode(np.dstack([ramp(), ramp()[..., 0]])),
    ):
        assert jpeg_xl.colours(io.BytesIO(content)) == jpeg_xl.Colours()


def test_display_p3():
    content = stream(*described([ONE], numbered(11), [(0, 1), *numbered(13)]))
    found = jpeg_xl.colours(io.BytesIO(content))
    assert found == jpeg_xl.Colours(chromaticities=code_points.PRIMARIES[12])
    photo = images.read(content)
    expected = code_points.converter(code_points.PRIMARIES[12], None)(np.float32(ramp() / 255))
    assert np.abs(photo.rgb - expected * 255).max() < 0.6 and photo.notices == ()
    assert (photo.rgb != ramp()).any()


def test_high_dynamic_range_is_said():
    photo = images.read(stream(*described([ONE], numbered(9), [(0, 1), *numbered(16)])))
    assert "(PQ)" in photo.notices[0]


def test_gamma_and_primaries_that_are_written_out():
    corners = [0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06]
    # Millionths, the sign below them; four kinds of number for four sizes.
    written = []
    for number in (round(value * 1e6) * 2 for value in corners):
        kind = 0 if number < 1 << 19 else 1 if number < 1 << 20 else 2
        start, count = ((0, 19), (1 << 19, 19), (1 << 20, 20))[kind]
        written += [(kind, 2), (number - start, count)]
    white = [(2, 2), (0, 4), *written[:4]]
    primaries = [(2, 2), (0, 4), *written[4:]]
    gamma = [(1, 1), (10_000_000, 24)]
    content = stream(*described(white, primaries, gamma))
    found = jpeg_xl.colours(io.BytesIO(content))
    np.testing.assert_allclose(found.chromaticities, corners, atol=1e-6)
    assert found.gamma == 1.0
    light = ramp() / 255
    expected = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(images.read(content).rgb - expected * 255).max() < 0.6


def test_a_profile_that_the_decoder_keeps_is_said():
    found = jpeg_xl.colours(io.BytesIO(b"\xff\x0a" + bits(*HEAD, (0, 1), (1, 1), (0, 2), (0, 64))))
    assert found == jpeg_xl.Colours(has_profile=True)


def test_the_profile_of_a_jpeg_inside_is_applied():
    buffer = io.BytesIO()
    profile = imagecodecs.cms_profile("adobergb")
    Image.fromarray(ramp()).save(buffer, "JPEG", quality=95, icc_profile=profile)
    content = imagecodecs.jpegxl_encode_jpeg(buffer.getvalue())
    photo = images.read(content)
    np.testing.assert_array_equal(photo.rgb, images.read(buffer.getvalue()).rgb)
    assert photo.format == "JPEG XL" and photo.notices == ()


def test_colours_behind_everything_else_that_a_header_may_hold():
    head = [
        (0, 1), (0, 2), (23, 9), (0, 3), (0, 2), (31, 9),  # Sides written out.
        (0, 1), (1, 1), (2, 3),  # Extra fields; turned.
        (1, 1), (1, 1), (2, 5), (1, 3),  # Another size.
        (1, 1), (1, 1), (0, 2), (1, 3),  # A preview.
        (1, 1), (0, 2), (0, 2), (0, 2), (0, 1),  # An animation.
        (1, 1), (0, 2), (7, 4),  # Floats.
        (0, 1), (2, 2), (1, 4),  # Three channels:
        (0, 1), (0, 2), (0, 1), (0, 2), (0, 2), (1, 2), (1, 4), (65, 8), (1, 1),  # alpha, called A,
        (0, 1), (2, 2), (2, 4), (0, 1), (0, 2), (0, 2), (0, 2),  # black,
        (1, 1),  # and alpha as usual.
        (1, 1), (0, 1), (0, 1), (0, 2), ONE, ONE, (0, 1), (2, 2), (6, 4), ONE,
    ]  # fmt: skip
    found = jpeg_xl.colours(io.BytesIO(b"\xff\x0a" + bits(*head)))
    assert found == jpeg_xl.Colours(has_black=True, is_premultiplied=True, transfer=8)


def test_a_header_that_ends_early_is_refused():
    with pytest.raises(ValueError, match="ends inside its header"):
        jpeg_xl.colours(io.BytesIO(b"\xff\x0a" + bits(*HEAD)))
