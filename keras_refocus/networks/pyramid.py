"""Coarse to fine: blind Wiener filtering at several sizes of a picture, with the same weights."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_refocus.networks import blind_wiener, blocks


def pyramid_generator(
    *,
    scales: int = 3,
    window: int = 64,
    features: int = 16,
    width: int = 192,
    gates: int = 6,
    planes: int = 2,
    refine_options: Mapping[str, Any] | None = None,
    name: str = "pyramid",
) -> keras.Model:
    """Build a `blind_wiener` generator that begins with a small copy of the picture.

    A blur that is longer than the windows and filters of a network cannot be seen by it, and at
    half the size it is half as long. Nah et al. 2017 restore a picture at a quarter, at half and at
    its full size, each time from what came out before; Tao et al. 2018 (SRN) do so with the same
    weights at every scale, which makes the scales examples of each other: blur of all lengths
    looks alike at some scale. So does this network, whose parameters are those of one
    `blind_wiener` and two small layers more.

    Where we differ: what a finer scale sees beside its picture is not the coarser result, which
    would be a blurred picture at best, but what was *changed* there, enlarged by bilinear
    interpolation. It goes, divided by the local contrast, through a 3x3 convolution into the stem
    of the filter bank, and a share of it that is learned for each pixel is added to the result.
    Both start at zero: with the weights of a `blind_wiener` generator, of which all names are the
    same, the network is that generator at first. The coarsest scale has nothing before it. Scales
    are means over 2x2 pixels.

    `restored_at_2`, `restored_at_4` ... are the results of the coarser scales, which the training
    compares too, see `scale_weight` of `DeblurGAN`.

    Args:
        scales: Number of scales, at least 2; the coarsest is `2 ** (1 - scales)` of the size. All
            but the finest together cost a third of it at most.
        window: This and the following as in `blind_wiener_generator`.
        features: See there.
        width: See there.
        gates: See there.
        planes: See there.
        refine_options: See there; the filter bank is always there.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If there is one scale only, the window is not a power of two of at least 8, or
            an option is not positive.
    """
    blocks.check_positive(scales=scales)
    if scales < 2:
        raise ValueError(
            "`scales` must be at least 2. Received: scales=1. For one scale there is the generator "
            "'blind_wiener'."
        )
    luminance = blocks.luminance_input()
    prior = keras.Input(shape=(None, None, 1), dtype="float32", name="prior")
    at_scale = keras.Model(
        [luminance, prior],
        blind_wiener.restore(
            luminance,
            prior=prior,
            window=window,
            features=features,
            width=width,
            gates=gates,
            planes=planes,
            refine_options=refine_options,
        ),
        name="scale",
    )

    picture = blocks.luminance_input()
    padded, size = blocks.pad_to_multiple(picture, 2 ** (scales - 1))
    pictures = [padded]
    for _ in range(scales - 1):
        pictures.append(ops.average_pool(pictures[-1], 2, strides=2))
    changed = ops.zeros_like(pictures[-1])
    for scale in reversed(range(1, scales)):
        restored = blocks.mark_scale(at_scale([pictures[scale], changed]), 2**scale)
        changed = blocks.enlarge_bilinear(restored - pictures[scale])
    # The picture as it is: what is added for the scales would change its border.
    restored = at_scale([picture, blocks.crop_to_size(changed, size)])
    return keras.Model(picture, restored, name=name)
