"""What networks have to beat: sharpening and deconvolution without learning, from scikit-image.

Deconvolution has to be told the kernel, the same for the whole picture; a real photo comes without
it. `pip install "keras_refocus[benchmark]"` brings scikit-image, which is imported when it is first
needed.
"""

import numpy as np

from keras_refocus.restoration.deconvolution.kernels import disk_kernel, motion_kernel

# Light below which what Richardson-Lucy would divide by is rounding.
_ROUNDING = 1e-6


def kernel(text: str) -> np.ndarray:
    """Make the kernel of a description.

    Args:
        text: `motion:LENGTH:ANGLE` or `disk:RADIUS`.

    Raises:
        ValueError: It is neither, or a number is out of range.
    """
    kind, *numbers = text.split(":")
    try:
        if kind == "motion" and len(numbers) == 2:
            return motion_kernel(int(numbers[0]), float(numbers[1]))
        if kind == "disk" and len(numbers) == 1:
            return disk_kernel(float(numbers[0]))
    except ValueError as error:
        raise ValueError(
            f"A kernel needs numbers in their range. Received: kernel='{text}' ({error})"
        ) from error
    raise ValueError(
        "A kernel must be motion:LENGTH:ANGLE or disk:RADIUS, in pixels and degrees. "
        f"Received: kernel='{text}'. Write motion:9:0, or disk:2."
    )


def require_scikit_image() -> None:
    """Say how to get what this module needs.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    try:
        import skimage  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            "The classical methods come from scikit-image, which is not installed. Install it "
            'with `pip install "keras_refocus[benchmark]"`, or leave the methods out.'
        ) from error


def unsharp_mask(luminance: np.ndarray, *, radius: float, amount: float) -> np.ndarray:
    """Add what a Gaussian blur takes away.

    Args:
        luminance: float32 of shape (height, width, 1) in [0, 1].
        radius: Standard deviation of the blur in pixels.
        amount: Factor on the difference.

    Returns:
        float32 of the same shape, clipped to [0, 1].
    """
    require_scikit_image()
    from skimage import filters

    return _clipped(filters.unsharp_mask(luminance[..., 0], radius=radius, amount=amount))


def richardson_lucy(
    luminance: np.ndarray, point_spread: np.ndarray, *, iterations: int
) -> np.ndarray:
    """Deconvolve by the iteration of Richardson 1972 and Lucy 1974.

    Args:
        luminance: float32 of shape (height, width, 1) in [0, 1].
        point_spread: Kernel of sum 1, both sides odd.
        iterations: More are sharper and noisier.

    Returns:
        float32 of the same shape, clipped to [0, 1].
    """
    require_scikit_image()
    from skimage import restoration

    # Beyond the border it sees black; over ten iterations that reaches three or four kernels far.
    margin = 4 * max(point_spread.shape)
    padded = np.pad(luminance[..., 0], margin, mode="symmetric")
    inside = np.s_[margin:-margin, margin:-margin]
    # Where all is black the convolution, by FFT, is rounding of either sign: nothing to divide by.
    made = restoration.richardson_lucy(
        padded, point_spread, num_iter=iterations, filter_epsilon=_ROUNDING
    )
    return _clipped(made[inside])


def wiener(luminance: np.ndarray, point_spread: np.ndarray, *, balance: float) -> np.ndarray:
    """Deconvolve by the Wiener-Hunt filter with a Laplacian prior.

    Args:
        luminance: float32 of shape (height, width, 1) in [0, 1].
        point_spread: Kernel of sum 1, both sides odd.
        balance: Weight of the prior: more is smoother, less is noisier.

    Returns:
        float32 of the same shape, clipped to [0, 1].
    """
    require_scikit_image()
    from skimage import restoration

    padded, inside = _with_margin(luminance[..., 0], max(point_spread.shape))
    return _clipped(restoration.wiener(padded, point_spread, balance)[inside])


def unsupervised_wiener(luminance: np.ndarray, point_spread: np.ndarray) -> np.ndarray:
    """Deconvolve by the Wiener-Hunt filter that estimates its balance itself.

    Orieux, Giovannelli and Rodet 2010; its Gibbs sampler is seeded.

    Args:
        luminance: float32 of shape (height, width, 1) in [0, 1].
        point_spread: Kernel of sum 1, both sides odd.

    Returns:
        float32 of the same shape, clipped to [0, 1].
    """
    require_scikit_image()
    from skimage import restoration

    padded, inside = _with_margin(luminance[..., 0], max(point_spread.shape))
    rng = np.random.default_rng(0)
    found, _ = restoration.unsupervised_wiener(padded, point_spread, clip=False, rng=rng)
    return _clipped(found[inside])


def _with_margin(plane: np.ndarray, side: int) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Extend a plane beyond its borders; gives the larger one, and where the plane lies in it."""
    # First mirrored, as the light beyond the border most likely was; then faded to one value, since
    # the Fourier transform joins opposite borders.
    padded = np.pad(plane, side, mode="symmetric")
    padded = np.pad(padded, side, mode="linear_ramp", end_values=float(plane.mean()))
    return padded, np.s_[2 * side : -2 * side, 2 * side : -2 * side]


