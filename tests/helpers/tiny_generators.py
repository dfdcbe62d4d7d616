"""Small random generators, and what their SavedModels give."""

import keras
import tensorflow as tf

from keras_refocus.engines import contract


def generator(channels=1, gain=1.0, seed=0):
    """A small generator of any size; random, with a gain that drives it out of range."""
    luminance = keras.Input((None, None, 1), name="luminance")
    layer = keras.layers.Conv2D(
        8, 3, padding="same", activation="relu", kernel_initializer=initializer(seed)
    )
    head = keras.layers.Conv2D(
        channels, 3, padding="same", kernel_initializer=initializer(seed + 1), dtype="float32"
    )
    outputs = keras.layers.Rescaling(gain)(head(layer(luminance)))
    return keras.Model(luminance, outputs, name="generator")


def initializer(seed):
    return keras.initializers.GlorotUniform(seed)


def run(version, luminance):
    signature = tf.saved_model.load(str(version)).signatures[contract.DEFAULT_SIGNATURE]
    return signature(luminance=tf.constant(luminance))
