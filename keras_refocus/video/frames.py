"""The planes of a frame as arrays, without leaving the frame's own colour space.

Luma goes to the restorer as it lies in the file (Y', scaled to [0, 1]) and comes back as a
difference: where nothing was changed every code comes back exactly, codes beyond nominal white and
black too. Chroma planes are not touched.

Depths of 8 to 16 bits, subsampling of any kind, limited and full range, alpha, and planar RGB, of
which all three planes get the difference of luma. Other orders of the same samples (NV12, P010,
packed YUV, packed RGB) are first put into planes, which loses nothing.
"""

import dataclasses
from typing import Any

import numpy as np

# `AVColorRange` of FFmpeg.
LIMITED, FULL = 1, 2

# Other orders of samples, and the planar format that holds the same ones.
_PLANAR = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "nv42": "yuv444p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "p212le": "yuv422p12le",
    "p216le": "yuv422p16le",
    "p410le": "yuv444p10le",
    "p412le": "yuv444p12le",
    "p416le": "yuv444p16le",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "y210le": "yuv422p10le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "pal8": "gbrap",
    "rgb48le": "gbrp16le",
    "rgba64le": "gbrap16le",
    "monow": "gray",
    "monob": "gray",
}

# Weights of R, G and B in luma, by `AVColorSpace`; BT.709 for the rest.
_WEIGHTS = {
    5: (0.299, 0.587, 0.114),
    6: (0.299, 0.587, 0.114),
    7: (0.212, 0.701, 0.087),
    9: (0.2627, 0.6780, 0.0593),
    10: (0.2627, 0.6780, 0.0593),
}
_BT709 = (0.2126, 0.7152, 0.0722)


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the samples of a clip's frames are coded.

    Attributes:
        format: Name of the planar pixel format, as FFmpeg has it.
        bits: Of a sample, 8 to 16.
        is_full: Whether codes use the full range.
        is_rgb: Whether the planes are G, B and R.
        is_gray: Whether there is luma only.
        weights: Of R, G and B in luma.
    """

    format: str
    bits: int
    is_full: bool
    is_rgb: bool
    is_gray: bool
    weights: tuple[float, float, float]

    @property
    def dtype(self) -> type:
        """Type of a sample."""
        return np.uint8 if self.bits == 8 else np.uint16

    @property
    def top(self) -> int:
        """The highest code."""
        return 2**self.bits - 1

    @property
    def black(self) -> int:
        """Code of black."""
        return 0 if self.is_full else 16 << (self.bits - 8)

    @property
    def scale(self) -> int:
        """Codes from black to white."""
        return self.top if self.is_full else 219 << (self.bits - 8)

    @property
    def neutral(self) -> int:
        """Code of no chroma."""
        return 1 << (self.bits - 1)

    @property
    def chroma_scale(self) -> int:
        """Codes from the lowest to the highest chroma."""
        return self.top if self.is_full else 224 << (self.bits - 8)


def layout_of(frame: Any) -> Layout:
    """Read off a decoded frame how its samples are coded.

    Raises:
        ValueError: Its pixel format is none that is restored.
    """
    name = _little(frame.format.name)
    name = _PLANAR.get(name, name)
    is_rgb = name.startswith("gbr")
    is_gray = name.startswith(("gray", "ya"))
    known = is_rgb or name.startswith(("yuv", "gray"))
    bits = max((component.bits for component in _format(name).components), default=0)
    if not known or not 8 <= bits <= 16 or "f" in name.removesuffix("le")[-4:]:
        raise ValueError(
            "Frames must be YUV, RGB or grey with 8 to 16 bits a sample. "
            f"Received: the pixel format '{frame.format.name}'. Convert the clip first."
        )
    return Layout(
        format=name,
        bits=bits,
        is_full=is_rgb or name.startswith("yuvj") or frame.color_range == FULL,
        is_rgb=is_rgb,
        is_gray=is_gray,
        weights=_WEIGHTS.get(frame.colorspace, _BT709),
    )


def in_planes(frame: Any, layout: Layout) -> Any:
    """The frame itself if its samples lie in planes, else a new one in which they do.

    Times, and how colours are coded, are copied.
    """
    if frame.format.name == layout.format:
        return frame
    planar = frame.reformat(format=layout.format)
    _copy_times(frame, planar)
    copy_color_properties(frame, planar)
    return planar


def copy_color_properties(source: Any, target: Any) -> None:
    """Copy range, matrix, primaries and transfer from one frame, or codec context, to another."""
    for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(target, name, getattr(source, name))


def view(frame: Any, plane: int) -> np.ndarray:
    """The samples of one plane, in the frame's own memory.

    Args:
        frame: In planes.
        plane: Index of the plane.

    Returns:
        Array of shape (rows, columns), uint8 or uint16. Writing to it writes to the frame, which
        must be writable.
    """
    part = frame.planes[plane]
    bits = max(component.bits for component in frame.format.components)
    dtype = np.dtype(np.uint8 if bits == 8 else np.uint16)
    rows = np.frombuffer(part, dtype).reshape(part.height, part.line_size // dtype.itemsize)
    return rows[:, : part.width]


def luma_codes(frame: Any, layout: Layout) -> np.ndarray:
    """Luma in the codes of the file, float32 of shape (height, width)."""
    if not layout.is_rgb:
        return view(frame, 0).astype(np.float32)
    red, green, blue = layout.weights
    codes = np.float32(green) * view(frame, 0)
    codes += np.float32(blue) * view(frame, 1)
    codes += np.float32(red) * view(frame, 2)
    return codes


def luma(frame: Any, layout: Layout) -> np.ndarray:
    """Luma of a frame, float32 of shape (height, width) in [0, 1]: black to white.

    Codes beyond black and white are cut; `with_luma` gives them back.
    """
    plane = luma_codes(frame, layout)
    plane -= layout.black
    plane /= layout.scale
    return np.clip(plane, 0.0, 1.0, out=plane)


def with_luma(frame: Any, layout: Layout, before: np.ndarray, after: np.ndarray) -> Any:
    """Put new luma into a frame.

    Args:
        frame: In planes; it is left as it is.
        layout: Of the frame.
        before: Its luma as `luma` gave it.
        after: The new luma, float32 of the same shape, in [0, 1].

    Returns:
        A frame with the same properties. Where `after` equals `before` its codes do too.
    """
    difference = (after - before) * layout.scale
    if layout.is_rgb:
        # The same difference in all three leaves chroma as it was.
        changes = [difference] * 3
    else:
        changes = [difference]
    result = copied(frame)
    for plane, change in enumerate(changes):
        samples = view(result, plane)
        samples[...] = np.clip(np.rint(samples + change), 0, layout.top)
    return result


def copied(frame: Any) -> Any:
    """A frame of its own memory with the same samples, times and colour properties."""
    result = blank_like(frame)
    for plane in range(len(frame.planes)):
        view(result, plane)[...] = view(frame, plane)
    return result


def blank_like(frame: Any, *, format: str | None = None) -> Any:
    """A frame of the same size, times and colour properties whose samples are still to be set."""
    import av

    result = av.VideoFrame(frame.width, frame.height, format or frame.format.name)
    _copy_times(frame, result)
    copy_color_properties(frame, result)
    return result


def _copy_times(source: Any, target: Any) -> None:
    target.pts, target.duration = source.pts, source.duration
    if source.time_base is not None:
        target.time_base = source.time_base


def _little(name: str) -> str:
    return f"{name[:-2]}le" if name.endswith("be") else name


def _format(name: str) -> Any:
    import av

    return av.VideoFormat(name)
