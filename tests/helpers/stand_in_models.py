"""Tiny SavedModels with the contract of the real ones, for tests of serving.

A restorer multiplies luminance by `gain`, so that a test sees which version answered.
"""

import functools
import tempfile
from pathlib import Path

import tensorflow as tf

PLANE = tf.TensorSpec((None, None, None, 1), tf.float32, name="luminance")


def _made_once(make):
    """Make a model with the same settings once in a process, and write its files from then on."""
    made = {}

    @functools.wraps(make)
    def export(folder, **settings) -> Path:
        key = tuple(sorted(settings.items()))
        if key not in made:
            with tempfile.TemporaryDirectory() as place:
                module, function = make(**settings)
                tf.saved_model.save(module, place, signatures=function)
                files = [path for path in Path(place).rglob("*") if path.is_file()]
                made[key] = {path.relative_to(place): path.read_bytes() for path in files}
        # Written beside and renamed: a server that watches the folder sees a whole version or none.
        folder = Path(folder)
        part = folder.with_name(f"part-{folder.name}")
        for name, content in made[key].items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(content)
        part.rename(folder)
        return folder

    return export


@_made_once
def export_restorer(*, gain: float = 1.0, work: int = 0):
    """Writes a restorer to a version folder; `work` adds that many 3x3 convolutions of 16 maps."""
    module = tf.Module()
    module.gain = tf.Variable(gain)
    module.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 16, 16), (1, 2)) * 0.01)

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        maps = tf.repeat(luminance, 16, axis=-1)
        for _ in range(work):
            maps = tf.nn.relu(tf.nn.conv2d(maps, module.kernel, 1, "SAME"))
        unused = tf.reduce_mean(maps, axis=-1, keepdims=True) if work else 0.0
        return {"restored": luminance * module.gain + 1e-9 * unused}

    return module, serve


@_made_once
def export_colorizer():
    """Writes a colorizer whose chroma is (luminance / 4, -luminance / 8)."""
    module = tf.Module()

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        return {"chroma": tf.concat([luminance / 4, -luminance / 8], axis=-1)}

    return module, serve


@_made_once
def export_sharpener():
    """Writes a restorer whose result depends on a neighbourhood of 5x5 pixels."""
    module = tf.Module()
    kernel = tf.random.stateless_normal((5, 5, 1, 1), (1, 2)) * 0.05
    module.kernel = tf.Variable(kernel)

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        detail = tf.nn.conv2d(luminance, module.kernel, 1, "SAME")
        return {"restored": tf.clip_by_value(luminance + detail, 0.0, 1.0)}

    return module, serve


@_made_once
def export_painter():
    """Writes a colorizer of strong colours, some of them outside sRGB."""
    module = tf.Module()

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        smooth = tf.nn.avg_pool2d(luminance, 5, 1, "SAME")
        return {"chroma": tf.concat([0.6 * tf.sin(9 * luminance), 0.5 - smooth], axis=-1)}

    return module, serve
