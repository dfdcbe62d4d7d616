"""Small sets of pictures to measure on."""

import numpy as np
from PIL import Image

from keras_refocus.evaluation import sets


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def picture(seed, height=32, width=40):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def photo_set(folder, name="evaluation", seed=0):
    return sets.PictureSet(
        folder=folder,
        items=sets.photo_items(folder),
        blur=sets.synthetic_blur(name, seed=seed),
    )


def pair_set(folder):
    return sets.PictureSet(folder=folder, items=sets.pair_items(folder))
