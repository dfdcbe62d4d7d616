"""A clip out of one blurred picture: its frames in colour, and files that play them.

    from keras_refocus import Restorer
    from keras_refocus.video import unblur

    with Restorer() as restorer:
        clip = unblur.unblur(photo, restorer)
    unblur.write("clip.mp4", clip)

Where the models have a `motion` network it tells how things moved; else the classical search for
straight lines does (`from_blur`). Which end of the motion came first a picture does not tell: see
`Clip.direction`.
"""

import dataclasses
import fractions
import os
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, PngImagePlugin

from keras_refocus.engines import contract
from keras_refocus.pictures import color
from keras_refocus.restoration import pipeline
from keras_refocus.system import extras, files
from keras_refocus.video import from_blur

#: Frames that a clip may have.
MOST_FRAMES = 120

#: Longest side of the frames in pixels, unless another is asked for.
LONGEST_SIDE = 1920

#: Frames a second, unless another rate is asked for: seven of them can be followed.
RATE = 10.0

#: Suffixes of files that hold a clip; a path without one of them is a folder of PNG frames.
VIDEOS = (".mp4", ".mov", ".mkv", ".webm")
ANIMATIONS = (".gif", ".webp", ".png")

CLASSICAL = "classical"


@dataclasses.dataclass(frozen=True)
class Clip:
    """Frames of an exposure.

    Attributes:
        frames: uint8 array (count, height, width, 3), sRGB, from the first moment to the last.
        method: `"classical"`, or name and version of the motion network.
        direction: `"guessed"`, or `"coded"` where the picture was taken through a coded aperture,
            whose code was read.
        reversed: Whether the direction was turned round on request.
        length: Longest way that something went during the exposure, in pixels of the frames.
    """

    frames: np.ndarray
    method: str
    direction: str
    reversed: bool
    length: float

    def describe(self) -> str:
        """What a file says of itself."""
        words = (
            f"{len(self.frames)} frames estimated from one blurred picture by keras_refocus "
            f"({self.method}). "
        )
        if self.direction == "coded":
            return words + "The direction of time was read from the coded aperture."
        words += "The direction of time is a guess: a blurred picture does not tell it."
        return words + (" It was reversed on request." if self.reversed else "")


