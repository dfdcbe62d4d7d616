"""Batches out of a data set that TensorFlow Datasets has prepared (`tfds build`).

Batch `k` is a pure function of the seed and `k`, as in `sampling`: what is asked for first, and
where a training was resumed, make no difference. Only what is needed is decoded; skipped examples
are skipped as bytes.

Data sets of pairs (`hide`, `deblur_pairs`) give blurred and sharp luminance; those of colour
(`coco_lab`) luminance and chroma. The builders' code is not needed to read what they wrote.
"""

import functools
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_refocus.blur import exposure
from keras_refocus.pictures import color
from keras_refocus.system import files

# Memory for examples that wait to be drawn, as they are stored.
_SHUFFLE_BYTES = 256_000_000
_MOST_SHUFFLED = 8192

# Shards that are read in turns.
_CYCLE = 8

# Batches in a row that a training of pairs cuts out of the same pictures: those of 1280x720 take
# longer to decode than everything else that is done to them.
DEFAULT_ECHO = 4

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
        smallest_part: For colour, instead of patches whole scenes: of every picture a part of at
            least this share of its height and width ("random") or all of it ("center") is shrunk
            to `size`, as the colorizer sees pictures.
        tone: For colour: how much the tone curve of the luminance varies; see
            `sampling.ColorSampler`.
        degradations: Name of an entry of `exposure.SETTINGS` whose vignetting, noise, scratches and
            JPEG are put on the blurred side alone; `None` adds nothing. For pairs only.
        echo: Number of batches in a row that are cut out of the same pictures, which are then
            decoded once for all of them; see `sampling.Sampler`.
        part: Tuple `(index, count)`: of every batch only part `index` of `count`, as one machine of
            several takes it.
        workers: Number of examples that are made at once; `None` leaves it to TensorFlow.
        cache: Whether the stored examples are kept in memory after they were read once. `True`
            needs the memory for the whole split.
        data_dir: Where data sets are; default: that of TensorFlow Datasets.

    Raises:
        FileNotFoundError: If the data set has not been prepared; the message says how to.
        ValueError: If an option does not suit it.
    """

    def __init__(
        self,
        name: str,
        *,
        size: int,
        batch_size: int,
        seed: int,
        first: int,
        count: int,
        split: str = "train",
        crop: str = "random",
        flip: bool = True,
        smallest_part: float | None = None,
        tone: float = 0.0,
        degradations: Any = None,
        echo: int = 1,
        part: tuple[int, int] = (0, 1),
        cache: bool = False,
        workers: int | None = None,
        data_dir: str | os.PathLike | None = None,
    ):
        self._source = _Source(name, split, data_dir)
        if crop not in ("random", "center"):
            raise ValueError(f"`crop` must be 'random' or 'center'. Received: crop={crop!r}.")
        if degradations is not None and self._source.keys[0] != "blurred":
            raise ValueError(
                "Degradations are for the blurred side of pairs. Received: "
                f"degradations={degradations!r} for {name!r}, which has none. Leave them out."
            )
        if (smallest_part is not None or tone) and self._source.keys[0] != "luminance":
            raise ValueError(
                "Parts of whole scenes and tone curves are for colour. Received: "
                f"smallest_part={smallest_part}, tone={tone} for {name!r}. Leave them out."
            )
        if batch_size % part[1]:
            raise ValueError(
                "Every part of a batch must be equally large. Received: "
                f"batch_size={batch_size}, part={part}."
            )
        self._augment = functools.partial(
            _augment,
            size=size,
            seed=seed,
            crop=crop,
            flip=flip,
            smallest_part=smallest_part,
            tone=tone,
            degradations=degradations,
        )
        self._seed, self._batch_size, self._part = seed, batch_size, part
        self._first, self._count, self._cache = first, count, cache
        self._echo = echo
        self._parallel = tf.data.AUTOTUNE if workers is None else max(1, workers)

    def __len__(self):
        return self._count

    def __iter__(self):
        """Give tuples of float32 arrays: `(blurred, sharp)` or `(luminance, chroma)`."""
        # A generator, which Keras knows how to read.
        yield from self.dataset().as_numpy_iterator()

    def close(self) -> None:
        """Nothing is left running between batches; for the sake of `data.Batches`."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def dataset(self) -> Any:
        """The same batches as a `tf.data.Dataset`."""
        index, parts = self._part
        share = self._batch_size // parts
        group, skipped = divmod(self._first, self._echo)
        groups = -(-(skipped + self._count) // self._echo)
        start = group * self._batch_size
        dataset = self._source.positions(self._seed, start, cache=self._cache)
        dataset = dataset.take(groups * self._batch_size)
        if parts > 1:
            dataset = dataset.filter(
                lambda position, _: position % self._batch_size // share == index
            )
        dataset = dataset.map(self._patches, self._parallel, deterministic=True)
        dataset = dataset.batch(share, drop_remainder=True)
        # From one element of (patches, turns, ...) to one of (patches, ...) for each turn.
        dataset = dataset.flat_map(
            lambda *sides: tf.data.Dataset.from_tensor_slices(
                tuple(tf.transpose(side, (1, 0, 2, 3, 4)) for side in sides)
            )
        )
        return dataset.skip(skipped).take(self._count).prefetch(tf.data.AUTOTUNE)

    def _patches(self, position, stored):
        """Patches of one stored example, one for each turn: (turns, size, size, channels)."""
        sides = self._source.decode(stored)
        turns = [self._augment(sides, position * self._echo + turn) for turn in range(self._echo)]
        return tuple(tf.stack(side) for side in zip(*turns, strict=True))


def validation_arrays(
    name: str,
    *,
    size: int,
    count: int,
    split: str = "validation",
    whole: bool = False,
    data_dir: str | os.PathLike | None = None,
) -> dict[str, np.ndarray]:
    """Read a fixed set of examples, cut out of the middle.

    Args:
        name: As in `TfdsBatches`.
        size: Side of the patches in pixels.
        count: Number of examples; fewer if the split has fewer.
        split: Part of the data set.
        whole: For colour: whether whole pictures are shrunk to `size` instead.
        data_dir: Where data sets are.

    Returns:
        Tuple of two float32 arrays of shape `(count, size, size, channels)`.
    """
    source = _Source(name, split, data_dir)
    count = min(count, source.count)
    dataset = source.in_order().take(count).map(source.decode)
    dataset = dataset.map(
        lambda first, second: _augment(
            (first, second),
            0,
            size=size,
            seed=0,
            crop="center",
            flip=False,
            smallest_part=1.0 if whole else None,
            tone=0.0,
            degradations=None,
        )
    )
    return next(iter(dataset.batch(count).as_numpy_iterator()))


def stage_of(name: str, *, data_dir: str | os.PathLike | None = None) -> str:
    """Which stage a prepared data set is for: "restorer" (pairs) or "colorizer"."""
    keys = _Source(name, "train", data_dir).keys
    return "restorer" if keys[0] == "blurred" else "colorizer"


class PreparedSet:
    """A prepared data set as a training sees it: what it holds, its batches, its validation.

    Args:
        name: As in `TfdsBatches`.
        keys: What the two sides must be: `("blurred", "sharp")` or `("luminance", "chroma")`.
        data_dir: Where data sets are; default: that of TensorFlow Datasets.

    Raises:
        FileNotFoundError: If the data set has not been prepared; the message says how to.
        ValueError: If it is of another kind.
    """

    def __init__(
        self, name: str, *, keys: tuple[str, ...], data_dir: str | os.PathLike | None = None
    ):
        self._name, self._data_dir = name, data_dir
        source = _Source(name, "train", data_dir)
        if source.keys != keys:
            raise ValueError(
                f"The data set must have {' and '.join(keys)}. Received: {name!r}, which has "
                f"{' and '.join(source.keys)}. Choose another, or train the other stage."
            )
        self._info = source.info

    def __len__(self):
        return self._info.splits["train"].num_examples

    def describe(self) -> dict[str, Any]:
        """Name, version, configuration and counts, ready for JSON."""
        return {
            "name": self._info.name,
            "config": self._info.config_name,
            "version": str(self._info.version),
            "folder": str(self._info.data_dir),
            "examples": {name: part.num_examples for name, part in self._info.splits.items()},
        }

    def manifest(self) -> str:
        """SHA-256 and path of the files that say what the shards hold, a line for each.

        These are the sizes of all shards, and of every picture that was left out its name; reading
        the shards themselves through would take as long as an epoch.
        """
        listing = sorted(pathlib.Path(self._info.data_dir).glob("*.json"))
        sums = ((files.sha256(listed), listed) for listed in listing)
        return "".join(f"{digest}  {file.resolve()}\n" for digest, file in sums)

    def batches(self, **options: Any) -> TfdsBatches:
        """`TfdsBatches` of the training split."""
        return TfdsBatches(self._name, data_dir=self._data_dir, **options)

    def arrays(self, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        """`validation_arrays`, of the validation split unless another is named."""
        return validation_arrays(self._name, data_dir=self._data_dir, **options)


class _Source:
    """The stored examples of one split."""

    def __init__(self, name, split, data_dir):
        builder_name, _, config = name.partition(":")[0].partition("/")
        command = f"tfds build tfds_builders/{builder_name}"
        command += f" --config {config}" if config else ""
        command += f" --data_dir {data_dir}" if data_dir else ""
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
        self.info = info = builder.info
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


def _augment(sides, position, *, size, seed, crop, flip, smallest_part, tone, degradations):
    """Cut, turn and mirror both sides alike."""
    position = tf.cast(position, tf.int64)
    draws = tf.random.stateless_uniform(
        [7], tf.stack([tf.cast(seed, tf.int64) + _AUGMENT * 0x9E3779B9, position])
    )
    shapes = [tf.shape(side)[:2] for side in sides]
    with tf.control_dependencies([tf.debugging.assert_equal(*shapes, "Both sides need one size.")]):
        shape = tf.identity(shapes[0])
    if smallest_part is None:
        cut = tf.stack([size, size])
        sides, shape = [_at_least(side, size) for side in sides], tf.maximum(shape, size)
    elif crop == "random":
        shares = smallest_part + (1.0 - smallest_part) * draws[4:6]
        cut = tf.cast(tf.round(shares * tf.cast(shape, tf.float32)), tf.int32)
        cut = tf.maximum(cut, 1)
    else:
        cut = shape
    room = shape - cut
    if crop == "random":
        corner = tf.cast(draws[:2] * tf.cast(room + 1, tf.float32), tf.int32)
        corner = tf.minimum(corner, room)  # A draw of almost 1 may round up.
    else:
        corner = room // 2
    (top, left), (height, width) = tf.unstack(corner), tf.unstack(cut)
    sides = [side[top : top + height, left : left + width] for side in sides]
    is_pair = sides[1].shape[-1] == 1
    sides = [_as_float(side) for side in sides]
    if smallest_part is not None:
        sides = [_squeezed(side, size) for side in sides]
    if tone:
        exponent = (1.0 + tone) ** (2.0 * draws[6] - 1.0)
        sides[0] = tf.clip_by_value(sides[0], 0.0, 1.0) ** exponent
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


def _squeezed(side, size):
    """Resize to a square as `sampling.ColorSource` does: by area, or enlarged linearly."""
    shrinks = size <= tf.reduce_min(tf.shape(side)[:2])
    return tf.cond(
        shrinks,
        lambda: tf.image.resize(side, (size, size), "area"),
        lambda: tf.image.resize(side, (size, size)),
    )


def _at_least(side, size):
    """Mirror-extend a picture whose side is below `size` pixels."""
    for axis in (0, 1):
        length = tf.shape(side)[axis]
        steps = tf.range(tf.maximum(length, size)) % (2 * length)
        side = tf.gather(side, tf.minimum(steps, 2 * length - 1 - steps), axis=axis)
    return side


@functools.cache
def _luminance_of_integers(dtype):
    """Luminance of every integer. `color` keeps the ranges, and gives it for any Keras backend."""
    return color.decode_luminance(np.arange(np.iinfo(dtype).max + 1, dtype=dtype))


def _as_float(side):
    if side.dtype == tf.float32:
        return side
    return tf.gather(_luminance_of_integers(side.dtype.as_numpy_dtype), tf.cast(side, tf.int32))


def _degrade(luminance, position, *, seed, degradations):
    """Put noise, JPEG and the like on luminance, as on a grey picture of it."""
    rng = np.random.default_rng([seed, _DEGRADE, int(position)])
    gray = np.zeros((*luminance.shape[:2], 2), np.float32)
    rgb = np.clip(color.lab_to_rgb(luminance, gray), 0.0, 1.0)
    return color.rgb_to_luminance(
        exposure.degrade(rgb, exposure.SETTINGS[degradations], rng).astype(np.float32)
    )
