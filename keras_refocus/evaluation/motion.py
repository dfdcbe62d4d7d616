"""Figures of motion networks: seven frames of an exposure out of one blurred picture."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_refocus.blur import exposure
from keras_refocus.data import exposures
from keras_refocus.metrics import fidelity
from keras_refocus.pictures import catalogue
from keras_refocus.video import from_blur

DEFINITIONS = """\
On luminance in [0, 1] (L* / 100), clipped, whole pictures. psnr: of the mean squared error of all
seven frames of a picture, mean over pictures; pooled: of the mean squared error of all pictures.
others: psnr of the six frames without the middle one; middle: of that one alone. ssim likewise.
Of either direction of the whole sequence the better one counts, unless pictures are coded: then
forward is the share of the pictures in which something moves whose given direction is the better
one.
worse: pictures on which this is worse than the blurred picture seven times."""

# Motion of 4 to 30 pixels and light noise; nothing else.
_BLUR = {
    "blur_length": (4.0, 30.0),
    "few_frame": 0.0,
    "noise": 1.0,
    "shot_noise": (1e-5, 1e-4),
    "read_noise": (2e-4, 1e-3),
}
_PARTS = 21  # Of a coded exposure.
_MIDDLE = from_blur.FRAMES // 2
# Mean squared difference of the first and the last frame below which nothing moves: 40 dB.
_STILL = 1e-4

#: Name of the row of the classical search.
CLASSICAL = "classical lines"

# Of the row that tells what the restored picture is good for: how it would move is taken from the
# true frames. No way to find the motion alone comes further.
_TRUE_WAYS = "restored, along the true ways"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is measured on.

    Attributes:
        count: Exposures, at most.
        size: Side of the pictures in pixels.
        seed: Seed of motion, noise and choice.
        coded: Whether light passes the phase-coded aperture.
    """

    count: int = 64
    size: int = 192
    seed: int = 0
    coded: bool = False

    def __post_init__(self):
        if self.count < 1 or self.size < 16:
            raise ValueError(
                "There must be at least one exposure, of at least 16 pixels a side. Received: "
                f"count={self.count}, size={self.size}."
            )

    @property
    def label(self) -> str:
        """The protocol in words."""
        words = f"{self.count} exposures of {self.size}x{self.size}, seed {self.seed}"
        return words + (", through the phase-coded aperture" if self.coded else "")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Scores of one way to make the frames.

    Attributes:
        name: What made them.
        errors: float64 array (pictures, 7): mean squared error of each frame.
        given: The same in the direction given, whichever is the better one.
        ssims: float64 array (pictures, 7).
        forward: bool array (pictures,): whether the direction given is the better one.
        moving: bool array (pictures,): whether anything moves in them.
        worse: Number of pictures on which the blurred picture seven times is better.
        parameters: Of the network, 0 without.
    """

    name: str
    errors: np.ndarray
    given: np.ndarray
    ssims: np.ndarray
    forward: np.ndarray
    moving: np.ndarray
    worse: int = 0
    parameters: int = 0


def exposures_of(
    protocol: Protocol, *, photos: Any = None, clips: Any = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Expose photos or average clips: list of `(picture, frames)`.

    `picture` is float32 (size, size, 3), luminance and chroma; `frames` (size, size, 7), luminance.

    Args:
        protocol: `Protocol`.
        photos: Folder of sharp photos.
        clips: Folder of high-speed clips, instead.

    Raises:
        ValueError: If the folder holds none.
    """
    parts = _PARTS if protocol.coded else 0
    if clips is not None:
        windows, _ = exposures.find_windows(clips)
        source = exposures.ExposedClips(paths=tuple(windows), coded_parts=parts)
        count = min(protocol.count, len(source))
    else:
        blur = exposure.settings("clean", **_BLUR)
        paths = tuple(catalogue.list_photos(photos))
        source = exposures.ExposedPhotos(
            paths=paths, blur=blur, coded_parts=parts, max_pixels=300_000
        )
        count = protocol.count
    sampler = exposures.ExposureSampler(
        sources=(source,),
        shares=(1.0,),
        size=protocol.size,
        batch_size=1,
        seed=protocol.seed,
        crop="center",
        flip=False,
        picture="color",
    )
    return [sampler.example(position) for position in range(count)]


