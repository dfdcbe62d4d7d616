"""More frames a second: what a clip would have shown between two of its frames.

Both frames are brought to a moment in between along optical flow and blended. Where one of them
does not show what was there (occlusion, the border), the other one is taken; where flow explains
nothing both are blended as they are; over a cut the frame before it is repeated.

Three estimates of where things are at the moment, from the flows between the frames:

- reversed: each flow is followed backwards by fixed-point iteration, for its own frame. What is
  smaller than its way is lost: nothing at its place in between points to it.
- splatted, the forward flow for both frames and the backward flow for both: the flow is moved along
  itself (each pixel onto the four it falls between), those that explain the other frame better with
  more weight, and holes are filled from smaller sizes of the same. Small things that fly are found,
  mostly by one of the two.

What both frames show of an estimate must be the same: those that agree better count more, at each
pixel. Flow is splatted at half its size, which is as good; with `best` at its own.

Drawn animation shows each drawing for two or three frames. A drawing that stands is moved over all
the time until the next one instead of a jump in the last frame of its time.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from fractions import Fraction

import cv2
import numpy as np

from keras_refocus.video import optical_flow

# Frames of a scene that repeat the one before, as a share, from which it is taken for drawn.
_DRAWN = 0.3

# Longest time in frames for which a drawing may stand and still be moved; what stands longer rests.
_LONGEST_HOLD = 4

# Difference of a frame and what flow makes of the other one at which a pixel hardly counts.
_PHOTOMETRIC = 0.06

# Neighbourhood in pixels in which differences of frames are compared, and the squared difference
# that means nothing.
_SIGMA, _ALIKE = 2.0, 1e-4

# Neighbourhood in pixels in which the two frames of an estimate are compared, and the difference of
# them that means nothing.
_AGREEMENT, _AGREE = 8.0, 0.01

# Nearest that a moment may be to a frame for ways to be scaled by it.
_LEAST = 1e-3

#: What a frame is mixed of: both frames as they are, and as each of three estimates moves them.
PARTS = 8
_STILL, _MOVED = slice(0, 2), slice(2, PARTS)

#: The order in which the parts are those of the same two frames when time goes the other way.
BACKWARDS = (1, 0, 3, 2, 7, 6, 5, 4)

#: A correction: from parts and weights (height, width, 2 PARTS) to changes of the weights and a
#: residual (height, width, PARTS + 1).
Correction = Callable[[np.ndarray], np.ndarray]

#: Preset of the flow to interpolate with: the finer one gains up to a decibel here.
FLOW = "medium"


@dataclasses.dataclass(frozen=True)
class Moment:
    """A frame of the result.

    Attributes:
        pts: Presentation time, in units of the result's time base.
        duration: How long it is shown.
        first: Index of the frame of the clip at or before it.
        second: Index of the frame after it, from which it is made too; `first` if it is that frame
            as it is.
        place: Where between the two it lies, 0 to below 1.
    """

    pts: int
    duration: int
    first: int
    second: int
    place: float


@dataclasses.dataclass(frozen=True)
class Rate:
    """A frame rate that was asked for: a multiple of the clip's own, or frames a second."""

    factor: int | None = None
    per_second: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `2x`, `60` or `60000/1001`.

        Raises:
            ValueError: It is something else.
        """
        try:
            if text.lower().endswith("x"):
                factor = int(text[:-1])
                if 2 <= factor <= 16:
                    return cls(factor=factor)
            else:
                rate = Fraction(text)
                if 1 <= rate <= 1000:
                    return cls(per_second=rate)
        except (ValueError, ZeroDivisionError):
            pass
        raise ValueError(
            "The frame rate must be a multiple from 2x to 16x, or frames a second from 1 to 1000. "
            f"Received: '{text}'. For example: 2x, 60, 60000/1001."
        )

    def of(self, rate: Fraction) -> Fraction:
        """Frames a second of the result of a clip of so many."""
        return self.factor * rate if self.per_second is None else self.per_second


def schedule(
    times: Sequence[tuple[int, int]],
    time_base: Fraction,
    rate: Rate | None,
    scene_starts: Sequence[int] = (0,),
    held: frozenset[int] | set[int] = frozenset(),
) -> tuple[Fraction, list[list[Moment]]]:
    """Decide which frames the result has, and from which of the clip each is made.

    Args:
        times: `(pts, duration)` of the clip's frames.
        time_base: Of these times, in seconds.
        rate: What was asked for; `None` leaves all as it is.
        scene_starts: Indices of the first frames of scenes.
        held: Indices of frames that repeat the one before.

    Returns:
        Tuple `(time_base, moments)`: the time base of the result, and for each frame of the clip
        the frames of the result from its time until the next one's. The result begins and ends
        when the clip does. With a factor, every frame of the clip is in it; with frames a second,
        those whose time is one of the result's.
    """
    if rate is None:
        return time_base, [
            [Moment(pts, duration, i, i, 0.0)] for i, (pts, duration) in enumerate(times)
        ]
    starts = set(scene_starts)
    spans = _spans(len(times), starts, _moved_holds(len(times), sorted(starts), held))
    if rate.factor is not None:
        base = time_base / rate.factor
        per_frame = [
            [pts * rate.factor + step * duration for step in range(rate.factor)]
            for pts, duration in times
        ]
        end = (times[-1][0] + times[-1][1]) * rate.factor
        unit = rate.factor
    else:
        base = _common_base(time_base, rate.per_second)
        unit = time_base / base
        step = 1 / (rate.per_second * base)
        begin, end = times[0][0] * unit, (times[-1][0] + times[-1][1]) * unit
        per_frame = [[] for _ in times]
        edges = [pts * unit for pts, _ in times[1:]] + [end]
        index = 0
        for count in itertools.count():
            moment = begin + count * step
            if moment >= end:
                break
            while moment >= edges[index]:
                index += 1
            per_frame[index].append(round(moment))
    ordered = [(pts, index) for index, several in enumerate(per_frame) for pts in several]
    followers = [pts for pts, _ in ordered[1:]] + [round(end)]
    moments: list[list[Moment]] = [[] for _ in times]
    for (pts, index), after in zip(ordered, followers, strict=True):
        first, second = spans[index]
        place = 0.0
        if second != first:
            begin_at, end_at = times[first][0] * unit, times[second][0] * unit
            place = float(Fraction(pts - begin_at) / Fraction(end_at - begin_at))
        if place < 1e-3:
            # A time of the clip itself: the frame as it is.
            moments[index].append(Moment(pts, after - pts, index, index, 0.0))
        else:
            moments[index].append(Moment(pts, after - pts, first, second, place))
    return base, moments


def _spans(count: int, starts: set[int], moved: dict[int, int]) -> list[tuple[int, int]]:
    """For each frame the two between which its time lies; twice itself before a cut."""
    spans = []
    for index in range(count):
        first = moved.get(index, index)
        second = index + 1
        while moved.get(second, second) != second and moved[second] == first:
            second += 1
        if second >= count or second in starts:
            first = second = index
        spans.append((first, second))
    return spans


def _moved_holds(count: int, starts: Sequence[int], held: set[int] | frozenset[int]) -> dict:
    """For each frame that repeats a drawing that moves on soon, the frame that showed it first."""
    moved = {}
    for begin, end in zip(starts, [*starts[1:], count], strict=True):
        inside = [index for index in range(begin + 1, end) if index in held]
        if len(inside) < _DRAWN * (end - begin):
            continue
        first = begin
        for index in range(begin, end + 1):
            if index == end or index not in held:
                if 1 < index - first <= _LONGEST_HOLD and index < end:
                    moved |= {frame: first for frame in range(first + 1, index)}
                first = index
    return moved


def _common_base(time_base: Fraction, rate: Fraction) -> Fraction:
    """A time base that has the times of the clip and of the new rate."""
    step = 1 / rate
    denominator = np.lcm(time_base.denominator, step.denominator)
    base = Fraction(1, int(denominator))
    # Beyond what files hold, the new times are rounded to the clip's own.
    return base if base.denominator < 2**31 else time_base


@dataclasses.dataclass(frozen=True)
class Ways:
    """Where two frames show what is there at a moment between them, by several estimates.

    Attributes:
        place: Where the moment lies, 0 to 1.
        flows: For each estimate the flows from the moment to the earlier and to the later frame,
            each (height, width, 2).
        shares: For each estimate how much of the later frame is taken, (height, width), 0 to 1.
    """

    place: float
    flows: tuple[tuple[np.ndarray, np.ndarray], ...]
    shares: tuple[np.ndarray, ...]


def between(
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    forward: np.ndarray,
    backward: np.ndarray,
    place: float,
    *,
    correct: Correction | None = None,
) -> list[np.ndarray]:
    """Make the frame at a moment between two.

    Args:
        first: Planes of the earlier frame, float32 in [0, 1]: the first one of full size, others
            may be smaller.
        second: Planes of the later frame, of the same sizes.
        forward: Flow from the earlier frame to the later one, (height, width, 2).
        backward: Flow from the later frame to the earlier one.
        place: Where the moment lies, 0 to 1.
        correct: Changes the weights of what the frame is mixed of; see `corrected`.

    Returns:
        Planes of the same sizes, in [0, 1].
    """
    ways = find_ways(first[0], second[0], forward, backward, place)
    parts = parts_of(first[0], second[0], ways)
    weights = weigh(parts, ways)
    residual = None
    if correct is not None:
        weights, residual = corrected(parts, weights, place, correct)
    planes = [mixed(parts, weights)]
    if residual is not None:
        planes[0] += residual
    smaller: dict[tuple[int, int], np.ndarray] = {}
    for one, other in zip(first[1:], second[1:], strict=True):
        shape = one.shape[:2]
        if shape not in smaller:
            smaller[shape] = _fitted(weights, shape)
        planes.append(mixed(parts_of(one, other, ways), smaller[shape]))
    return [np.clip(plane, 0.0, 1.0) for plane in planes]


def find_ways(
    first: np.ndarray,
    second: np.ndarray,
    forward: np.ndarray,
    backward: np.ndarray,
    place: float,
) -> Ways:
    """Estimate where both frames show what is there at a moment; see `between`.

    Args:
        first: Luma of the earlier frame.
        second: Luma of the later frame.
        forward: As of `between`.
        backward: As of `between`.
        place: As of `between`.
    """
    ahead = _splatted_at_half_size(forward, place, _mismatch(first, second, forward))
    back = _splatted_at_half_size(backward, 1 - place, _mismatch(second, first, backward))
    # What is splatted is the way to the flow's own frame; the other frame lies opposite.
    onward = np.float32((place - 1) / max(place, _LEAST))
    return_ = np.float32(-place / max(1 - place, _LEAST))
    flows = (
        (reversed_flow(forward, place), reversed_flow(backward, 1 - place)),
        (ahead, onward * ahead),
        (return_ * back, back),
    )
    shares = tuple(_share_of_second(*pair, forward, backward, place) for pair in flows)
    return Ways(place, flows, shares)


def parts_of(one: np.ndarray, other: np.ndarray, ways: Ways) -> np.ndarray:
    """What a frame at a moment can be mixed of.

    Args:
        one: A plane of the earlier frame, (height, width); it may be smaller than the flows.
        other: The same plane of the later frame.
        ways: Of `find_ways`.

    Returns:
        Array (height, width, PARTS): the earlier and the later plane as they are, and both as each
        estimate moves them.
    """
    moved = [one, other]
    for to_first, to_second in ways.flows:
        moved.append(_warped(one, _resized(to_first, one.shape)))
        moved.append(_warped(other, _resized(to_second, one.shape)))
    return np.stack(moved, axis=-1)


def weigh(parts: np.ndarray, ways: Ways) -> np.ndarray:
    """How much of each part is taken: array of the shape of `parts`, sums 1 at each pixel.

    Args:
        parts: Luma, of `parts_of`.
        ways: Of `find_ways`.
    """
    apart = [np.abs(parts[..., i + 1] - parts[..., i]) for i in range(0, PARTS, 2)]
    trusts = []
    for difference in apart[1:]:
        error = np.square(cv2.GaussianBlur(difference, (0, 0), _AGREEMENT))
        trusts.append(1 / (np.square(error) + np.float32(_AGREE**4)))
    total = sum(trusts)
    weights = np.empty_like(parts)
    weights[..., 0], weights[..., 1] = np.float32(1 - ways.place), np.float32(ways.place)
    for index, (trust, share) in enumerate(zip(trusts, ways.shares, strict=True), 1):
        weights[..., 2 * index] = trust / total * (1 - share)
        weights[..., 2 * index + 1] = trust / total * share
    still, moved = (mixed(parts[..., which], weights[..., which]) for which in (_STILL, _MOVED))
    error = sum(trust * difference for trust, difference in zip(trusts, apart[1:], strict=True))
    motion = _use_of_motion(error / total, apart[0], moved - still)[..., np.newaxis]
    weights[..., _STILL] *= 1 - motion
    weights[..., _MOVED] *= motion
    return weights


def mixed(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The parts mixed by their weights: array (height, width)."""
    return np.einsum("hwp,hwp->hw", parts, weights)


