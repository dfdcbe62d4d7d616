"""Blur and derivatives as products of spectra, on planes that are made to join at their borders.

The Fourier transform joins opposite borders of a plane. `extend` puts a margin around a picture
over which its mirror image on one side fades into that of the other, so that nothing jumps there:
the purpose of Liu and Jia, "Reducing boundary artifacts in image deconvolution", 2008, whose margin
is the smoothest there can be; a fade costs nothing.
"""

import numpy as np
from scipy import fft

Shape = tuple[int, int]


def fast_shape(shape: Shape, margin: int) -> Shape:
    """Choose a size that has room for a margin and whose transform is fast.

    Args:
        shape: Height and width of the picture.
        margin: Pixels that are to be added to each axis at least.
    """
    height, width = (fft.next_fast_len(length + margin, real=True) for length in shape)
    return height, width


def forward(plane: np.ndarray) -> np.ndarray:
    """Transform a real plane (height, width), float32; gives complex64 (height, width // 2 + 1)."""
    return fft.rfft2(plane)


def inverse(spectrum: np.ndarray, shape: Shape) -> np.ndarray:
    """Undo `forward`; `shape` is that of the plane."""
    return fft.irfft2(spectrum, shape)


def transfer(kernel: np.ndarray, shape: Shape) -> np.ndarray:
    """Give the factor that a kernel is to each frequency, complex64.

    Args:
        kernel: (rows, columns), both odd; its middle pixel leaves a picture where it is.
        shape: Of the planes that it is to blur; no smaller than the kernel.
    """
    plane = np.zeros(shape, np.float32)
    rows, columns = kernel.shape
    plane[:rows, :columns] = kernel
    return forward(np.roll(plane, (-(rows // 2), -(columns // 2)), (0, 1)))


def roughness(shape: Shape) -> np.ndarray:
    """Give the factor that `divergence` of `across` and `down` is to each frequency, float32."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.arange(shape[0]) / shape[0])
    columns = 2 - 2 * np.cos(2 * np.pi * np.arange(shape[1] // 2 + 1) / shape[1])
    return (rows[:, np.newaxis] + columns).astype(np.float32)


def across(plane: np.ndarray) -> np.ndarray:
    """Differences to the next column, of the last column to the first."""
    result = np.empty_like(plane)
    np.subtract(plane[:, 1:], plane[:, :-1], out=result[:, :-1])
    np.subtract(plane[:, 0], plane[:, -1], out=result[:, -1])
    return result


def down(plane: np.ndarray) -> np.ndarray:
    """Differences to the next row, of the last row to the first."""
    result = np.empty_like(plane)
    np.subtract(plane[1:], plane[:-1], out=result[:-1])
    np.subtract(plane[0], plane[-1], out=result[-1])
    return result


def divergence(horizontal: np.ndarray, vertical: np.ndarray) -> np.ndarray:
    """The sum of the transposed of `across` and `down`."""
    result = np.empty_like(horizontal)
    np.subtract(horizontal[:, :-1], horizontal[:, 1:], out=result[:, 1:])
    np.subtract(horizontal[:, -1], horizontal[:, 0], out=result[:, 0])
    result[1:] += vertical[:-1]
    result[0] += vertical[-1]
    result -= vertical
    return result


def blur(plane: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply the spectrum of a plane by a factor."""
    return inverse(forward(plane) * factor, plane.shape)


def extend(plane: np.ndarray, shape: Shape) -> np.ndarray:
    """Put a margin around a plane over which its borders fade into each other.

    Args:
        plane: float32 (height, width).
        shape: Of the result; no smaller, and no more than twice as large.

    Returns:
        float32 of that shape, the plane in its upper left corner.
    """
    taller = _extend_rows(plane, shape[0])
    return np.ascontiguousarray(_extend_rows(taller.T, shape[1]).T)


def _extend_rows(plane: np.ndarray, length: int) -> np.ndarray:
    room = length - len(plane)
    if room == 0:
        return plane
    place = np.arange(room)
    after, before = plane[len(plane) - 1 - place], plane[room - 1 - place]
    share = ((place + 1) / (room + 1)).astype(np.float32)[:, np.newaxis]
    share = share * share * (3 - 2 * share)
    return np.concatenate([plane, after + share * (before - after)])
