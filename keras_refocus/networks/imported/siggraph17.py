"""SIGGRAPH17: weights of the colorizer of Zhang et al. 2017."""

from keras_refocus.networks.imported.family import Family, Tensors

# Places of the convolutions and of the normalisation in each of the authors' stages.
_STAGES = {
    1: ((0, 2), 4),
    2: ((0, 2), 4),
    3: ((0, 2, 4), 6),
    4: ((0, 2, 4), 6),
    5: ((0, 2, 4), 6),
    6: ((0, 2, 4), 6),
    7: ((0, 2, 4), 6),
    8: ((1, 3), 5),
    9: ((1,), 3),
}
# On the way up, with the stages of the way down that are added.
_UP = {8: 3, 9: 2, 10: 1}


def _matches(tensors: Tensors) -> bool:
    return "model1short10.0.weight" in tensors and "model_out.0.weight" in tensors


def _options(tensors: Tensors) -> dict:
    return {"widths": tuple(tensors.shape(f"model{stage}.0.weight")[0] for stage in (1, 2, 3, 4))}


def _convert(tensors: Tensors, options: dict) -> None:
    for stage, (convolutions, norm) in _STAGES.items():
        for layer, place in enumerate(convolutions):
            name = f"model{stage}.{place}"
            if name == "model1.0":
                # Behind luminance come the hints' two of colour and their places: zero here.
                kernel = tensors.take(f"{name}.weight").transpose(2, 3, 1, 0)
                tensors.put("conv1_0", kernel[:, :, :1], tensors.take(f"{name}.bias"))
            else:
                tensors.convolution(name, f"conv{stage}_{layer}")
        tensors.normalization(f"model{stage}.{norm}", f"norm{stage}")
    for number, stage in _UP.items():
        tensors.transposed(f"model{number}up.0", f"up{number}")
        tensors.convolution(f"model{stage}short{number}.0", f"skip{number}")
    tensors.convolution("model10.1", "conv10")
    tensors.convolution("model_out.0", "chroma")
    # Classes of colours, at which only the training looks.
    for part in ("weight", "bias"):
        tensors.drop(f"model_class.0.{part}")


FAMILY = Family(
    name="siggraph17",
    title="SIGGRAPH17",
    purpose="grey photos",
    generator="siggraph17_colorizer",
    kind="colorizer",
    paper=(
        "Zhang, Zhu, Isola, Geng, Lin, Yu, Efros: Real-Time User-Guided Image Colorization with "
        "Learned Deep Priors. SIGGRAPH 2017"
    ),
    address="https://github.com/richzhang/colorization",
    trained_on="ImageNet",
    code_licence="BSD-2-Clause",
    weights_licence="BSD-2-Clause, as the repository that offers them",
    terms="permissive",
    verified="small random networks after the authors' code; no file of theirs has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
)