def corrected(
    parts: np.ndarray, weights: np.ndarray, place: float, correct: Correction
) -> tuple[np.ndarray, np.ndarray]:
    """Change the weights of parts as a network says, and add what none of them shows.

    Where the network says nothing (zero), everything stays to the last bit. Its say is taken whole
    halfway between two frames and less near them, by 4 place (1 - place): at the moment of a frame
    there is nothing to correct.

    Args:
        parts: Luma, of `parts_of`.
        weights: Of `weigh`.
        place: Where the moment lies, 0 to 1.
        correct: From parts and weights, (height, width, 2 PARTS), to changes of the weights and a
            residual, (height, width, PARTS + 1).

    Returns:
        Tuple of the weights, whose sums stay 1, and the residual of luma, (height, width).
    """
    change = correct(np.concatenate([parts, weights], axis=-1))
    change = change * np.float32(4 * place * (1 - place))
    shift, residual = change[..., :PARTS], change[..., PARTS]
    return weights + (shift - weights * shift.sum(axis=-1, keepdims=True)), residual


def reversed_flow(flow: np.ndarray, place: float, *, steps: int = 3) -> np.ndarray:
    """Flow from a moment to the frame that a flow comes from, by fixed-point iteration.

    A pixel x of the moment lay at y = x - place * flow(y) of that frame.

    Args:
        flow: From the frame to the other one, (height, width, 2).
        place: How far the moment lies along it, 0 to 1.
        steps: Of the iteration.

    Returns:
        Flow from the moment to the frame, of the same shape.
    """
    scaled = flow * np.float32(-place)
    result = scaled
    for _ in range(steps):
        result = optical_flow.warp(scaled, result)
    return result


