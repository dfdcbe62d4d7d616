"""Batches out of a data set that TensorFlow Datasets has prepared (`tfds build`).

Batch `k` is a pure function of the seed and `k`, as in `sampling`: what is asked for first, and
where a training was resumed, make no difference. Only what is needed is decoded; skipped examples
are skipped as bytes.

Data sets of pairs (`hide`, `deblur_pairs`) give blurred and sharp luminance; those of colour
(`coco_lab`) luminance and chroma. The builders' code is not needed to read what they wrote.
"""

import functools

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_refocus import color, exposure

# Memory for examples that wait to be drawn, as they are stored.
_SHUFFLE_BYTES = 256_000_000
_MOST_SHUFFLED = 8192

# Shards that are read in turns.
_CYCLE = 8

# Separate random streams out of one seed.
_FILES, _EXAMPLES, _AUGMENT, _DEGRADE = range(4)


class TfdsBatches:
    """Consecutive batches of a prepared data set.

    Args:
        name: Name of the data set, with its configuration if that is not the default one: "hide",
            "hide/16bit", "deblur_pairs/gopro", "coco_lab".
        size: Side of the square patches in pixels.
        batch_size: Number of patches in a batch.
        seed: Seed of everything random.
        first: Number of the first batch.
        count: Number of batches.
        split: Part of the data set.
        crop: "random" cuts patches anywhere, so that training sees every part of every picture, and
            is the default for it; "center" cuts them out of the middle, as the evaluation of some
            papers has it, and would make training forget the rest. Both sides of a pair are cut
            alike.
        flip: Whether patches are mirrored and, if they are pairs, turned by quarters as well. (Sky
            is above: colour must not be learned upside down.) Both sides alike.
        degradations: Name of an entry of `exposure.SETTINGS` whose vignetting, noise, scratches and
            JPEG are put on the blurred side alone; `None` adds nothing. For pairs only.
        part: Tuple `(index, count)`: of every batch only part `index` of `count`, as one machine of
            several takes it.
        cache: Whether the stored examples are kept in memory after they were read once. `True`
            needs the memory for the whole split.
        data_dir: Where data sets are; default: that of TensorFlow Datasets.

    Raises:
        FileNotFoundError: If the data set has not been prepared; the message says how to.
        ValueError: If an option does not suit it.
    """

    def __init__(
        self,
        name,
        *,
        size,
        batch_size,
        seed,
        first,
        count,
        split="train",
        crop="random",
        flip=True,
        degradations=None,
        part=(0, 1),
        cache=False,
        data_dir=None,
    ):
        self._source = _Source(name, split, data_dir)
        if crop not in ("random", "center"):
            raise ValueError(f"`crop` must be 'random' or 'center'. Received: crop={crop!r}.")
        if degradations is not None and self._source.keys[0] != "blurred":
            raise ValueError(
                "Degradations are for the blurred side of pairs. Received: "
                f"degradations={degradations!r} for {name!r}, which has none. Leave them out."
            )
        if batch_size % part[1]:
            raise ValueError(
                "Every part of a batch must be equally large. Received: "
                f"batch_size={batch_size}, part={part}."
            )
        self._augment = functools.partial(
            _augment, size=size, seed=seed, crop=crop, flip=flip, degradations=degradations
        )
        self._seed, self._batch_size, self._part = seed, batch_size, part
        self._first, self._count, self._cache = first, count, cache

    def __len__(self):
        return self._count

    def __iter__(self):
        """Give tuples of float32 arrays: `(blurred, sharp)` or `(luminance, chroma)`."""
        return self.dataset().as_numpy_iterator()

    def close(self):
        """Nothing is left running between batches; for the sake of `data.Batches`."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def dataset(self):
        """The same batches as a `tf.data.Dataset`."""
        index, parts = self._part
        share = self._batch_size // parts
        start = self._first * self._batch_size
        dataset = self._source.positions(self._seed, start, cache=self._cache)
        dataset = dataset.take(self._count * self._batch_size)
        if parts > 1:
            dataset = dataset.filter(
                lambda position, _: position % self._batch_size // share == index
            )
        dataset = dataset.map(
            lambda position, stored: self._augment(self._source.decode(stored), position),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return dataset.batch(share, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def validation_arrays(name, *, size, count, split="validation", data_dir=None):
    """Read a fixed set of examples, cut out of the middle.

    Args:
        name: As in `TfdsBatches`.
        size: Side of the patches in pixels.
        count: Number of examples; fewer if the split has fewer.
        split: Part of the data set.
        data_dir: Where data sets are.

    Returns:
        Tuple of two float32 arrays of shape `(count, size, size, channels)`.
    """
    source = _Source(name, split, data_dir)
    count = min(count, source.count)
    dataset = source.in_order().take(count).map(source.decode)
    dataset = dataset.map(
        lambda first, second: _augment(
            (first, second), 0, size=size, seed=0, crop="center", flip=False, degradations=None
        )
    )
    return next(iter(dataset.batch(count).as_numpy_iterator()))


class _Source:
    """The stored examples of one split."""

    def __init__(self, name, split, data_dir):
        command = f"tfds build tfds_builders/{name.partition('/')[0]}"
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except tfds.core.DatasetNotFoundError:
            builder = None
        # A builder whose module was imported is found before anything is prepared.
        if builder is None or not builder.is_prepared():
            raise FileNotFoundError(
                f"The data set {name!r} must have been prepared. Received: none in "
                f"{data_dir or '~/tensorflow_datasets'}. Prepare it with `{command}`, whose "
                "README says what it needs, or name its folder."
            )
        info = builder.info
        if split not in info.splits:
            raise ValueError(
                f"`split` must be one of {', '.join(sorted(info.splits))}. Received: "
                f"split={split!r} of {name!r}."
            )
        if info.file_format.value != "tfrecord":
            raise ValueError(
                "The data set must be stored as TFRecord. Received: "
                f"{info.full_name} stored as {info.file_format.value}. Prepare it again with "
                f"`{command}` and without --file_format."
            )
        self.features = info.features
        self.keys = info.supervised_keys or ()
        if self.keys not in (("blurred", "sharp"), ("luminance", "chroma")):
            raise ValueError(
                "The data set must have blurred and sharp luminance, or luminance and chroma. "
                f"Received: {info.full_name} with {sorted(info.features)}."
            )
        self.count = info.splits[split].num_examples
        self._files = [str(path) for path in info.splits[split].filepaths]
        # No fewer than two, or nothing would change places.
        size = max(1, info.splits[split].num_bytes // self.count)
        self._shuffled = int(np.clip(_SHUFFLE_BYTES // size, 2, _MOST_SHUFFLED))

    def in_order(self):
        """The stored examples, in the order of the files."""
        return tf.data.TFRecordDataset(self._files)

    def positions(self, seed, start, *, cache):
        """`(position, stored example)` from a position on, without end.

        Every pass over the data is in another order, which depends on the seed and its number.
        """
        kept = self._read(tf.data.Dataset.from_tensor_slices(self._files)).cache()

        def one_pass(number):
            # Of the graph of this function only. Without it TensorFlow mixes the process's seed
            # into the order, and fails to where that seed is 0.
            tf.random.set_seed(1)
            if cache:
                stored = kept
            else:
                files = tf.data.Dataset.from_tensor_slices(self._files)
                order = _mixed(seed, _FILES, number)
                stored = self._read(files.shuffle(len(self._files), order, False))
            stored = stored.shuffle(self._shuffled, _mixed(seed, _EXAMPLES, number), False)
            # Skipped before anything is decoded.
            stored = stored.enumerate(number * self.count)
            return stored.skip(tf.maximum(tf.constant(start, tf.int64) - number * self.count, 0))

        numbers = tf.data.Dataset.counter(start // self.count)
        return numbers.flat_map(one_pass)

    @staticmethod
    def _read(files):
        return files.interleave(tf.data.TFRecordDataset, cycle_length=_CYCLE)

    def decode(self, stored):
        """Both sides of a stored example, luminance of pairs still as integers."""
        example = self.features.deserialize_example(stored)
        return tuple(example[key] for key in self.keys)


def _mixed(seed, stream, number):
    """A seed of its own for each stream and pass."""
    pair = tf.stack([tf.cast(seed, tf.int64), tf.cast(number, tf.int64)])
    return tf.random.stateless_uniform(
        [], pair + tf.constant([stream * 0x9E3779B9, 0], tf.int64), 1, 2**62, tf.int64
    )


def _augment(sides, position, *, size, seed, crop, flip, degradations):
    """Cut, turn and mirror both sides alike."""
    position = tf.cast(position, tf.int64)
    sides = [_at_least(side, size) for side in sides]
    shapes = [tf.shape(side)[:2] for side in sides]
    checks = [tf.debugging.assert_equal(*shapes, "Both sides must have one size.")]
    with tf.control_dependencies(checks):
        room = shapes[0] - size
    draws = tf.random.stateless_uniform(
        [4], tf.stack([tf.cast(seed, tf.int64) + _AUGMENT * 0x9E3779B9, position])
    )
    if crop == "random":
        corner = tf.cast(draws[:2] * tf.cast(room + 1, tf.float32), tf.int32)
        corner = tf.minimum(corner, room)  # A draw of almost 1 may round up.
    else:
        corner = room // 2
    top, left = corner[0], corner[1]
    sides = [side[top : top + size, left : left + size] for side in sides]
    is_pair = sides[1].shape[-1] == 1
    sides = [_as_float(side) for side in sides]
    if degradations is not None:
        degrade = functools.partial(_degrade, seed=seed, degradations=degradations)
        sides[0] = tf.numpy_function(degrade, (sides[0], position), tf.float32)
    if flip:
        turns = tf.cast(draws[2] * 4, tf.int32) if is_pair else 0
        sides = [
            tf.cond(draws[3] < 0.5, lambda s=side: s, lambda s=side: s[:, ::-1])
            for side in (tf.image.rot90(side, turns) for side in sides)
        ]
    for side, channels in zip(sides, (1, 1 if is_pair else 2), strict=True):
        side.set_shape((size, size, channels))
    return tuple(sides)


def _at_least(side, size):
    """Mirror-extend a picture whose side is below `size` pixels."""
    for axis in (0, 1):
        length = tf.shape(side)[axis]
        steps = tf.range(tf.maximum(length, size)) % (2 * length)
        side = tf.gather(side, tf.minimum(steps, 2 * length - 1 - steps), axis=axis)
    return side


@functools.cache
def _table(dtype):
    """Luminance of every integer. `color` keeps the ranges, and gives it for any Keras backend."""
    return color.decode_luminance(np.arange(np.iinfo(dtype).max + 1, dtype=dtype))


def _as_float(side):
    if side.dtype == tf.float32:
        return side
    return tf.gather(_table(side.dtype.as_numpy_dtype), tf.cast(side, tf.int32))


def _degrade(luminance, position, *, seed, degradations):
    """Put noise, JPEG and the like on luminance, as on a grey picture of it."""
    rng = np.random.default_rng([seed, _DEGRADE, int(position)])
    gray = np.zeros((*luminance.shape[:2], 2), np.float32)
    rgb = np.clip(color.lab_to_rgb(luminance, gray), 0.0, 1.0)
    return color.rgb_to_luminance(
        exposure.degrade(rgb, exposure.SETTINGS[degradations], rng).astype(np.float32)
    )
