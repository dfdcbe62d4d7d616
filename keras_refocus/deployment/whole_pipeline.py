"""The `refocus` servable: the whole pipeline as one TensorFlow graph, for clients in any language.

Decode, both stages, the grayscale gate, colour maths and encode, in TensorFlow operations only: no
Python and no custom operation, so TensorFlow Serving 2.19 or newer, `saved_model_cli` and REST run
it. It does what `pipeline.Restorer` does with mode restore+colorize, auto_detect on and saturation
1, from the same tiles and the same formulas; EXIF, ICC profiles, alpha and 16 bits are the client's
business.

Memory stays bounded for large pictures: the network sees one tile at a time, colours are computed a
band of rows at a time, and of full-size planes only the picture, its restored luminance and the
result are held. Pictures of one request are worked on one after the other.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_refocus.engines import contract, store
from keras_refocus.pictures import color, grayscale
from keras_refocus.restoration import means
from keras_refocus.restoration.chroma import WORKING_SIZE
from keras_refocus.restoration.tiling import ALIGNMENT, ROOM, SMALL, TILE, default_overlap, ramp

MAX_PIXELS = 200_000_000

# TensorFlow Serving 2.19: its graph version, and the operations that came after it.
_SERVING_GRAPH_VERSION = 2129
_NEWER_OPERATIONS = frozenset(
    {"DecodeJxl", "DecodeWebP", "TPUDummyInput", "XlaSparseGradientsStack"}
)
_PYTHON_OPERATIONS = frozenset({"EagerPyFunc", "PyFunc", "PyFuncStateless"})

# As in `pipeline` and `chroma`: pixels of a band, and the window and regularisation of the
# guided filter.
_BAND = 2**20
_RADIUS = 16
_EPSILON = 1e-3


def export_refocus(
    restorer_dir: str | os.PathLike,
    colorizer_dir: str | os.PathLike,
    out_dir: str | os.PathLike,
    *,
    tile: int = TILE,
    overlap: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Path:
    """Write the `refocus` servable from the SavedModels of its two stages.

    Args:
        restorer_dir: Version folder of a restorer, such as `saved_models/restorer/1`.
        colorizer_dir: Version folder of a colorizer.
        out_dir: Version folder to write, such as `saved_models/refocus/1`; it must not exist.
        tile: Side of the tiles that the restorer sees, pixels.
        overlap: Pixels that neighbouring tiles share; `None`: `tiling.default_overlap`.
        max_pixels: Larger pictures are refused.

    Returns:
        The folder that was written.

    Raises:
        FileExistsError: `out_dir` exists.
        FileNotFoundError: A stage is not a SavedModel.
        ValueError: A stage has another signature, or the graph would not run on TensorFlow Serving.
    """
    out = Path(out_dir)
    if out.exists():
        raise FileExistsError(f"A version is never replaced. Received: out_dir='{out}'.")
    if overlap is None:
        overlap = default_overlap(tile)
    if not 0 <= overlap < tile:
        raise ValueError(
            f"The overlap must be at least 0 and smaller than the tile. Received: {overlap=}, "
            f"{tile=}."
        )
    pipeline = RefocusGraph(
        store.open_saved_model(restorer_dir, contract.RESTORED),
        store.open_saved_model(colorizer_dir, contract.CHROMA),
        tile=tile,
        overlap=overlap,
        max_pixels=max_pixels,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, so that the last step is a rename: a server that watches it sees a whole
    # version or none.
    scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=out.parent))
    try:
        draft = scratch / "new"
        tf.saved_model.save(
            pipeline,
            str(draft),
            signatures={
                contract.DEFAULT_SIGNATURE: pipeline.restore_files,
                contract.IMAGE_SIGNATURE: pipeline.restore_images,
            },
        )
        check_portable(draft)
        _write_warmup(draft, out.parent.name, tile)
        draft.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return out


def check_portable(version: str | os.PathLike) -> None:
    """Refuse a SavedModel that TensorFlow Serving 2.19 cannot run.

    Args:
        version: Version folder of a SavedModel.

    Raises:
        ValueError: It calls Python, has custom operations, operations newer than TensorFlow 2.19,
            or asks for a newer consumer.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    file = Path(version) / contract.SAVED_MODEL_FILE
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        functions = {function.signature.name for function in graph.library.function}
        used = {node.op for node in graph.node}
        used |= {node.op for function in graph.library.function for node in function.node_def}
        used -= functions
        custom = {name for name in used if op_def_registry.get(name) is None}
        for wrong, what in (
            (used & _PYTHON_OPERATIONS, "operations that call Python"),
            (used & _NEWER_OPERATIONS, "operations that TensorFlow 2.19 does not have"),
            (custom, "custom operations"),
        ):
            if wrong:
                raise ValueError(
                    f"A servable must have no {what}. Received: {', '.join(sorted(wrong))} in "
                    f"'{file}'."
                )
        if graph.versions.min_consumer > _SERVING_GRAPH_VERSION:
            raise ValueError(
                f"A servable must run on graph version {_SERVING_GRAPH_VERSION} (TensorFlow 2.19). "
                f"Received: min_consumer={graph.versions.min_consumer} in '{file}'."
            )