def score(
    exposed: Sequence[Any],
    engine: Any,
    restorer: Any,
    networks: Sequence[tuple[str, Any]],
    *,
    coded: bool = False,
    done: Callable[..., Any] | None = None,
) -> list[Row]:
    """Score the baselines and networks on exposures.

    Args:
        exposed: As `exposures_of` gives them.
        engine: `engines.contract.Engine` that has the restorer.
        restorer: Name of the restorer.
        networks: List of `(name, models.Network)`.
        coded: Whether the pictures are coded, so that their direction is read.
        done: Called after each exposure.

    Returns:
        List of `Row`: blurred, restored, classical, along the true ways, then the networks.
    """
    names = ["blurred, seven times", "restored, seven times", CLASSICAL, _TRUE_WAYS]
    names += [name for name, _ in networks]
    found = {name: [] for name in names}
    moving = []
    for picture, frames in exposed:
        seen = from_blur.look(picture[None], engine, restorer, coded=coded)[0]
        blurred, restored = seen[..., 0], seen[..., 3]
        times = from_blur.moments(from_blur.FRAMES)
        way = seen[..., 4:6] * from_blur.SCALE
        sequences = [[blurred] * from_blur.FRAMES, [restored] * from_blur.FRAMES]
        sequences.append(from_blur.frames_along(restored, way, times))
        true = from_blur.true_trajectories(frames[None])[0]
        sequences.append(from_blur.frames_along(restored, true, times))
        for _, network in networks:
            # A network of luminance sees no chroma.
            own = seen if network.channels == 7 else np.delete(seen, (1, 2), axis=-1)
            motion = from_blur.read_motion(network(own[None])[0])
            moved = from_blur.frames_along(
                restored + motion.correction,
                motion.trajectories,
                times,
                interpolation=from_blur.LINEAR,
            )
            sequences.append([one + motion.residuals[..., i] for i, one in enumerate(moved)])
        truth = np.moveaxis(frames, -1, 0)
        moving.append(np.mean((truth[0] - truth[-1]) ** 2) > _STILL)
        for name, sequence in zip(names, sequences, strict=True):
            given = np.clip(np.stack(sequence), 0, 1).astype(np.float32)
            found[name].append(_compare(truth, given, either_direction=not coded))
        if done is not None:
            done()
    sizes = {name: network.parameters for name, network in networks}
    rows = []
    for name in names:
        errors, given, ssims, forward = (np.stack(side) for side in zip(*found[name], strict=True))
        first = rows[0].errors if rows else errors
        worse = int((errors.mean(1) > first.mean(1)).sum())
        rows.append(
            Row(
                name=name,
                errors=errors,
                given=given,
                ssims=ssims,
                forward=forward,
                moving=np.array(moving),
                worse=worse,
                parameters=sizes.get(name, 0),
            )
        )
    return rows


def _compare(truth, given, *, either_direction):
    """Errors of each frame, chosen and as given, SSIM, and whether as given is the better way."""
    errors, others = (
        np.mean((one.astype(np.float64) - truth) ** 2, axis=(1, 2)) for one in (given, given[::-1])
    )
    forward = errors.mean() <= others.mean()
    as_given = errors
    if either_direction and not forward:
        given, errors = given[::-1], others
    ssims = fidelity.ssim(truth[..., None], np.ascontiguousarray(given)[..., None])
    return errors, as_given, np.asarray(ssims, np.float64), np.asarray(forward)


def _decibels(errors):
    return -10 * np.log10(np.maximum(errors, 1e-10))


def summary(row: Row) -> dict[str, Any]:
    """Figures of a row: a JSON-ready dict."""
    others = np.delete(row.errors, _MIDDLE, axis=1)
    return {
        "name": row.name,
        "pictures": len(row.errors),
        "parameters": row.parameters,
        "psnr": float(_decibels(row.errors.mean(1)).mean()),
        "pooled_psnr": float(_decibels(row.errors.mean())),
        "others_psnr": float(_decibels(others.mean(1)).mean()),
        "middle_psnr": float(_decibels(row.errors[:, _MIDDLE]).mean()),
        "pooled_others_psnr": float(_decibels(others.mean())),
        "given_others_psnr": float(_decibels(np.delete(row.given, _MIDDLE, axis=1).mean())),
        "pooled_middle_psnr": float(_decibels(row.errors[:, _MIDDLE].mean())),
        "ssim": float(row.ssims.mean()),
        "others_ssim": float(np.delete(row.ssims, _MIDDLE, axis=1).mean()),
        "middle_ssim": float(row.ssims[:, _MIDDLE].mean()),
        "worse": row.worse,
        "moving": int(row.moving.sum()),
        "forward": float(row.forward[row.moving].mean()) if row.moving.any() else 1.0,
    }


def as_text(rows: Sequence[Row], *, coded: bool = False) -> str:
    """A table of the rows, as Markdown."""
    heads = ["", "psnr", "pooled", "others", "middle", "ssim others", "ssim middle", "worse"]
    heads += ["forward"] if coded else []
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        found = summary(row)
        cells = [row.name]
        cells += [
            f"{found[name]:.2f}" for name in ("psnr", "pooled_psnr", "others_psnr", "middle_psnr")
        ]
        cells += [f"{found[name]:.3f}" for name in ("others_ssim", "middle_ssim")]
        cells.append(f"{found['worse']} of {found['pictures']}")
        cells += [f"{100 * found['forward']:.0f}%"] if coded else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