def unblur(
    rgb: np.ndarray,
    restorer: pipeline.Restorer,
    *,
    frames: int = from_blur.FRAMES,
    reverse: bool = False,
    model: str | None = None,
    coded: bool = False,
    longest_side: int = LONGEST_SIDE,
    options: pipeline.RestoreOptions | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Clip:
    """Estimate what a camera saw during an exposure.

    Args:
        rgb: Array (height, width, 3), uint8, uint16 or float32 in [0, 1], sRGB: a blurred picture.
        restorer: Runs the restorer and, if its models have one, the motion network.
        frames: How many frames, evenly spaced from the first moment to the last.
        reverse: Whether time goes the other way.
        model: Name of the motion network; `"classical"`: none; `None`: `motion` if it is there and
            the picture is not coded.
        coded: Whether the picture was taken through the phase-coded aperture of `blur.optics`: its
            colours tell the direction of time. A network that is named must have been trained for
            it, and sees the colours, too.
        longest_side: Pictures above this are shrunk: the frames are for looking at motion, and
            memory grows with them.
        options: Of the restoration, of which restorer, tiles, flips and strength count.
        cancel: As of `Restorer.restore`.

    Returns:
        A `Clip`.

    Raises:
        FileNotFoundError: A model is not there.
        ValueError: A number is out of range, or the picture has another shape.
        CancelledError: `cancel` said yes (of `concurrent.futures`).
    """
    _check(rgb, frames, longest_side)
    options = options or pipeline.RestoreOptions()
    chosen = _motion_network(restorer, model, coded)
    luminance, chroma = color.rgb_to_lab(_shrunk(rgb, longest_side))
    restored = restorer.restore_luminance(luminance[None], options, cancel=cancel)[0, ..., 0]
    picture = np.concatenate([luminance, chroma], axis=-1) if coded else luminance
    lines = from_blur.find_lines(luminance[..., 0], restored)
    if coded:
        lines = from_blur.read_direction(picture, lines)
    motion = from_blur.along_lines(lines)
    _stop_if(cancel)
    if chosen is not None:
        seen = from_blur.see(picture, restored, lines)
        given = restorer.engine.estimate_motion(seen[None], model=chosen[0])[0]
        _check_finite(given, chosen[0])
        motion = from_blur.read_motion(given)
    times = from_blur.moments(frames)
    pictures = []
    for time in times[::-1] if reverse else times:
        _stop_if(cancel)
        pictures.append(_frame(restored, chroma, motion, time))
    return Clip(
        frames=np.stack(pictures),
        method=CLASSICAL if chosen is None else " ".join(chosen),
        direction="coded" if coded else "guessed",
        reversed=reverse,
        length=float(np.hypot(*np.moveaxis(motion.trajectories[..., :2], -1, 0)).max()),
    )


def _check(rgb, frames, longest_side):
    if np.ndim(rgb) != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(
            "A picture is an array (height, width, 3). Received: "
            f"shape={np.shape(rgb)}. Stack a grey picture three times."
        )
    if not 2 <= frames <= MOST_FRAMES:
        raise ValueError(
            f"A clip has 2 to {MOST_FRAMES} frames. Received: frames={frames}. Choose another "
            "number."
        )
    if longest_side < 16:
        raise ValueError(
            "Frames are at least 16 pixels wide or high. Received: "
            f"longest_side={longest_side}. Choose a larger one."
        )


def _check_finite(given, name):
    if not np.isfinite(given).all():
        raise ValueError(
            f"A model must give finite numbers. Received: NaN or infinity from '{name}'. Export a "
            "good checkpoint, or use --motion classical."
        )


def _stop_if(cancel):
    if cancel is not None and cancel():
        raise CancelledError


def _motion_network(restorer, model, coded):
    """Name and version of the motion network to ask, or `None` for the classical search."""
    # Of a coded picture a network must have been trained for the code: none is taken unasked.
    if model == CLASSICAL or (coded and model is None):
        return None
    name = model or contract.MOTION
    found = restorer.engine.versions(name)
    if name in found:
        return name, found[name]
    if model is not None:
        raise FileNotFoundError(
            "The motion network must be one of the models. Received: "
            f"model={name!r}, which is not there. Export one with `refocus export`, or leave it "
            "out for the classical search."
        )
    return None


def _shrunk(rgb, longest_side):
    factor = longest_side / max(rgb.shape[:2])
    rgb = color.to_float(rgb)
    if factor >= 1:
        return rgb
    size = [max(1, round(side * factor)) for side in rgb.shape[1::-1]]
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _frame(restored, chroma, motion, time):
    """One frame in colour, uint8 (height, width, 3)."""
    planes = np.concatenate([(restored + motion.correction)[..., None], chroma], axis=-1)
    (moved,) = from_blur.frames_along(
        planes, motion.trajectories, np.array([time]), interpolation=from_blur.LINEAR
    )
    # Residuals are those of seven moments; between two of them, of both.
    place = (time + 0.5) * (from_blur.FRAMES - 1)
    first = min(int(place), from_blur.FRAMES - 2)
    part = np.float32(place - first)
    residual = (1 - part) * motion.residuals[..., first] + part * motion.residuals[..., first + 1]
    luminance = np.clip(moved[..., 0] + residual, 0, 1)[..., None].astype(np.float32)
    rgb = color.recompose(luminance, np.ascontiguousarray(moved[..., 1:], np.float32))
    return color.from_float(np.clip(rgb, 0, 1), np.uint8)


# Files


def write(
    path: str | os.PathLike,
    clip: Clip,
    *,
    rate: float = RATE,
    loop: bool = False,
    overwrite: bool = True,
) -> list[Path]:
    """Write a clip; what it is made of, and that its direction is a guess, stands in the metadata.

    Args:
        path: A video (`VIDEOS`), a moving picture (`ANIMATIONS`), or a folder for PNG frames, which
            is made.
        clip: The frames.
        rate: Frames a second.
        loop: There and back again: the frames are followed by those between the ends, backwards,
            and moving pictures repeat for ever.
        overwrite: Whether a file of that name may be replaced.

    Returns:
        The files that were written.

    Raises:
        FileExistsError: A file is there that must not be replaced.
        OSError: It cannot be written.
        ValueError: The rate is not positive.
        MissingPackageError: A video, without PyAV.
    """
    path = Path(path)
    if not 0 < rate <= 240:
        raise ValueError(f"The rate must be above 0 and at most 240. Received: rate={rate}.")
    pictures = list(clip.frames)
    if loop:
        pictures += pictures[-2:0:-1]
    suffix = path.suffix.lower()
    if not suffix:
        return _write_folder(path, pictures, clip, overwrite=overwrite)
    if suffix not in VIDEOS + ANIMATIONS:
        raise ValueError(
            f"A clip is written as {', '.join(VIDEOS + ANIMATIONS)}, or as PNG frames into a "
            f"folder, whose name has no suffix. Received: '{path}'."
        )
    with files.replacing(path, overwrite=overwrite, keep_suffix=True) as temporary:
        if suffix in VIDEOS:
            _write_video(temporary, pictures, clip, rate)
        else:
            _write_animation(temporary, suffix, pictures, clip, rate, loop=loop)
    return [path]


def _write_folder(folder, pictures, clip, *, overwrite):
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"frame_{number:03}.png" for number in range(1, len(pictures) + 1)]
    for path, picture in zip(paths, pictures, strict=True):
        with files.replacing(path, overwrite=overwrite, keep_suffix=True) as temporary:
            Image.fromarray(picture).save(temporary, pnginfo=_png_text(clip))
    return paths


