"""SRN: weights of Tao et al. 2018, checkpoints of TensorFlow 1 for grey or colour pictures."""

import re

from keras_refocus.networks.imported.family import Family, Tensors

_NAME = "g_net"
_BLOCK = re.compile(_NAME + r"/enc1_(\d+)/conv1/weights")
_GATES = re.compile(r".*LSTM_conv/(weights|biases)")


def _matches(tensors: Tensors) -> bool:
    return f"{_NAME}/enc1_1/weights" in tensors and f"{_NAME}/dec1_0/weights" in tensors


def _gates(tensors: Tensors) -> dict[str, str]:
    """Names of the weights and biases of the LSTM, where there is one."""
    found = (_GATES.fullmatch(name) for name in tensors.names())
    return {match[1]: match[0] for match in found if match}


def _options(tensors: Tensors) -> dict:
    channels = tensors.shape(f"{_NAME}/dec1_0/weights")[-1]
    return {
        "widths": tuple(tensors.shape(f"{_NAME}/enc{scale}_1/weights")[-1] for scale in (1, 2, 3)),
        "depth": sum(bool(_BLOCK.fullmatch(name)) for name in tensors.names()),
        "kernel_size": tensors.shape(f"{_NAME}/enc1_1/weights")[0],
        "recurrent": bool(_gates(tensors)),
        "global_skip": False,
        "signal": "gray" if channels == 1 else "rgb",
        "as_published": True,
    }


def _layer(tensors: Tensors, name: str, layer: str) -> None:
    # TensorFlow's kernels lie as those of Keras do, transposed ones too.
    weights, biases = (tensors.take(f"{_NAME}/{name}/{part}") for part in ("weights", "biases"))
    tensors.put(layer, weights, biases)


def _convert(tensors: Tensors, options: dict) -> None:
    # The number of the training's step, which the authors gave no name.
    tensors.drop("Variable")
    depth = options["depth"]
    for scale in range(3):
        _layer(tensors, f"enc{scale + 1}_1", f"encoder{scale}")
        if scale > 0:
            _layer(tensors, f"dec{scale}_{depth + 1}", f"up{scale}")
        for block in range(depth):
            # The decoder counts down.
            names = (f"enc{scale + 1}_{block + 2}", f"dec{scale + 1}_{depth - block}")
            for name, layer in zip(names, ("encoder", "decoder"), strict=True):
                for number in (1, 2):
                    ours = f"{layer}{scale}_{block}_conv{number}"
                    _layer(tensors, f"{name}/conv{number}", ours)
    _layer(tensors, "dec1_0", "residual")
    gates = _gates(tensors)
    if gates:
        tensors.put("lstm", *(tensors.take(gates[part]) for part in ("weights", "biases")))


FAMILY = Family(
    name="srn",
    title="SRN",
    purpose="motion blur; those for grey pictures see luminance as it is here",
    generator="scale_recurrent",
    paper=(
        "Tao, Gao, Shen, Wang, Jia: Scale-recurrent Network for Deep Image Deblurring. CVPR 2018"
    ),
    address="https://github.com/jiangsutx/SRN-Deblur",
    trained_on="GoPro, training half",
    code_licence="MIT",
    weights_licence="none stated beside that of the code",
    terms="unstated",
    verified=(
        "gray and lstm on random weights in the authors' code, color on small networks after it; "
        "no file of theirs has been at hand"
    ),
    matches=_matches,
    options=_options,
    convert=_convert,
)
