"""Tiny SavedModels with the contract of the real ones, for tests of serving.

A restorer multiplies luminance by `gain`, so that a test sees which version answered.
"""

from pathlib import Path

import tensorflow as tf

PLANE = tf.TensorSpec((None, None, None, 1), tf.float32, name="luminance")


def _save(module: tf.Module, function, folder) -> Path:
    # Written beside and renamed: a server that watches the folder sees a whole version or none.
    folder = Path(folder)
    part = folder.with_name(f"part-{folder.name}")
    tf.saved_model.save(module, str(part), signatures=function)
    part.rename(folder)
    return folder


def export_restorer(folder, *, gain: float = 1.0, work: int = 0) -> Path:
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

    return _save(module, serve, folder)


def export_colorizer(folder) -> Path:
    """Writes a colorizer whose chroma is (luminance / 4, -luminance / 8)."""
    module = tf.Module()

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        return {"chroma": tf.concat([luminance / 4, -luminance / 8], axis=-1)}

    return _save(module, serve, folder)


def export_sharpener(folder) -> Path:
    """Writes a restorer whose result depends on a neighbourhood of 5x5 pixels."""
    module = tf.Module()
    kernel = tf.random.stateless_normal((5, 5, 1, 1), (1, 2)) * 0.05
    module.kernel = tf.Variable(kernel)

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        detail = tf.nn.conv2d(luminance, module.kernel, 1, "SAME")
        return {"restored": tf.clip_by_value(luminance + detail, 0.0, 1.0)}

    return _save(module, serve, folder)


def export_painter(folder) -> Path:
    """Writes a colorizer of strong colours, some of them outside sRGB."""
    module = tf.Module()

    @tf.function(input_signature=[PLANE])
    def serve(luminance):
        smooth = tf.nn.avg_pool2d(luminance, 5, 1, "SAME")
        return {"chroma": tf.concat([0.6 * tf.sin(9 * luminance), 0.5 - smooth], axis=-1)}

    return _save(module, serve, folder)