def _png_text(clip):
    text = PngImagePlugin.PngInfo()
    text.add_text("Description", clip.describe())
    return text


def _write_animation(path, suffix, pictures, clip, rate, *, loop):
    images = [Image.fromarray(picture) for picture in pictures]
    # Formats count in milliseconds, GIF in hundredths of a second.
    options: dict[str, Any] = {"save_all": True, "duration": round(1000 / rate)}
    options["append_images"] = images[1:]
    if suffix == ".gif":
        options["comment"] = clip.describe().encode()
        if loop:
            options["loop"] = 0
    else:
        # Of these 1 plays once, 0 for ever.
        options["loop"] = 0 if loop else 1
    if suffix == ".webp":
        exif = Image.Exif()
        exif[0x010E] = clip.describe()  # ImageDescription
        options |= {"quality": 90, "method": 4, "exif": exif.tobytes()}
    if suffix == ".png":
        options |= {"pnginfo": _png_text(clip), "disposal": 0, "blend": 0}
    images[0].save(path, **options)


def _write_video(path, pictures, clip, rate):
    extras.require("video", "Writing a video", "av")
    import av

    suffix = path.suffix.lower()
    codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
    options = {"crf": "20", "b": "0"} if suffix == ".webm" else {"crf": "16", "preset": "medium"}
    # The players that people have want even sides.
    below, right = (side % 2 for side in pictures[0].shape[:2])
    flags = {"movflags": "+faststart+use_metadata_tags"} if suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=flags) as container:
        container.metadata["comment"] = clip.describe()
        exact = fractions.Fraction(rate).limit_denominator(1001)
        stream = container.add_stream(codec, rate=exact, options=options)
        stream.height, stream.width = (
            pictures[0].shape[0] + below,
            pictures[0].shape[1] + right,
        )
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(pictures):
            padded = np.pad(picture, ((0, below), (0, right), (0, 0)), mode="edge")
            frame = _as_bt709(av.VideoFrame.from_ndarray(padded, format="rgb24"), stream)
            frame.pts, frame.time_base = number, 1 / exact
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _as_bt709(frame, stream):
    """A frame as players expect it: limited range, matrix of BT.709, and both said."""
    from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

    converted = frame.reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
    )
    context = stream.codec_context
    for target in (converted, context):
        target.color_range = ColorRange.MPEG
        target.colorspace = Colorspace.ITU709
        target.color_primaries = ColorPrimaries.BT709
        target.color_trc = ColorTrc.BT709
    return converted