def splatted_flow(flow: np.ndarray, place: float, mismatch: np.ndarray) -> np.ndarray:
    """Flow from a moment to the frame that a flow comes from, by moving the flow along itself.

    Args:
        flow: From the frame to the other one, (height, width, 2).
        place: How far the moment lies along it, 0 to 1.
        mismatch: How badly each pixel explains the other frame, (height, width); where several
            fall onto one place, the better and the faster one counts more (after Niklaus and Liu,
            "Softmax Splatting", arXiv:2003.05534).

    Returns:
        Flow from the moment to the frame, of the same shape; holes filled.
    """
    height, width = flow.shape[:2]
    columns, rows = optical_flow.grid((height, width))
    x = flow[..., 0] * np.float32(place) + columns
    y = flow[..., 1] * np.float32(place) + rows
    weight = np.exp(-np.minimum(np.square(mismatch / _PHOTOMETRIC), 12.0))
    # What goes faster is mostly nearer, and hides what is behind.
    weight *= 1 + np.hypot(flow[..., 0], flow[..., 1])
    total = np.zeros(height * width)
    sums = [np.zeros(height * width), np.zeros(height * width)]
    left, top = np.floor(x), np.floor(y)
    for down, across in itertools.product((0, 1), (0, 1)):
        column, row = left + across, top + down
        share = (1 - np.abs(x - column)) * (1 - np.abs(y - row)) * weight
        kept = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place_of = (row[kept] * width + column[kept]).astype(np.int64)
        share = share[kept]
        total += np.bincount(place_of, share, height * width)
        for axis in (0, 1):
            sums[axis] += np.bincount(place_of, share * flow[..., axis][kept], height * width)
    total = total.reshape(height, width).astype(np.float32)
    moved = np.stack([part.reshape(height, width) for part in sums], axis=-1).astype(np.float32)
    return _filled(moved, total) * np.float32(-place)


