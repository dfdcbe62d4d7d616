"""What lies before the camera: a background and objects in front of it, and how a sensor sees them.

An object hides what is behind it: it is cut out of the picture with a soft mask, the hole is filled
from what surrounds it, and both are warped by motions of their own.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from keras_refocus.blur.motion import interpolate
from keras_refocus.pictures import color


class Scene:
    """A picture with objects in front of it, each with a motion of its own.

    Args:
        picture: float32 array (height, width, 4): window and surroundings, fourth channel 1.
        masks: soft masks of the objects, float32 arrays (height, width).
        motions: scene-to-sensor homographies, arrays (points, 3, 3): the camera's, then one for
            each object.
        size: (height, width) of the window.
        offset: (row, column) of the window in the picture.
    """

    def __init__(
        self,
        picture: np.ndarray,
        masks: Sequence[np.ndarray],
        motions: Sequence[np.ndarray],
        size: tuple[int, int],
        offset: tuple[float, float],
    ):
        self._picture = picture
        self._size = size
        self._offset = offset
        self._camera = motions[0]
        self._objects = [
            (mask, motion) for mask, motion in zip(masks, motions[1:], strict=True) if mask.any()
        ]

    def frames(
        self, times: np.ndarray, weights: np.ndarray, interpolation: int
    ) -> Iterator[np.ndarray]:
        """Yield what the sensor sees at `times`: float32 arrays (height, width, 4).

        With bilinear interpolation the loss of sharpness is made good in the mean of the frames,
        weighted by `weights`.
        """
        matrices = _source_matrices(interpolate(self._camera, times), self._size, self._offset)
        loss = self._loss(matrices, weights, interpolation)
        background, layers = self._picture, []
        if self._objects:
            background = background.copy()
        for mask, motion in self._objects:
            layers.append(self._lift(background, mask, motion, times, weights, interpolation))
        background = _sharpen_for(background, loss)
        for index in range(len(times)):
            frame = _warp(background, matrices[index], self._size, interpolation)
            for colour, to_layer, boxes in layers:
                _put_in_front(frame, colour, to_layer[index], boxes[index])
            yield frame

    def _loss(self, matrices, weights, interpolation):
        if interpolation != cv2.INTER_LINEAR:
            return (0.0, 0.0)
        return _sampling_loss(matrices, weights, self._size)

    def _lift(self, background, mask, motion, times, weights, interpolation):
        """Cut out an object, filling the hole in `background` in place.

        Returns:
            The object's colours premultiplied by its mask (which is the fourth channel), the
            matrices from the sensor to these, and its boxes on the sensor.
        """
        matrices = _source_matrices(interpolate(motion, times), self._size, self._offset)
        loss = self._loss(matrices, weights, interpolation)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        pad = 8  # known pixels round the hole, and zeros round the object
        top, left = max(rows[0] - pad, 0), max(columns[0] - pad, 0)
        box = np.s_[top : rows[-1] + 1 + pad, left : columns[-1] + 1 + pad]
        colour = _sharpen_for(self._picture[box], loss) * mask[box][..., None]
        background[box] = _fill_behind(background[box], mask[box])
        boxes = _boxes_on_sensor((top, left), colour.shape, matrices, self._size)
        return colour, _shift_matrix(-top, -left) @ matrices, boxes


def _put_in_front(frame, colour, matrix, box):
    """Draw a premultiplied layer over `frame`, in place, inside `box`."""
    top, bottom, left, right = box
    if bottom <= top or right <= left:
        return
    matrix = matrix @ _shift_matrix(top, left)
    size = (bottom - top, right - left)
    colour = _warp(colour, matrix, size, cv2.INTER_LINEAR, cv2.BORDER_CONSTANT)
    part = frame[top:bottom, left:right]
    part -= part * cv2.merge([cv2.extractChannel(colour, 3)] * 4)
    part += colour


def object_mask(cut: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the soft mask of an object: an ellipse with a rough outline that prefers the edges.

    Half of the masks follow the picture: they keep to pixels that look like their middle, and a
    guided filter (He et al. 2013, computed at a quarter of the size) snaps them to its edges.

    Returns:
        float32 array (height, width), exactly 0 outside and exactly 1 inside.
    """
    height, width = cut.shape[:2]
    small = cv2.resize(cut, (max(width // 4, 2), max(height // 4, 2)), interpolation=cv2.INTER_AREA)
    small = color.to_float(small)
    rows, columns = small.shape[:2]
    grid = rng.normal(size=(6, 6)).astype(np.float32)
    rough = cv2.resize(grid, (columns, rows), interpolation=cv2.INTER_CUBIC)
    place = rng.uniform(0.15, 0.85, 2)
    radius = rng.uniform(0.12, 0.38, 2) * min(rows, columns)
    x = (np.arange(columns, dtype=np.float32) - np.float32(place[0] * columns)) / radius[0]
    y = (np.arange(rows, dtype=np.float32) - np.float32(place[1] * rows)) / radius[1]
    field = 1 - (x[None] ** 2 + y[:, None] ** 2) + 0.35 * rough
    follow = rng.random() < 0.5
    tolerance = rng.uniform(0.1, 0.25)
    edge = rng.uniform(1.0, 3.0)  # width of the soft border, pixels
    if not follow:
        field = cv2.resize(field.astype(np.float32), (width, height))
        slope = 2.0 * float(radius.mean()) / edge
        return np.clip(field * slope + 0.5, 0, 1)
    seed = small[int(place[1] * rows), int(place[0] * columns)]
    unlike = np.sqrt(((small - seed) ** 2).sum(2)) / tolerance
    likely = np.clip(1.5 * (field + 0.6 - np.minimum(unlike, 3)) + 0.5, 0, 1).astype(np.float32)
    guide = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    box = (9, 9)
    mean = cv2.blur(guide, box)
    variance = cv2.blur(guide * guide, box) - mean * mean
    level = cv2.blur(likely, box)
    gain = (cv2.blur(guide * likely, box) - mean * level) / (variance + 2e-3)
    shift = cv2.blur(level - gain * mean, box)
    gain = cv2.blur(gain, box)
    full = color.to_float(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY))
    mask = cv2.resize(gain, (width, height)) * full + cv2.resize(shift, (width, height))
    return np.clip((mask - 0.5) * (6.0 / edge) + 0.5, 0, 1)


def _fill_behind(scene, mask):
    """Continue the scene smoothly behind the mask (where it is exactly 1)."""
    known = (mask < 1).astype(np.float32)
    levels = [(scene * known[..., None], known)]
    while min(levels[-1][1].shape) > 4:
        levels.append(tuple(cv2.pyrDown(part) for part in levels[-1]))
    colour, weight = levels.pop()
    fill = colour / np.maximum(weight, 1e-6)[..., None]
    for colour, weight in reversed(levels):
        up = cv2.resize(fill, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        fill = colour + (1 - weight)[..., None] * up
    return fill


def _sampling_loss(matrices, weights, size):
    """Return how much bilinear sampling softens along x and y: 0 not at all, 1 as offsets vary.

    A sample that falls between two pixels, at the fractions u and 1 - u, loses in proportion to
    u (1 - u), on average 1/6. Along the motion the loss is welcome: there the sub-frames must run
    into each other.
    """
    centre = matrices @ np.array([size[1] // 2, size[0] // 2, 1.0])  # a pixel, not between pixels
    place = centre[:, :2] / centre[:, 2:]
    part = place - np.floor(place)
    loss = np.minimum(6 * weights @ (part * (1 - part)), 1.0)
    spread = weights @ (place - weights @ place) ** 2
    along = spread / max(spread.sum(), 1e-12)
    return loss * (1 - along**4)


def _compensation(loss):
    """Return seven symmetric taps, of sum 1, that undo the average loss of bilinear sampling.

    Averaged over all offsets, bilinear sampling multiplies the spectrum by sinc(f)**2, f in cycles
    per pixel: -4.8 dB at 0.4. Real exposures know no such loss, and a network would learn to
    undo it by sharpening too much.
    """
    left = 1 - loss * (1 - np.sinc(_BAND) ** 2)
    # least squares of the relative error
    outer = np.linalg.lstsq(_BAND_COSINES * left[:, None], 1 - left, rcond=None)[0]
    return np.concatenate([outer[::-1], [1 - 2 * outer.sum()], outer])


_BAND = np.linspace(0.0, 0.45, 46)
_BAND_COSINES = np.stack([2 * np.cos(2 * np.pi * k * _BAND) - 2 for k in (1, 2, 3)], axis=1)


def _sharpen_for(scene, loss):
    if max(loss) < 0.02:
        return scene
    across, down = _compensation(loss[0]), _compensation(loss[1])
    return cv2.sepFilter2D(scene, -1, across, down, borderType=cv2.BORDER_REFLECT_101)


def _warp(picture, matrix, size, interpolation, border=cv2.BORDER_REFLECT_101):
    return cv2.warpPerspective(
        picture,
        matrix,
        (size[1], size[0]),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )


def _source_matrices(transforms, size, offset):
    """From scene-to-sensor transforms about the centre to sensor-to-source pixel matrices."""
    centre = _shift_matrix((size[0] - 1) / 2, (size[1] - 1) / 2)
    return _shift_matrix(*offset) @ centre @ np.linalg.inv(transforms) @ np.linalg.inv(centre)


def _shift_matrix(rows, columns):
    return np.array([[1, 0, columns], [0, 1, rows], [0, 0, 1]], dtype=np.float64)


def _boxes_on_sensor(corner, shape, matrices, size):
    """Return where a layer lands in each frame: int array (frames, 4): top, bottom, left, right."""
    top, left = corner
    height, width = shape[:2]
    corners = np.array(
        [[left, top, 1], [left + width, top, 1], [left, top + height, 1]]
        + [[left + width, top + height, 1]],
        dtype=np.float64,
    )
    landed = np.linalg.inv(matrices) @ corners.T
    landed = landed[:, :2] / landed[:, 2:]
    low = np.clip(np.floor(landed.min(2)) - 1, 0, (size[1], size[0]))
    high = np.clip(np.ceil(landed.max(2)) + 2, 0, (size[1], size[0]))
    return np.stack([low[:, 1], high[:, 1], low[:, 0], high[:, 0]], 1).astype(int)
