"""ECCV16: weights of the colorizer of Zhang et al. 2016."""

from keras_refocus.networks.imported.family import Family, Tensors

# Places of the convolutions and of the normalisation in each of the authors' stages.
_STAGES = (
    ((0, 2), 4),
    ((0, 2), 4),
    ((0, 2, 4), 6),
    ((0, 2, 4), 6),
    ((0, 2, 4), 6),
    ((0, 2, 4), 6),
    ((0, 2, 4), 6),
)


def _matches(tensors: Tensors) -> bool:
    return (
        "model8.6.weight" in tensors
        and "model_out.weight" in tensors
        and "model1.0.weight" in tensors
        and tensors.shape("model1.0.weight")[1] == 1
    )


def _options(tensors: Tensors) -> dict:
    return {
        "widths": tuple(tensors.shape(f"model{stage}.0.weight")[0] for stage in (1, 2, 3, 4)),
        "classes": tensors.shape("model8.6.weight")[0],
    }


def _convert(tensors: Tensors, options: dict) -> None:
    for stage, (convolutions, norm) in enumerate(_STAGES, 1):
        for layer, place in enumerate(convolutions, 1):
            tensors.convolution(f"model{stage}.{place}", f"conv{stage}_{layer}")
        tensors.normalization(f"model{stage}.{norm}", f"norm{stage}")
    tensors.transposed("model8.0", "up8")
    tensors.convolution("model8.2", "conv8_1")
    tensors.convolution("model8.4", "conv8_2")
    tensors.convolution("model8.6", "classes")
    tensors.convolution("model_out", "colors")


FAMILY = Family(
    name="eccv16",
    title="ECCV16",
    purpose="grey photos: colours chosen among 313",
    generator="eccv16_colorizer",
    kind="colorizer",
    paper="Zhang, Isola, Efros: Colorful Image Colorization. ECCV 2016",
    address="https://github.com/richzhang/colorization",
    trained_on="ImageNet",
    code_licence="BSD-2-Clause",
    weights_licence="BSD-2-Clause, as the repository that offers them",
    terms="permissive",
    verified="small random networks of the authors' code; no file of theirs has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
)