def local_filter_bound(
    luminance: np.ndarray,
    sharp: np.ndarray,
    *,
    symmetric: bool,
    window: int = 64,
    neighbourhood: int = 7,
) -> np.ndarray:
    """Filter each neighbourhood by what brings it nearest to the truth, which is given.

    The Wiener filter with its spectra measured on the truth itself: for each frequency the gain of
    least squares over a square of half overlapping windows, smoothed over frequencies so that the
    filter stays about as short as half a window. Nobody without the truth can know it; it says how
    far linear filters reach that vary as slowly as that.

    Args:
        luminance: float32 of shape (height, width, 1) in [0, 1].
        sharp: The truth, of the same shape.
        symmetric: Whether the filters are symmetric: real gains, as power spectra tell them.
        window: Side of the windows in pixels, even.
        neighbourhood: Side of the square in windows.

    Returns:
        float32 of the same shape, clipped to [0, 1].
    """
    require_scikit_image()
    from scipy import ndimage  # comes with scikit-image

    taper = np.sin(np.pi * np.arange(window) / window)
    taper = taper[:, np.newaxis] * taper
    half, (height, width) = window // 2, luminance.shape[:2]

    def spectra(plane):
        after = (half + -height % half, half + -width % half)
        padded = np.pad(plane[..., 0], [(half, end) for end in after], mode="symmetric")
        cut = np.lib.stride_tricks.sliding_window_view(padded, (window, window))[::half, ::half]
        return np.fft.rfft2(cut * taper)

    def around(values):
        for axis in (0, 1):
            values = ndimage.uniform_filter1d(values, neighbourhood, axis=axis, mode="nearest")
        for axis, mode in ((2, "wrap"), (3, "mirror")):
            values = ndimage.gaussian_filter1d(values, 1.0, axis=axis, mode=mode)
        return values

    seen = spectra(luminance)
    cross = np.conj(seen) * spectra(sharp)
    power = around(np.abs(seen) ** 2) + 1e-6
    gain = around(cross.real) / power
    if not symmetric:
        gain = gain + 1j * around(cross.imag) / power
    windows = np.fft.irfft2(seen * gain, (window, window)) * taper
    rows, columns = windows.shape[:2]
    result = np.zeros(((rows + 1) * half, (columns + 1) * half))
    for row in range(rows):
        for column in range(columns):
            place = np.s_[row * half : row * half + window, column * half : column * half + window]
            result[place] += windows[row, column]
    return _clipped(result[half : half + height, half : half + width])


def _clipped(plane: np.ndarray) -> np.ndarray:
    return np.clip(plane, 0.0, 1.0).astype(np.float32)[..., np.newaxis]
