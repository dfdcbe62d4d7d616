"""What the header of a JPEG XL stream says of its colours (ISO/IEC 18181-1, annex D and E).

The decoder gives pixels in the colours of the file and keeps to itself which those are.
"""

import dataclasses
from typing import BinaryIO

from keras_refocus.pictures import codestreams
from keras_refocus.pictures.code_points import PRIMARIES, Chromaticities

_D65 = PRIMARIES[1][:2]
# Whites and primaries that have a number; 2 stands for those that are written out.
_WHITES = {1: _D65, 10: (1 / 3, 1 / 3), 11: (0.314, 0.351)}
_PRIMARIES = {1: PRIMARIES[1][2:], 9: PRIMARIES[9][2:], 11: PRIMARIES[12][2:]}
_CUSTOM = 2
_RGB, _GRAY = 0, 1
_ALPHA, _SPOT, _BLACK, _MOSAIC = 0, 2, 4, 5
# Room for names of channels, before colours are said.
_HEAD = 1 << 16


@dataclasses.dataclass(kw_only=True)
class Colours:
    """Colours of a JPEG XL stream; those of sRGB unless it says others.

    Attributes:
        has_profile: Whether an ICC profile says the colours, which the decoder does not give.
        has_black: Whether it is CMYK.
        is_premultiplied: Whether colours are multiplied by alpha.
        transfer: Code point of H.273, which JPEG XL has from there.
        gamma: Exponent from light to code values, in place of `transfer`.
        chromaticities: White, red, green and blue, each x and y.
    """

    has_profile: bool = False
    has_black: bool = False
    is_premultiplied: bool = False
    transfer: int = 13
    gamma: float | None = None
    chromaticities: Chromaticities = PRIMARIES[1]


class _Bits:
    """Bits of a stream, from the lowest of each byte up."""

    def __init__(self, content: bytes) -> None:
        self.packed, self.left = int.from_bytes(content, "little"), 8 * len(content)

    def __call__(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("the JPEG XL stream ends inside its header")
        value = self.packed & ((1 << count) - 1)
        self.packed >>= count
        return value

    def choice(self, *kinds: tuple[int, int]) -> int:
        """One of four kinds of number, each a first value and the bits that are added to it."""
        first, count = kinds[self(2)]
        return first + self(count)

    def name(self) -> int:
        """A number of a table."""
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))

    def coordinates(self) -> tuple[float, float]:
        values = (
            self.choice((0, 19), (1 << 19, 19), (1 << 20, 20), (1 << 21, 21)) for _ in range(2)
        )
        # The lowest bit is the sign.
        x, y = (-(value + 1) // 2 if value & 1 else value // 2 for value in values)
        return x / 1e6, y / 1e6


def colours(file: BinaryIO) -> Colours:
    """Read what the header says of colours.

    Raises:
        ValueError: The header is cut off, or is none.
    """
    file.seek(codestreams.jpeg_xl_start(file))
    bits, found = _Bits(file.read(_HEAD)), Colours()
    _skip_size(bits)
    if bits(1):  # All of the rest is as usual.
        return found
    if bits(1):
        _skip_extra_fields(bits)
    _skip_depth(bits)
    bits(1)
    for _ in range(bits.choice((0, 0), (1, 0), (2, 4), (1, 12))):
        _take_channel(bits, found)
    bits(1)
    if not bits(1):
        _take_colours(bits, found)
    return found


def _skip_size(bits):
    is_small = bits(1)

    def side():
        return bits(5) if is_small else bits((9, 13, 18, 30)[bits(2)])

    side()
    if not bits(3):
        side()


def _skip_extra_fields(bits):
    bits(3)  # Orientation.
    if bits(1):
        _skip_size(bits)
    if bits(1):  # A preview.
        is_eighth = bits(1)
        sides = (
            ((16, 0), (32, 0), (1, 5), (33, 9))
            if is_eighth
            else ((1, 6), (65, 8), (321, 10), (1345, 12))
        )
        bits.choice(*sides)
        if not bits(3):
            bits.choice(*sides)
    if bits(1):  # An animation.
        bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
        bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
        bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
        bits(1)


def _skip_depth(bits):
    if bits(1):
        bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits(4)
    else:
        bits.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _take_channel(bits, found):
    if bits(1):  # Alpha as usual.
        return
    kind = bits.name()
    _skip_depth(bits)
    bits.choice((0, 0), (3, 0), (4, 0), (1, 3))
    for _ in range(bits.choice((0, 0), (0, 4), (16, 5), (48, 10))):
        bits(8)
    if kind == _ALPHA:
        found.is_premultiplied = bool(bits(1))
    elif kind == _SPOT:
        bits(64)
    elif kind == _BLACK:
        found.has_black = True
    elif kind == _MOSAIC:
        bits.choice((1, 0), (0, 2), (3, 4), (19, 8))


def _take_colours(bits, found):
    found.has_profile = bool(bits(1))
    space = bits.name()
    if found.has_profile or space not in (_RGB, _GRAY):
        return
    name = bits.name()
    white = bits.coordinates() if name == _CUSTOM else _WHITES.get(name, _D65)
    primaries = _PRIMARIES[1]
    if space == _RGB:
        name = bits.name()
        if name == _CUSTOM:
            primaries = sum((bits.coordinates() for _ in range(3)), ())
        else:
            primaries = _PRIMARIES.get(name, primaries)
    found.chromaticities = (*white, *primaries)
    if bits(1):
        found.gamma = bits(24) / 1e7
    else:
        found.transfer = bits.name()