class RefocusGraph(tf.Module):
    """The pipeline over two loaded SavedModels; its two functions become the signatures.

    Args:
        restorer: SavedModel of stage 1, from luminance to restored luminance.
        colorizer: SavedModel of stage 2, from luminance to chroma.
        tile: Side of the tiles, pixels.
        overlap: Pixels that neighbouring tiles share.
        max_pixels: Larger pictures are refused.
    """

    def __init__(self, restorer: Any, colorizer: Any, *, tile: int, overlap: int, max_pixels: int):
        super().__init__()
        # Held so that their variables are saved with this module.
        self.restorer, self.colorizer = restorer, colorizer
        self._tile, self._overlap, self._max_pixels = tile, overlap, max_pixels
        self.restore_files = tf.function(
            self._restore_files,
            autograph=False,
            input_signature=[tf.TensorSpec((None,), tf.string, name=contract.IMAGE_BYTES)],
        )
        self.restore_images = tf.function(
            self._restore_images,
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, None, None, 3), tf.uint8, name=contract.IMAGE),
                tf.TensorSpec((None,), tf.float32, name=contract.STRENGTH),
            ],
        )

    def _restore_files(self, image_bytes):
        def restore(contents):
            rgb, is_grayscale = self._restore(self._decode(contents), tf.constant(1.0))
            return tf.io.encode_png(rgb), is_grayscale

        files, is_grayscale = tf.map_fn(
            restore,
            tf.ensure_shape(image_bytes, (None,)),
            parallel_iterations=1,
            fn_output_signature=(tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.bool)),
        )
        return {contract.IMAGE_BYTES: files, contract.IS_GRAYSCALE: is_grayscale}

    def _restore_images(self, image, strength):
        image = tf.ensure_shape(image, (None, None, None, 3))
        strength = tf.ensure_shape(strength, (None,))
        checks = [
            tf.debugging.assert_equal(
                tf.shape(image)[0], tf.size(strength), message="one strength for each image"
            ),
            tf.debugging.assert_positive(
                tf.shape(image)[1:], message="an image has at least one pixel"
            ),
            tf.debugging.assert_non_negative(strength, message="strength is 0 to 1"),
            tf.debugging.assert_less_equal(strength, 1.0, message="strength is 0 to 1"),
        ]

        def restore_all():
            return tf.map_fn(
                lambda pair: self._restore(*pair),
                (image, strength),
                parallel_iterations=1,
                fn_output_signature=(
                    tf.TensorSpec((None, None, 3), tf.uint8),
                    tf.TensorSpec((), tf.bool),
                ),
            )

        with tf.control_dependencies(checks):
            images, is_grayscale = tf.cond(
                tf.size(image) > 0, restore_all, lambda: (image, tf.zeros((0,), tf.bool))
            )
        return {contract.IMAGE: images, contract.IS_GRAYSCALE: is_grayscale}

    def _decode(self, contents):
        """Reads a JPEG or PNG file as uint8 RGB [H,W,3], after a look at its size."""
        is_jpeg = tf.io.is_jpeg(contents)
        height, width = tf.cond(is_jpeg, lambda: _jpeg_size(contents), lambda: _png_size(contents))
        pixels = tf.cast(height, tf.int64) * tf.cast(width, tf.int64)
        check = tf.debugging.assert_less_equal(
            pixels,
            tf.constant(self._max_pixels, tf.int64),
            message=f"a picture has at most {self._max_pixels} pixels",
        )
        with tf.control_dependencies([check]):
            return tf.cond(
                is_jpeg,
                lambda: tf.io.decode_jpeg(contents, channels=3, dct_method="INTEGER_ACCURATE"),
                lambda: tf.io.decode_png(contents, channels=3),
            )

    def _restore(self, image, strength):
        """Both stages on one picture: uint8 RGB [H,W,3]; returns it restored, and whether grey."""
        image = tf.ensure_shape(image, (None, None, 3))
        is_grayscale = _is_grayscale(image)
        source = _luminance(image)
        restored = tf.cond(strength > 0.0, lambda: self._restore_plane(source), lambda: source)
        lines = tf.cond(
            is_grayscale,
            lambda: self._colour_lines(restored),
            lambda: tf.zeros((WORKING_SIZE, 1, 4)),
        )
        # A colour picture at strength 0 comes back as it is: Lab and back would round.
        unchanged = tf.logical_and(strength <= 0.0, tf.logical_not(is_grayscale))
        rgb = tf.cond(
            unchanged,
            lambda: image,
            lambda: _compose(image, source, restored, strength, is_grayscale, lines),
        )
        return rgb, is_grayscale

    def _restore_plane(self, luminance):
        """Runs the restorer tile by tile over [H,W,1] and blends, as `tiling.Tiles` does."""
        tile = self._tile
        run = self.restorer.signatures[contract.DEFAULT_SIGNATURE]
        height, width = tf.shape(luminance)[0], tf.shape(luminance)[1]
        tops, row_weights = _axis(height, tile, self._overlap)
        lefts, column_weights = _axis(width, tile, self._overlap)
        following = tf.concat([tops[1:], [height]], 0)
        # The last windows may reach beyond the picture; the network sees what is inside.
        reach = lefts[-1] + tile

        def restore_row(index, carried, bands):
            top = tops[index]
            strip = luminance[top : top + tile]
            band = tf.pad(carried, [[0, tile - tf.shape(carried)[0]], [0, 0], [0, 0]])

            def add_tile(position, band):
                left = lefts[position]
                cut = strip[:, left : left + tile]
                seen, above, aside = _with_room(cut)
                out = run(**{contract.LUMINANCE: seen[tf.newaxis]})[contract.RESTORED][0]
                out = out[above : above + tf.shape(cut)[0], aside : aside + tf.shape(cut)[1]]
                missing = [[0, tile - tf.shape(cut)[axis]] for axis in (0, 1)]
                out = tf.pad(out, [*missing, [0, 0]])
                weight = row_weights[index, :, tf.newaxis] * column_weights[position]
                out = tf.ensure_shape(out, (tile, tile, 1)) * weight[..., tf.newaxis]
                sides = [[0, 0], [left, reach - left - tile], [0, 0]]
                return position + 1, tf.ensure_shape(band + tf.pad(out, sides), (tile, None, 1))

            _, band = tf.while_loop(
                lambda position, band: position < tf.size(lefts),
                add_tile,
                (0, tf.ensure_shape(band, (tile, None, 1))),
                shape_invariants=(tf.TensorShape(()), tf.TensorShape((tile, None, 1))),
                parallel_iterations=1,
            )
            finished = following[index] - top
            done = tf.clip_by_value(band[:finished, :width], 0.0, 1.0)
            return index + 1, band[finished:], bands.write(index, done)

        bands = tf.TensorArray(
            tf.float32, size=tf.size(tops), element_shape=(None, None, 1), infer_shape=False
        )
        _, _, bands = tf.while_loop(
            lambda index, carried, bands: index < tf.size(tops),
            restore_row,
            (0, tf.zeros((0, reach, 1)), bands),
            shape_invariants=(
                tf.TensorShape(()),
                tf.TensorShape((None, None, 1)),
                tf.TensorSpec(None, tf.variant),
            ),
            parallel_iterations=1,
        )
        return _keep_means(tf.reshape(bands.concat(), tf.shape(luminance)), luminance)

    def _colour_lines(self, luminance):
        """Chroma as lines in luminance, [size, size, 4]: what `chroma.GuidedChroma` fits."""
        small = _shrink(luminance)[tf.newaxis]
        run = self.colorizer.signatures[contract.DEFAULT_SIGNATURE]
        chroma = run(**{contract.LUMINANCE: small})[contract.CHROMA]

        def mean(plane):
            return _mean(plane, 2 * _RADIUS + 1)

        mean_guide, mean_chroma = mean(small), mean(chroma)
        variance = mean(small * small) - mean_guide * mean_guide
        covariance = mean(small * chroma) - mean_guide * mean_chroma
        slope = covariance / (variance + _EPSILON)
        offset = mean_chroma - slope * mean_guide
        flatness = 1.0 / (variance + _EPSILON)
        lines = mean(flatness * tf.concat([slope, offset], axis=-1)) / mean(flatness)
        return lines[0]