def _splatted_at_half_size(flow: np.ndarray, place: float, mismatch: np.ndarray) -> np.ndarray:
    """`splatted_flow`, computed at half the size."""
    height, width = flow.shape[:2]
    size = ((width + 1) // 2, (height + 1) // 2)
    smaller = cv2.resize(flow, size, interpolation=cv2.INTER_AREA)
    smaller *= np.array([size[0] / width, size[1] / height], np.float32)
    moved = splatted_flow(smaller, place, cv2.resize(mismatch, size, interpolation=cv2.INTER_AREA))
    larger = cv2.resize(moved, (width, height), interpolation=cv2.INTER_LINEAR)
    larger *= np.array([width / size[0], height / size[1]], np.float32)
    return larger


def _filled(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means, and where there is no weight those of smaller sizes of the same."""
    height, width = weights.shape
    if min(height, width) <= 2:
        total = weights.sum()
        mean = sums.reshape(-1, 2).sum(axis=0) / total if total > 1e-6 else np.zeros(2)
        coarse = np.broadcast_to(mean.astype(np.float32), sums.shape)
    elif weights.min() > 0.3:
        coarse = None
    else:
        size = ((width + 1) // 2, (height + 1) // 2)
        smaller = _filled(
            cv2.resize(sums, size, interpolation=cv2.INTER_AREA),
            cv2.resize(weights, size, interpolation=cv2.INTER_AREA),
        )
        coarse = cv2.resize(smaller, (width, height), interpolation=cv2.INTER_LINEAR)
    means = sums / np.maximum(weights, 1e-6)[..., np.newaxis]
    if coarse is None:
        return means
    trust = np.clip(weights / 0.3, 0.0, 1.0)[..., np.newaxis]
    return coarse + trust * (means - coarse)


def _share_of_second(to_first, to_second, forward, backward, place):
    """How much of the later frame is taken at each pixel, 0 to 1."""
    first = _trust(to_first, forward, backward) * (1 - place)
    second = _trust(to_second, backward, forward) * place
    share = (second + 1e-4 * place) / (first + second + 1e-4)
    return cv2.blur(share, (3, 3))


def _use_of_motion(moved: np.ndarray, still: np.ndarray, change: np.ndarray) -> np.ndarray:
    """How much of the moved frames is taken, 0 to 1, instead of both blended as they are.

    Where flow fails, the two frames differ after they were moved no less than before, and a blend
    is nearer the truth. Where nothing moves, nothing has to be warped; but what flies through a
    place between the two frames is seen there in neither of them, and changes it.
    """
    after, before, change = (
        np.square(cv2.GaussianBlur(np.abs(difference), (0, 0), _SIGMA))
        for difference in (moved, still, change)
    )
    before += change
    return before / (before + after + np.float32(_ALIKE))


def _trust(flow, there, back):
    """How sure it is that a frame shows what the moment does, float32 of (height, width)."""
    # Where flow there and back again, at the place in the frame, does not end where it began, the
    # other frame hides it; that frame still shows it.
    loop = there + optical_flow.warp(back, there)
    error = np.hypot(loop[..., 0], loop[..., 1])
    length = np.hypot(there[..., 0], there[..., 1])
    consistent = np.exp(-np.square(error / (0.5 + 0.05 * length)) / 2).astype(np.float32)
    trust = optical_flow.warp(consistent, flow) + np.float32(0.02)
    trust *= optical_flow.inside(flow)
    return trust + np.float32(1e-3)


def _mismatch(frame, other, flow):
    return cv2.blur(np.abs(optical_flow.warp(other, flow) - frame), (3, 3))


def _warped(plane, flow):
    return optical_flow.warp(plane, flow, interpolation=cv2.INTER_CUBIC)


def _resized(flow: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A flow for a smaller plane of the same frame."""
    height, width = flow.shape[:2]
    if (height, width) == shape:
        return flow
    smaller = _shrunk(flow, shape)
    smaller *= np.array([shape[1] / width, shape[0] / height], np.float32)
    return smaller


def _fitted(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Weights (height, width, PARTS) for smaller planes of the same frame."""
    if planes.shape[:2] == shape:
        return planes
    # OpenCV resizes four channels at most.
    return np.stack([_shrunk(planes[..., i], shape) for i in range(planes.shape[2])], axis=-1)


def _shrunk(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
