"""Files of weights as authors publish them, with the tiny networks of the golden files."""

import json
import math
import pathlib

import h5py
import numpy as np

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "imported"


def tensors(name):
    """Tensors of a golden file by the authors' names."""
    with np.load(GOLDEN / f"{name}.npz") as file:
        flat = file["weights"].astype("float32")
        found = {}
        for key, shape in json.loads(str(file["names"])).items():
            found[key], flat = np.split(flat, [math.prod(shape)])
            found[key] = found[key].reshape(shape)
    return found


def pictures(name):
    """Pairs of luminance and what the authors' network makes of it.

    float32 (height, width), what a colorizer gives (height, width, 2).
    """
    with np.load(GOLDEN / f"{name}.npz") as file:
        sizes = [tuple(size) for size in file["sizes"].tolist()]
        results = [file[f"result{index}"] for index in range(len(sizes))]
    blurred = [np.random.default_rng(size[0]).random(size, np.float32) for size in sizes]
    return list(zip(blurred, results, strict=True))


def write(name, path):
    """Write the tensors of a golden file as HDF5; returns the path."""
    with h5py.File(path, "w") as file:
        for key, array in tensors(name).items():
            file[key] = array
    return path