def _jpeg_size(contents):
    shape = tf.io.extract_jpeg_shape(contents)
    return shape[0], shape[1]


def _png_size(contents):
    """Reads height and width from the first chunk of a PNG file."""
    # Only the verdict is compared: an assertion prints its operands, and bytes are no text.
    is_png = tf.strings.substr(contents, 0, 8) == b"\x89PNG\r\n\x1a\n"
    is_long_enough = tf.strings.length(contents) >= 24
    check = tf.debugging.assert_equal(
        is_png & is_long_enough, True, message="a picture is a JPEG or PNG file"
    )
    with tf.control_dependencies([check]):
        header = tf.strings.substr(contents, 16, 8)
        width, height = tf.unstack(tf.io.decode_raw(header, tf.int32, little_endian=False), num=2)
    return height, width


def _is_grayscale(image):
    """`grayscale.is_grayscale` on a tensor: the same numbers in TensorFlow operations."""
    luma, chroma, parts = _gray_cells(image)
    places = parts[:, grayscale.KNOTS : grayscale.KNOTS + 2]
    residual = _tint_residual(chroma, parts)
    tone = tf.norm(tf.stack([_quantile(tf.sort(side), 0.5) for side in tf.unstack(chroma, axis=1)]))
    spread = _quantile(tf.sort(_around(residual, places)), grayscale.SPREAD_QUANTILE)
    is_even = spread <= tf.maximum(
        tf.constant(grayscale.SPREAD_LIMIT, tf.float64), grayscale.SPREAD_SHARE_OF_TONE * tone
    )
    residual = tf.norm(residual, axis=-1)
    unexplained = _quantile(tf.sort(residual), grayscale.RESIDUAL_QUANTILE)
    is_one_tint = unexplained <= grayscale.RESIDUAL_LIMIT
    is_one_tint |= _is_date(residual, chroma, places) | _is_ink(residual, tone, places)
    vivid = tf.reduce_sum(tf.norm(chroma, axis=-1) * luma) / tf.reduce_sum((luma + 1.0) ** 2)
    blue, red = tf.unstack(tf.reduce_mean(chroma, axis=0), num=2)
    limit = tf.where(
        (blue < 0) & (red > 0),
        tf.constant(grayscale.VIVID_ORANGE, tf.float64),
        tf.constant(grayscale.VIVID, tf.float64),
    )
    return is_even & is_one_tint & (vivid < limit)


