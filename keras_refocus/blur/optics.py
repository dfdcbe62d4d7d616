"""The phase-coded aperture: point-spread functions of a lens whose focus sweeps while it exposes.

A thin mask in the pupil delays the light of its rings, each colour by a part of its wavelength of
its own. Colours are sharp at different defocus then, and when the focus moves during the exposure,
at different times: a point that moves draws a line whose colours tell where it was first. With the
light of a plain lens, forward and backward motion give the same picture.

The pupil is `P(rho, lambda) = circ(rho) exp(i (l0 / lambda) (psi rho^2 + phi(rho)))`, rho in [0, 1]
over its radius, and the point-spread function of a colour is the power of its Fourier transform.
`psi` is defocus in radians at the edge of the pupil for the wavelength l0; `phi` the delay of the
mask's rings in radians, at l0 too.

References:
    Haim et al., "Depth estimation from a single image using deep learned phase coded mask", 2018
        (pupil and mask).
    Elmalem, Giryes and Marom, "Motion deblurring using spatiotemporal phase aperture coding",
        Optica 2020 (the sweep during the exposure).
"""

import dataclasses
import math

import numpy as np

#: Sweep of defocus that Elmalem et al. start from, in radians at the design wavelength.
SWEEP = (0.0, 8.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aperture:
    """A pupil with a phase mask, and the sensor behind it.

    The defaults are the mask of Haim et al. with the sampling that fits the point-spread functions
    published with Elmalem et al. 2020 best.

    Attributes:
        rings: `(inner, outer, delay)` of each ring: radii as parts of the pupil's, delay in radians
            at the design wavelength. Without rings: a plain lens.
        design_wavelength: l0 in nanometres.
        wavelengths: Of red, green and blue in nanometres.
        pitch: Distance of two pixels, in units of l0 times the f-number.
        size: Side of the point-spread functions in pixels; odd.
        oversampling: Points that each pixel integrates along a side; odd.
        samples: Points across the pupil.
    """

    rings: tuple[tuple[float, float, float], ...] = ((0.55, 0.8, 6.2), (0.8, 1.0, 12.3))
    design_wavelength: float = 455.0
    wavelengths: tuple[float, float, float] = (610.0, 535.0, 460.0)
    pitch: float = 0.55
    size: int = 27
    oversampling: int = 3
    samples: int = 129

    def __post_init__(self):
        for inner, outer, _ in self.rings:
            if not 0 <= inner < outer <= 1:
                raise ValueError(
                    "A ring of the mask has radii 0 <= inner < outer <= 1, as parts of the pupil's "
                    f"radius. Received: {inner} and {outer}."
                )
        positive = (self.design_wavelength, *self.wavelengths, self.pitch, self.samples)
        if min(positive) <= 0 or self.size % 2 == 0 or self.oversampling % 2 == 0:
            raise ValueError(
                "Wavelengths, pitch and samples are positive, size and oversampling odd numbers. "
                f"Received: {self}."
            )


#: The coded aperture of Elmalem et al. 2020, and the same lens without its mask.
CODED = Aperture()
PLAIN = Aperture(rings=())


def defocus(
    distance: float, *, radius: float, focal_length: float, image_distance: float, wavelength: float
) -> float:
    """Defocus psi of an object, in radians at the edge of the pupil: 0 in focus.

    Args:
        distance: From lens to object, in metres.
        radius: Of the exit pupil, in metres.
        focal_length: In metres.
        image_distance: From lens to sensor, in metres.
        wavelength: l0, in nanometres.
    """
    vergence = 1 / distance + 1 / image_distance - 1 / focal_length
    return math.pi * radius**2 / (wavelength * 1e-9) * vergence


def sweep(parts: int, bounds: tuple[float, float] = SWEEP) -> np.ndarray:
    """Defocus in the middle of each of equal parts of an exposure that sweeps linearly.

    Args:
        parts: How many parts.
        bounds: Defocus when the exposure begins and when it ends, in radians.

    Returns:
        float64 array (parts,).
    """
    if parts < 1:
        raise ValueError(f"An exposure has at least one part. Received: parts={parts}.")
    middles = (np.arange(parts) + 0.5) / parts
    return bounds[0] + (bounds[1] - bounds[0]) * middles


def psfs(defocus: np.ndarray, aperture: Aperture = CODED) -> np.ndarray:
    """Point-spread functions of the colours at some values of defocus.

    Args:
        defocus: Array (parts,) of psi in radians at the design wavelength, such as `sweep` gives.
        aperture: The lens.

    Returns:
        float32 array (parts, size, size, 3): for red, green and blue, each of sum 1. What
        `exposure.expose` takes as `psfs`.

    Raises:
        ValueError: If `defocus` is not an array of finite numbers in one dimension.
    """
    defocus = np.asarray(defocus, np.float64)
    if defocus.ndim != 1 or not defocus.size or not np.isfinite(defocus).all():
        raise ValueError(
            "Defocus is an array (parts,) of finite radians. Received: shape="
            f"{defocus.shape}. Take `sweep(parts)`."
        )
    axis = np.linspace(-1, 1, aperture.samples)
    rho = np.hypot(axis[:, None], axis[None])
    mask = np.zeros_like(rho)
    for inner, outer, delay in aperture.rings:
        mask[(rho >= inner) & (rho < outer)] = delay
    # How much of each point lies in the pupil: its edge is no staircase.
    step = axis[1] - axis[0]
    inside = np.clip((1 - rho) / step + 0.5, 0, 1)
    stack = [
        [_psf(inside, mask, psi * rho**2, wavelength, axis, aperture) for psi in defocus]
        for wavelength in aperture.wavelengths
    ]
    return np.moveaxis(np.array(stack), 0, -1).astype(np.float32)


def _psf(inside, mask, curvature, wavelength, axis, aperture):
    """Point-spread function of one colour at one defocus, float64 (size, size) of sum 1.

    The Fourier transform is written out as a product of matrices, so that it is sampled where the
    pixels are, whatever the wavelength.
    """
    relative = aperture.design_wavelength / wavelength
    pupil = inside * np.exp(1j * relative * (curvature + mask))
    count = aperture.size * aperture.oversampling
    pixels = (np.arange(count) - (count - 1) / 2) / aperture.oversampling
    # On the sensor x = u lambda N, u in cycles over the pupil's diameter, of which `axis` is 2.
    cycles = pixels * aperture.pitch * relative
    kernel = np.exp(-1j * math.pi * cycles[:, None] * axis[None])
    power = np.abs(kernel @ pupil @ kernel.T) ** 2
    side, fine = aperture.size, aperture.oversampling
    psf = power.reshape(side, fine, side, fine).sum((1, 3))
    return psf / psf.sum()
