"""Colour for grey footage that stays the same from frame to frame.

A colorizer that sees each frame alone paints a coat red here and brown there. Chroma is predicted
on key frames only, every `EVERY` frames of a scene, and carried to the frames in between along
optical flow from both sides, each with more weight the nearer it is. A scene begins and ends with a
key frame; nothing is carried over a cut.

All of this happens on the small picture that the colorizer sees; each frame gets it at full size
guided by its own luminance (`restoration.chroma`).
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.chroma import GuidedChroma, shrink
from keras_refocus.video import frames, optical_flow

#: Frames from one key frame to the next.
EVERY = 12


def key_frames(index: int, scene: tuple[int, int], every: int = EVERY) -> tuple[int, int]:
    """The key frames between which a frame lies.

    Args:
        index: Of the frame.
        scene: First frame of its scene, and the first after it.
        every: Distance of key frames.

    Returns:
        The last key frame at or before it, and the next one; the same one twice at the end of a
        scene that ends there.
    """
    start, end = scene
    before = start + (index - start) // every * every
    return before, min(before + every, end - 1)


def small_luminance(luma: np.ndarray) -> np.ndarray:
    """What the colorizer sees of a frame.

    Args:
        luma: Array of shape (height, width), float32 in [0, 1], as a file codes it.

    Returns:
        Luminance L of shape (256, 256, 1), float32.
    """
    small = shrink(luma[..., np.newaxis])
    return color.rgb_to_luminance(np.repeat(small, 3, axis=-1))


def carried(
    luminances: list[np.ndarray], colorize: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """Colour frames from one key frame to the next.

    Args:
        luminances: What the colorizer sees of the frames from the first key frame to the second,
            both included; each (size, size, 1).
        colorize: Gives chroma (rows, columns, 2) for one of them.

    Returns:
        Chroma of each, (size, size, 2), float32. That of the two key frames is their own.
    """
    size = luminances[0].shape[:2]

    def of(luminance):
        return _resized(colorize(luminance), size)

    last = len(luminances) - 1
    forward = [of(luminances[0])]
    if last == 0:
        return forward
    planes = [optical_flow.as_bytes(luminance[..., 0]) for luminance in luminances]
    for index in range(1, last + 1):
        motion = optical_flow.estimate(planes[index], planes[index - 1])
        forward.append(optical_flow.warp(forward[-1], motion))
    backward = [of(luminances[last])]
    for index in range(last - 1, -1, -1):
        motion = optical_flow.estimate(planes[index], planes[index + 1])
        backward.append(optical_flow.warp(backward[-1], motion))
    backward.reverse()
    return [
        one + np.float32(index / last) * (other - one)
        for index, (one, other) in enumerate(zip(forward, backward, strict=True))
    ]


def put_on(
    frame: Any,
    layout: frames.Layout,
    luma: np.ndarray,
    small: np.ndarray,
    chroma: np.ndarray,
    format: str,
    saturation: float = 1.0,
) -> Any:
    """Make a frame in colour.

    Args:
        frame: Of the clip, for its times and properties.
        layout: Of the clip.
        luma: The restored luma of the frame, (height, width), float32 in [0, 1].
        small: Its luminance before it was restored, as `small_luminance` gives it.
        chroma: For it, (size, size, 2).
        format: Pixel format of the result, planar YUV.
        saturation: Factor on chroma.

    Returns:
        A new frame, of the luminance of `luma` as a grey picture.
    """
    luminance = color.rgb_to_luminance(np.repeat(luma[..., np.newaxis], 3, axis=-1))
    full = GuidedChroma(small, chroma, luma.shape).rows(0, luminance)
    if saturation != 1:
        full *= np.float32(saturation)
    rgb = color.recompose(luminance, full)
    red, _, blue = layout.weights
    new_luma = rgb @ np.array(layout.weights, np.float32)
    result = frames.blank_like(frame, format=format)
    codes = layout.black + new_luma * layout.scale
    frames.view(result, 0)[...] = np.clip(np.rint(codes), 0, layout.top)
    for plane, (channel, weight) in enumerate(((2, blue), (0, red)), start=1):
        difference = (rgb[..., channel] - new_luma) / np.float32(2 * (1 - weight))
        target = frames.view(result, plane)
        rows, columns = target.shape
        if target.shape != difference.shape:
            difference = cv2.resize(difference, (columns, rows), interpolation=cv2.INTER_AREA)
        codes = layout.neutral + difference * layout.chroma_scale
        target[...] = np.clip(np.rint(codes), 0, layout.top)
    return result


def flicker(chroma: list[np.ndarray], luminances: list[np.ndarray]) -> float:
    """Measure how much colour changes where the picture only moves.

    Args:
        chroma: Of frames that follow each other, each (size, size, 2).
        luminances: Of the same frames, each (size, size, 1).

    Returns:
        Mean difference of chroma to that of the frame before it, brought into place by flow, in
        units of chroma (1 is 110 of a* or b*).
    """
    planes = [optical_flow.as_bytes(luminance[..., 0]) for luminance in luminances]
    changes = []
    for index in range(1, len(chroma)):
        motion = optical_flow.estimate(planes[index], planes[index - 1])
        back = optical_flow.estimate(planes[index - 1], planes[index])
        trusted = optical_flow.consistency(motion, back)[..., np.newaxis]
        change = np.abs(chroma[index] - optical_flow.warp(chroma[index - 1], motion))
        changes.append(float((change * trusted).sum() / max(2 * trusted.sum(), 1.0)))
    return float(np.mean(changes)) if changes else 0.0


def _resized(chroma: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if chroma.shape[:2] == size:
        return np.asarray(chroma, np.float32)
    return cv2.resize(chroma, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