def _gray_cells(rgb):
    """Mean luma [n], chroma [n, 2] and what the tint is made of, as `grayscale.cells` has them."""
    knots = grayscale.KNOTS
    shape = tf.shape(rgb)[:2]
    side = tf.clip_by_value(tf.reduce_min(shape) // grayscale.LEAST_CELLS, 1, grayscale.CELL)
    side = tf.maximum(side, -(-tf.reduce_max(shape) // grayscale.MOST_CELLS))
    step = tf.maximum(side // grayscale.SAMPLES, 1)
    rgb, side = rgb[::step, ::step], tf.maximum(side // step, 1)
    rows = tf.maximum(tf.shape(rgb)[0] // side, 1)
    columns = tf.maximum(tf.shape(rgb)[1] // side, 1)
    pixels = tf.cast(rgb[: rows * side, : columns * side], tf.float32)
    row, column = tf.range(tf.shape(pixels)[0]) // side, tf.range(tf.shape(pixels)[1]) // side
    cell = tf.reshape(row[:, tf.newaxis] * columns + column, (-1,))
    cells = rows * columns
    pixels = tf.reshape(pixels, (-1, 3))

    position = tf.reduce_sum(pixels, axis=-1) * ((knots - 1) / (3 * color.EIGHT_BIT))
    knot = tf.minimum(tf.cast(position, tf.int32), knots - 2)
    upper = tf.cast(position - tf.cast(knot, tf.float32), tf.float64)
    index = cell * knots + knot
    shares = tf.math.unsorted_segment_sum(1.0 - upper, index, cells * knots)
    shares += tf.math.unsorted_segment_sum(upper, index + 1, cells * knots)
    shares = tf.reshape(shares, (cells, knots))
    shares /= tf.reduce_sum(shares, axis=1, keepdims=True)

    sums = tf.math.unsorted_segment_sum(tf.cast(pixels, tf.float64), cell, cells)
    means = sums / tf.cast(side**2, tf.float64)
    luma = tf.linalg.matvec(means, tf.constant(grayscale.LUMA, tf.float64))
    differences = tf.constant(grayscale.CHROMA_DIFFERENCES, tf.float64)
    y, x = (
        (2.0 * tf.range(count, dtype=tf.float64) + 1.0) / tf.cast(count, tf.float64) - 1.0
        for count in (tf.cast(rows, tf.float64), tf.cast(columns, tf.float64))
    )
    y, x = tf.repeat(y, columns), tf.tile(x, [rows])
    places = tf.stack([x, y, x * x, x * y, y * y], axis=1)
    places = tf.concat([places, places * (luma / color.EIGHT_BIT)[:, tf.newaxis]], axis=1)
    return luma, tf.matmul(means, differences, transpose_b=True), tf.concat([shares, places], 1)


def _around(residual, places):
    columns = tf.math.count_nonzero(places[:, 1] == places[0, 1])
    grid = tf.reshape(residual, tf.stack([1, -1, columns, 2]))
    # With this padding the means are of the cells that are there.
    mean = tf.nn.avg_pool2d(tf.cast(grid, tf.float32), 3, 1, "SAME")
    return tf.cast(tf.norm(tf.reshape(mean, (-1, 2)), axis=-1), tf.float64)


def _is_date(residual, chroma, places):
    is_left = residual > 0.5 * grayscale.RESIDUAL_LIMIT
    is_orange = (chroma[:, 0] < 0) & (chroma[:, 1] > 0)
    along = tf.concat([places, -places], axis=1) > grayscale.DATE_PLACE
    share = tf.reduce_mean(tf.cast(is_left, tf.float64))
    is_small = share <= tf.constant(grayscale.MARK_SHARE, tf.float64)
    is_along_one = tf.reduce_any(tf.reduce_all(along | ~is_left[:, tf.newaxis], axis=0))
    return is_small & tf.reduce_all(is_orange | ~is_left) & is_along_one


def _is_ink(residual, tone, places):
    is_left = residual > grayscale.INK_RESIDUAL
    share = tf.reduce_mean(tf.cast(is_left, tf.float64))
    is_small = share <= tf.constant(grayscale.MARK_SHARE, tf.float64)
    is_outside = tf.reduce_max(tf.abs(places), axis=1) > grayscale.INK_PLACE
    return (tone >= grayscale.INK_TONE) & is_small & tf.reduce_all(is_outside | ~is_left)


def _tint_residual(chroma, parts):
    """Chroma that brightness and place do not explain, [n, 2]: the robust fit of `grayscale`."""
    penalty = tf.constant(grayscale.penalty_matrix())
    penalty *= tf.cast(tf.shape(chroma)[0], tf.float64)
    weights = tf.ones((tf.shape(chroma)[0], 1), tf.float64)
    for _ in range(grayscale.FITS):
        weighted = parts * weights
        tint = tf.linalg.solve(
            tf.matmul(weighted, parts, transpose_a=True) + penalty,
            tf.matmul(weighted, chroma, transpose_a=True),
        )
        residual = chroma - tf.matmul(parts, tint)
        length = tf.norm(residual, axis=-1)
        median = _quantile(tf.sort(length), 0.5)
        scale = grayscale.FIT_SCALE * tf.maximum(tf.constant(1.0, tf.float64), median)
        weights = 1.0 / (1.0 + (length[:, tf.newaxis] / scale) ** 2)
    return residual


def _quantile(ascending, share):
    """Quantile of sorted float64 numbers, interpolated as numpy does."""
    last = tf.size(ascending) - 1
    place = share * tf.cast(last, tf.float64)
    index = tf.cast(tf.floor(place), tf.int32)
    low, high = ascending[index], ascending[tf.minimum(index + 1, last)]
    return low + (high - low) * (place - tf.floor(place))


def _shrink(luminance):
    """Resizes luminance [H,W,1] to the colorizer's square, as `chroma.shrink` does."""
    plane = luminance[tf.newaxis]
    for axis in (2, 1):
        length = tf.shape(plane)[axis]
        size = [tf.shape(plane)[1], WORKING_SIZE] if axis == 2 else [WORKING_SIZE, WORKING_SIZE]
        plane = tf.cond(
            length >= WORKING_SIZE,
            lambda plane=plane, size=size: tf.image.resize(plane, size, method="area"),
            lambda plane=plane, size=size: tf.image.resize(plane, size, method="bilinear"),
        )
    return tf.ensure_shape(plane[0], (WORKING_SIZE, WORKING_SIZE, 1))


def _axis(length, tile: int, overlap: int):
    """First pixels of the windows along one axis and their weights [windows, tile].

    The windows of `tiling.Tiles`: its ramps across the overlaps, divided by their sum.
    """
    step = tile - overlap
    alignment = min(ALIGNMENT, 2 ** (step.bit_length() - 1))
    last = -(-tf.maximum(length - tile, 0) // alignment) * alignment
    starts = tf.concat([tf.range(0, last, step - step % alignment), [last]], 0)
    place = tf.range(tile)
    side = tf.constant(np.concatenate([ramp(overlap), np.ones(tile - overlap)]))
    index = tf.range(tf.size(starts))[:, tf.newaxis]
    rising = tf.where(index > 0, side, 1.0)
    falling = tf.where(index < tf.size(starts) - 1, side[::-1], 1.0)
    window = rising * falling
    pixels = starts[:, tf.newaxis] + place
    total = tf.math.unsorted_segment_sum(window, pixels, last + tile)
    return starts, tf.cast(window / tf.gather(total, pixels), tf.float32)


def _keep_means(restored, luminance):
    """`means.keep` on tensors: the same numbers in TensorFlow operations."""
    height, width = tf.shape(restored)[0], tf.shape(restored)[1]
    columns = _mirrored(-means.MARGIN, width + means.MARGIN, width)

    def compute(band, top):
        # Beyond the picture is its mirror image.
        rows = tf.shape(band)[0]
        taken = _mirrored(top - means.MARGIN, top + rows + means.MARGIN, height)
        original, given = (
            tf.gather(tf.gather(plane, taken), columns, axis=1)[tf.newaxis]
            for plane in (luminance, restored)
        )
        kept = _kept_means(original, given, tf.minimum(height, width) < means.LEAST_SIDE)[0]
        return kept[means.MARGIN : means.MARGIN + rows, means.MARGIN : means.MARGIN + width]

    return _by_bands(restored, tf.float32, 1, compute, least_rows=means.LEAST_ROWS)


def _kept_means(original, restored, is_small):
    """The blend of planes [1,H,W,1] and their restored versions."""
    change = restored - original

    def moved(change):
        found = [tf.abs(_mean(change, side)) for side in means.SIDES]
        return functools.reduce(tf.maximum, found)

    def blend():
        ratio = _noise_ratio(original)
        noise = tf.where(is_small, _ramp(ratio, *means.NOISE_SMALL), _ramp(ratio, *means.NOISE))
        pattern = _is_pattern(original)
        kept = change
        for _ in range(means.PASSES):
            now = moved(kept)
            weight = tf.minimum(
                1.0 - pattern * (1.0 - means.ALLOWED / tf.maximum(now, means.ALLOWED)),
                1.0 - noise * (1.0 - means.ALLOWED_NOISE / tf.maximum(now, means.ALLOWED_NOISE)),
            )
            kept *= _mean(_smallest(weight, means.WINDOW), means.WINDOW)
        return original + kept

    # Most bands of photos need none of it.
    is_kept = tf.reduce_max(moved(change)) <= means.ALLOWED
    return tf.cond(is_kept, lambda: restored, blend)


def _is_pattern(plane):
    detail = plane - _mean(plane, means.DETAIL)
    mean = _mean(plane, means.REACH)
    variance = tf.maximum(_mean(plane * plane, means.REACH) - mean * mean, 0.0)
    power = _mean(detail * detail, means.WINDOW)
    energy = _ramp(power / (variance + means.EPSILON_VARIANCE), *means.ENERGY)
    energy = _opened(energy, means.ENERGY_SIDE)
    extent = _largest(plane, means.WINDOW) - _smallest(plane, means.WINDOW)
    steps = _largest(tf.abs(detail), means.WINDOW) / (extent + means.EPSILON_RANGE)
    steps = _opened(_ramp(steps, *means.STEPS), means.STEPS_SIDE)
    pattern = tf.maximum(energy, steps)
    strong = tf.minimum(pattern, _ramp(power, *means.STRONG))
    strong = _opened(strong, means.STEPS_SIDE)
    near = _mean(strong, means.NEAR_SIDE) * (means.NEAR_SIDE / means.STEPS_SIDE) ** 2
    return tf.minimum(tf.maximum(pattern, near), 1.0)


def _noise_ratio(plane):
    near = _filtered(plane, means.FINE)
    coarse = _filtered(_mean(plane, means.DETAIL), means.COARSE)
    coarse_variance = _mean(coarse * coarse, means.NOISE_SIDE) + means.EPSILON_VARIANCE
    return _mean(near * near, means.NOISE_SIDE) / coarse_variance


def _filtered(planes, taps):
    """One filter along both axes; what it makes of borders lies beyond the margin that is cut."""
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        planes = tf.nn.conv2d(planes, tf.constant(taps.reshape(shape)), 1, "SAME")
    return planes


def _ramp(values, low, high):
    return tf.clip_by_value((values - low) / (high - low), 0.0, 1.0)


def _mean(planes, side):
    """Mean over squares; average pooling divides by the pixels that are there, at borders too."""
    planes = tf.nn.avg_pool2d(planes, (side, 1), 1, "SAME")
    return tf.nn.avg_pool2d(planes, (1, side), 1, "SAME")


def _largest(planes, side):
    planes = tf.nn.max_pool2d(planes, (side, 1), 1, "SAME")
    return tf.nn.max_pool2d(planes, (1, side), 1, "SAME")


def _opened(planes, side):
    return _largest(_smallest(planes, side), side)


def _smallest(planes, side):
    return -_largest(-planes, side)


def _with_room(plane):
    """`tiling.with_room` on [H,W,1]; returns what is seen, and the first row and column of it."""
    height, width = tf.shape(plane)[0], tf.shape(plane)[1]
    is_small = tf.minimum(height, width) < SMALL
    first = []
    for axis, length in enumerate((height, width)):
        missing = tf.where(is_small, tf.maximum(ROOM - length, 0), 0)
        first.append(missing // 2)
        place = _mirrored(-first[-1], length + missing - first[-1], length)
        plane = tf.gather(plane, place, axis=axis)
    return plane, *first


def _mirrored(start, end, length):
    """Indices of what lies at `start` to `end` where pixels go on mirrored without end."""
    place = tf.math.floormod(tf.range(start, end), 2 * length)
    return tf.minimum(place, 2 * length - 1 - place)


def _bands(height, width, least_rows=1):
    """First rows of bands of about a megapixel, and the rows of a band."""
    rows = tf.maximum(_BAND // width, least_rows)
    return tf.range(0, height, rows), rows


def _by_bands(image, dtype, channels, compute, *, least_rows=1):
    """Joins `compute(band of rows, first row)` over the picture, one band at a time."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    tops, rows = _bands(height, width, least_rows)

    def work(index, parts):
        top = tops[index]
        part = compute(image[top : top + rows], top)
        return index + 1, parts.write(index, part)

    parts = tf.TensorArray(
        dtype, size=tf.size(tops), element_shape=(None, None, channels), infer_shape=False
    )
    _, parts = tf.while_loop(
        lambda index, parts: index < tf.size(tops), work, (0, parts), parallel_iterations=1
    )
    return tf.reshape(parts.concat(), (height, width, channels))


def _luminance(image):
    return _by_bands(
        image, tf.float32, 1, lambda band, top: color.rgb_to_luminance(color.to_float(band))
    )


def _compose(image, source, restored, strength, is_grayscale, lines):
    """Puts luminance and chroma together, as `pipeline` does."""
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    position, following, weight = _positions(0, width, width, tf.shape(lines)[1])
    weight = weight[:, tf.newaxis]
    lines = tf.gather(lines, position, axis=1) * (1 - weight) + (
        tf.gather(lines, following, axis=1) * weight
    )

    def guided(top, luminance):
        rows = tf.shape(luminance)[0]
        position, following, weight = _positions(top, rows, height, WORKING_SIZE)
        weight = weight[:, tf.newaxis, tf.newaxis]
        band = tf.gather(lines, position) * (1 - weight) + tf.gather(lines, following) * weight
        return tf.clip_by_value(band[..., :2] * luminance + band[..., 2:], -1.0, 1.0)

    def compute(band, top):
        end = top + tf.shape(band)[0]
        mixed = source[top:end] + strength * (restored[top:end] - source[top:end])
        # The pipeline gives the colorizer what stage 1 gave, but guides by the blend.
        chroma = tf.cond(
            is_grayscale,
            lambda: guided(top, mixed),
            lambda: color.rgb_to_lab(color.to_float(band))[1],
        )
        return color.from_float(_inside_gamut(mixed, chroma), "uint8")

    return _by_bands(image, tf.uint8, 3, compute)


def _inside_gamut(luminance, chroma):
    """`color.recompose`, whose search for the boundary runs on the pixels that need it only."""
    luminance = tf.clip_by_value(luminance, 0.0, 1.0)
    rgb = color.lab_to_rgb(luminance, chroma)
    outside = tf.where(tf.reduce_any((rgb < 0.0) | (rgb > 1.0), axis=-1))
    reduced = color.recompose(tf.gather_nd(luminance, outside), tf.gather_nd(chroma, outside))
    return tf.tensor_scatter_nd_update(rgb, outside, reduced)


def _positions(start, count, length, small):
    """Where full-size pixels lie among small ones; see `chroma`."""
    place = (tf.cast(tf.range(start, start + count), tf.float32) + 0.5) * (
        tf.cast(small, tf.float32) / tf.cast(length, tf.float32)
    ) - 0.5
    place = tf.clip_by_value(place, 0.0, tf.cast(small - 1, tf.float32))
    index = tf.cast(tf.floor(place), tf.int32)
    return index, tf.minimum(index + 1, small - 1), place - tf.floor(place)


def _write_warmup(version: Path, servable: str, side: int) -> None:
    """Writes the requests that TensorFlow Serving runs before a version takes traffic."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    grey = tf.fill((side, side, 3), tf.constant(128, tf.uint8))
    file = version / contract.WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with contextlib.closing(tf.io.TFRecordWriter(str(file))) as writer:
        for signature, inputs in (
            (
                contract.DEFAULT_SIGNATURE,
                {contract.IMAGE_BYTES: [tf.io.encode_png(grey).numpy()]},
            ),
            (
                contract.IMAGE_SIGNATURE,
                {contract.IMAGE: grey[tf.newaxis], contract.STRENGTH: [1.0]},
            ),
        ):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = servable
            request.model_spec.signature_name = signature
            for name, value in inputs.items():
                dtype = tf.float32 if name == contract.STRENGTH else None
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value, dtype=dtype))
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request)
            )
            writer.write(log.SerializeToString())
