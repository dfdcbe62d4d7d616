"""Losses of sequences of frames whose direction the blurred picture does not tell.

Frames are tensors (batch, height, width, frames), luminance in [0, 1]; every loss has one value for
each picture.

References:
    Jin, Meishvili and Favaro, "Learning to extract a video sequence from a single motion-blurred
        image", CVPR 2018, section 3.
"""

from keras import ops

from keras_refocus.engines import contract
from keras_refocus.pictures import color
from keras_refocus.pictures.color import Tensor
from keras_refocus.training import losses

_EPSILON = 1e-3


def distance(frames: Tensor, predicted: Tensor, *, frequency_weight: float = 0.0) -> Tensor:
    """Charbonnier distance of two sequences, frame by frame, and that of their Fourier transforms.

    Args:
        frames: What was there.
        predicted: What a network gives.
        frequency_weight: Weight of the mean absolute difference of Fourier coefficients; see
            `losses.frequency`.

    Returns:
        Tensor (batch,).
    """
    difference = predicted - frames
    total = ops.mean(ops.sqrt(ops.square(difference) + _EPSILON**2), axis=(1, 2, 3))
    if frequency_weight:
        real, imaginary = losses.real_fft2(difference)
        parts = [ops.mean(ops.abs(part), axis=(1, 2, 3)) for part in (real, imaginary)]
        total = total + 0.5 * frequency_weight * (parts[0] + parts[1])
    return total


def reversed_frames(frames: Tensor) -> Tensor:
    """The same frames, the last one first."""
    return ops.flip(frames, axis=-1)


def sequence(
    frames: Tensor, predicted: Tensor, *, either_direction: bool, frequency_weight: float = 0.0
) -> Tensor:
    """Distance of sequences, of the whole sequence in the better of both directions if asked for.

    Taken frame by frame the better direction would let a network go there and back again.
    """
    forward = distance(frames, predicted, frequency_weight=frequency_weight)
    if not either_direction:
        return forward
    other = reversed_frames(predicted)
    return ops.minimum(forward, distance(frames, other, frequency_weight=frequency_weight))


def trajectories(true: Tensor, given: Tensor, *, reverse: bool = False) -> Tensor:
    """Mean distance of trajectories from those that optical flow finds between the true frames.

    Args:
        true: Tensor (batch, height, width, 4), in pixels, as of `from_blur`.
        given: What a network gives, of the same shape.
        reverse: Whether time goes the other way in what is given.

    Returns:
        Tensor (batch,): mean absolute difference, in units of `contract.MOTION_UNIT`, the bend
        counting a quarter, since t^2 is a quarter at either end.
    """
    sign = -1.0 if reverse else 1.0
    first = ops.mean(ops.abs(sign * given[..., :2] - true[..., :2]), axis=(1, 2, 3))
    second = ops.mean(ops.abs(given[..., 2:4] - true[..., 2:4]), axis=(1, 2, 3))
    return (first + 0.25 * second) / contract.MOTION_UNIT


def jin(frames: Tensor, predicted: Tensor) -> Tensor:
    """Loss of Jin et al.: the middle frame, and sum and absolute difference of each pair about it.

    Sum and absolute difference are the same whichever of the two is first; a sequence whose pairs
    are exchanged one by one has the same loss.
    """
    middle = frames.shape[-1] // 2
    total = ops.mean(ops.abs(predicted[..., middle] - frames[..., middle]), axis=(1, 2))
    for step in range(1, middle + 1):
        before, after = middle - step, middle + step
        ours, theirs = (
            (side[..., before] + side[..., after], ops.abs(side[..., before] - side[..., after]))
            for side in (predicted, frames)
        )
        for one, other in zip(ours, theirs, strict=True):
            total = total + ops.mean(ops.abs(one - other), axis=(1, 2))
    return total


def reblurred(picture: Tensor, predicted: Tensor) -> Tensor:
    """How far the mean of the frames, in linear light, is from the blurred picture.

    Needs no truth. Frames count by the trapezium rule: the first and the last one half.

    Args:
        picture: Luminance of the blurred picture, tensor (batch, height, width, 1).
        predicted: What a network gives.

    Returns:
        Tensor (batch,).
    """
    light = color.luminance_to_light(ops.clip(predicted, 0.0, 1.0))
    count = predicted.shape[-1]
    ends = 0.5 * (light[..., 0] + light[..., -1])
    mean = (ops.sum(light[..., 1:-1], axis=-1) + ends) / (count - 1)
    difference = mean - color.luminance_to_light(picture)[..., 0]
    return ops.mean(ops.sqrt(ops.square(difference) + _EPSILON**2), axis=(1, 2))
