"""Colour for grey footage that stays the same from frame to frame.

A colorizer that sees each frame alone paints a coat red here and brown there, and a white table
yellow for a second. Chroma is predicted on key frames only, every `EVERY` frames of a scene, whose
last frame is one too. What was predicted on up to `REACH` key frames on each side is carried to a
key frame along optical flow, and they agree on one chroma:

    w_k  = mask * exp(-(Gauss2(W L_k - L) / 0.1)^2)
    m    = sum_k w_k W c_k / sum_k w_k
    v    = sum_k w_k |W c_k - m|^2 / sum_k w_k
    c    = m |m|^2 / (|m|^2 + v)
    mask : forward-backward error < 2 + 0.05 |flow| pixels

W c_k and W L_k are chroma and luminance of key frame k as seen from this one, whose own weight is
1. The last line is the gain of a Wiener filter: where key frames are of several minds, colour is
uncertain, and less of it is taken. From key frames the chroma is carried to the frames in between
along flow from both sides, each with more weight the nearer it is. Nothing is carried over a cut.

The window is finite: 2 `REACH` + 2 key frames, and the frames between them, decide about a frame,
wherever work on a clip begins.

All of this happens on the small picture that the colorizer sees; each frame gets it at full size
guided by its own luminance (`restoration.chroma`).
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.chroma import GuidedChroma, shrink
from keras_refocus.video import frames, optical_flow

#: Frames from one key frame to the next.
EVERY = 12

#: Key frames on each side that take part in the chroma of one.
REACH = 4

# Difference of luminance to a key frame carried here that is taken for another thing, and the
# standard deviation in pixels of the Gaussian that it is smoothed by.
_DISSIMILAR, _SIMILARITY_SIGMA = 0.1, 2.0

# Squared chroma below which there is none: that of half a unit of a* or b*.
_NEUTRAL = 2e-5

Flow = tuple[np.ndarray, np.ndarray]


def small_luminance(luma: np.ndarray) -> np.ndarray:
    """What the colorizer sees of a frame.

    Args:
        luma: Array of shape (height, width), float32 in [0, 1], as a file codes it.

    Returns:
        Luminance L of shape (256, 256, 1), float32.
    """
    small = shrink(luma[..., np.newaxis])
    return color.rgb_to_luminance(np.repeat(small, 3, axis=-1))


@dataclasses.dataclass
class _Key:
    """A key frame: what the colorizer sees of it and what it says, both (size, size, ...).

    `guess` is `None` where the colorizer failed.
    """

    luminance: np.ndarray
    guess: np.ndarray | None


class SceneColors:
    """Colours of the frames of one scene, to be asked for in the order of time.

    What is held is the small pictures that were read ahead, 16 MB of them, and about as much for
    the key frames near by, whatever the length of the scene. Asking for an earlier frame is right,
    too, and slower.

    Args:
        scene: First frame, and the first after it; kept as the attribute of that name.
        read: Gives, from a frame on, what the colorizer sees of each frame of the scene, (size,
            size, 1) float32, as `small_luminance` does.
        colorize: Gives chroma (rows, columns, 2) for one of them, or `None` if it cannot: then the
            other key frames decide.
        every: Distance of key frames.
        reach: Key frames on each side that take part in the chroma of one; with 0 each has what
            the colorizer says of it alone.
    """

    def __init__(
        self,
        scene: tuple[int, int],
        read: Callable[[int], Iterator[np.ndarray]],
        colorize: Callable[[np.ndarray], np.ndarray | None],
        *,
        every: int = EVERY,
        reach: int = REACH,
    ):
        self.scene = scene
        self._read, self._colorize = read, colorize
        self._every, self._reach = every, reach
        start, end = scene
        self._count = 1 + -(-(end - 1 - start) // every)
        self._restart(0)

    def of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Colour a frame.

        Args:
            index: Of the frame.

        Returns:
            What the colorizer sees of it, (size, size, 1), and its chroma, (size, size, 2), both
            float32.
        """
        number = (index - self.scene[0]) // self._every
        if number != self._shown:
            self._show(number)
        return self._colored[index - self._place(number)]

    def is_without_guess(self, index: int) -> bool:
        """Whether the frame that was asked for last is a key frame that could not be coloured."""
        number = -(-(index - self.scene[0]) // self._every)
        key = self._keys.get(number)
        return key is not None and key.guess is None and self._place(number) == index

    def _place(self, number: int) -> int:
        """Index of a key frame by its number."""
        return min(self.scene[0] + number * self._every, self.scene[1] - 1)

    def _restart(self, number: int) -> None:
        """Forget everything; a key frame is read next."""
        self._ahead: Iterator[np.ndarray] | None = None
        self._next = self._place(number)
        self._small: dict[int, np.ndarray] = {}
        self._keys: dict[int, _Key] = {}
        # From each key frame to the one after it, and back.
        self._links: dict[int, Flow] = {}
        self._shown: int | None = None
        self._colored: list[tuple[np.ndarray, np.ndarray]] = []

    def _show(self, number: int) -> None:
        """Colour the frames from a key frame to the next one."""
        following = min(number + 1, self._count - 1)
        first = max(number - self._reach, 0)
        last = min(following + self._reach, self._count - 1)
        # What lies between was dropped when frames after this one were coloured, or never read.
        passed = self._shown is not None and number < self._shown
        if passed or self._place(first) > self._next:
            self._restart(first)
        self._keys = {k: key for k, key in self._keys.items() if k >= first}
        self._links = {k: link for k, link in self._links.items() if k >= first}
        for other in range(max(self._keys, default=first - 1) + 1, last + 1):
            self._add_key(other, links=other > first)
        small = [
            self._small[index] for index in range(self._place(number), self._place(following) + 1)
        ]
        ends = [self._agreed(number)]
        if following > number:
            ends.append(self._agreed(following))
        self._colored = list(zip(small, carried(small, ends[0], ends[-1]), strict=True))
        self._shown = number
        self._small = {i: one for i, one in self._small.items() if i >= self._place(following)}

    def _add_key(self, number: int, *, links: bool) -> None:
        """Read as far as a key frame, colour it, and follow things from the one before it."""
        place = self._place(number)
        if self._ahead is None:
            self._ahead = self._read(self._next)
        while self._next <= place:
            self._small[self._next] = next(self._ahead)
            self._next += 1
        luminance = self._small[place]
        guess = self._colorize(luminance)
        if guess is not None:
            guess = _resized(guess, luminance.shape[:2])
        self._keys[number] = _Key(luminance, guess)
        if links and self._reach:
            before = self._place(number - 1)
            planes = [
                optical_flow.as_bytes(self._small[index][..., 0])
                for index in range(before, place + 1)
            ]
            self._links[number - 1] = (_followed(planes), _followed(planes[::-1]))

    def _agreed(self, number: int) -> np.ndarray:
        """Chroma of a key frame, on which it agrees with those near it."""
        key = self._keys[number]
        size = key.luminance.shape[:2]
        nothing = key.guess is None
        weights = [np.full(size, 0.0 if nothing else 1.0, np.float32)]
        guesses = [np.zeros((*size, 2), np.float32) if nothing else key.guess]
        for step in (1, -1):
            there = back = None
            for distance in range(1, self._reach + 1):
                other = number + step * distance
                if other not in self._keys:  # Beyond the scene.
                    break
                away, home = self._link(other - step, other)
                there = away if there is None else _composed(there, away)
                back = home if back is None else _composed(home, back)
                neighbour = self._keys[other]
                if neighbour.guess is not None:
                    weights.append(_trust(key.luminance, neighbour.luminance, there, back))
                    guesses.append(optical_flow.warp(neighbour.guess, there))
        return agreed(np.stack(guesses), np.stack(weights))

    def _link(self, first: int, second: int) -> Flow:
        """Flows from a key frame to a neighbour of it and back."""
        if first < second:
            return self._links[first]
        there, back = self._links[second]
        return back, there


def agreed(guesses: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Make one chroma of several guesses of it.

    Args:
        guesses: Array of shape (guesses, height, width, 2), float32.
        weights: Array of shape (guesses, height, width), float32 in [0, 1].

    Returns:
        float32 array of shape (height, width, 2): the weighted mean, and less of it the less they
        agree; 0 where no guess has any weight.
    """
    total = np.maximum(weights.sum(axis=0), np.float32(1e-6))
    weights = (weights / total)[..., np.newaxis]
    mean = (weights * guesses).sum(axis=0)
    variance = (weights * np.square(guesses - mean)).sum(axis=(0, 3))
    energy = np.square(mean).sum(axis=-1)
    gain = (energy + np.float32(_NEUTRAL)) / (energy + variance + np.float32(_NEUTRAL))
    return mean * gain[..., np.newaxis]


def carried(luminances: list[np.ndarray], first: np.ndarray, last: np.ndarray) -> list[np.ndarray]:
    """Colour the frames between two frames that have colours.

    Args:
        luminances: What the colorizer sees of the frames from the first one to the last, both
            included; each (size, size, 1).
        first: Chroma of the first, (size, size, 2), float32.
        last: Chroma of the last.

    Returns:
        Chroma of each frame, (size, size, 2), float32. That of the first and the last is as given.
    """
    count = len(luminances) - 1
    if count == 0:
        return [first]
    planes = [optical_flow.as_bytes(luminance[..., 0]) for luminance in luminances]
    forward = [first]
    for index in range(1, count + 1):
        motion = optical_flow.estimate(planes[index], planes[index - 1])
        forward.append(optical_flow.warp(forward[-1], motion))
    backward = [last]
    for index in range(count - 1, -1, -1):
        motion = optical_flow.estimate(planes[index], planes[index + 1])
        backward.append(optical_flow.warp(backward[-1], motion))
    backward.reverse()
    return [
        one + np.float32(index / count) * (other - one)
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


def _followed(planes: list[np.ndarray]) -> np.ndarray:
    """Flow from the first of several planes to the last, from each to the next."""
    flow = optical_flow.estimate(planes[0], planes[1])
    for one, other in itertools.pairwise(planes[1:]):
        flow = _composed(flow, optical_flow.estimate(one, other))
    return flow


def _composed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """One flow, then another from where it ends."""
    return first + optical_flow.warp(second, first)


def _trust(
    luminance: np.ndarray, other: np.ndarray, there: np.ndarray, back: np.ndarray
) -> np.ndarray:
    """Weight of what is fetched from another key frame, (size, size), float32 in [0, 1]."""
    difference = optical_flow.warp(other[..., 0], there) - luminance[..., 0]
    difference = cv2.GaussianBlur(difference, (0, 0), _SIMILARITY_SIGMA)
    weight = cv2.exp(-np.square(difference / np.float32(_DISSIMILAR)))
    return weight * optical_flow.consistency(there, back, pixels=2.0, share=0.05)


def _resized(chroma: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if chroma.shape[:2] == size:
        return np.asarray(chroma, np.float32)
    return cv2.resize(chroma, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
