"""DMPHN: weights of Zhang et al. 2019, one hierarchy or stacked ones.

The authors keep one file for each encoder and decoder, `encoder_lv1.pkl`; stacked ones have the
number of the stack in their name, `encoder_s2_lv1.pkl`.
"""

import re

from keras_refocus.networks.imported.family import Family, Tensors

_PART = re.compile(r"(?:encoder|decoder)_(?:s(\d)_)?lv(\d)\.")
# First convolution and residual blocks of each scale, in the authors' numbers.
_ENCODER = ((1, (2, 3)), (5, (6, 7)), (9, (10, 11)))
# Residual blocks and the enlarging layer, from coarse to fine.
_DECODER = (((13, 14), 16), ((17, 18), 20), ((21, 22), None))
_LAST = 24


def _parts(tensors: Tensors) -> list[tuple[int, int]]:
    """Pairs of a stack and a level, both from 1."""
    found = (_PART.match(name) for name in tensors.names())
    return [(int(match[1] or 1), int(match[2])) for match in found if match]


def _matches(tensors: Tensors) -> bool:
    stacked = "encoder_s1_lv1.layer1.weight" in tensors
    first = "encoder_s1_lv1" if stacked else "encoder_lv1"
    return all(f"{first}.layer{number}.weight" in tensors for number in (1, 5, 9))


def _options(tensors: Tensors) -> dict:
    parts = _parts(tensors)
    stacked = "encoder_s1_lv1.layer1.weight" in tensors
    prefix = "encoder_s1_lv1" if stacked else "encoder_lv1"
    return {
        "widths": tuple(
            tensors.shape(f"{prefix}.layer{number}.weight")[0] for number, _ in _ENCODER
        ),
        "levels": max(level for _, level in parts),
        "stacks": max(stack for stack, _ in parts),
        "signal": "rgb",
        "as_published": True,
        "global_skip": False,
    }


def _residual(tensors: Tensors, name: str, layer: str) -> None:
    tensors.convolution(f"{name}.0", f"{layer}_conv1")
    tensors.convolution(f"{name}.2", f"{layer}_conv2")


def _convert(tensors: Tensors, options: dict) -> None:
    stacked = "encoder_s1_lv1.layer1.weight" in tensors
    for stack in range(1, options["stacks"] + 1):
        for level in range(1, options["levels"] + 1):
            theirs = f"s{stack}_lv{level}" if stacked else f"lv{level}"
            ours = f"stack{stack}_" if stack > 1 else ""
            name, model = f"encoder_{theirs}", f"{ours}encoder{level}"
            for scale, (first, residuals) in enumerate(_ENCODER):
                tensors.convolution(f"{name}.layer{first}", f"{model}/conv{scale}")
                for block, number in enumerate(residuals):
                    _residual(tensors, f"{name}.layer{number}", f"{model}/residual{scale}_{block}")
            name, model = f"decoder_{theirs}", f"{ours}decoder{level}"
            for scale, (residuals, enlarging) in zip((2, 1, 0), _DECODER, strict=True):
                for block, number in enumerate(residuals):
                    _residual(tensors, f"{name}.layer{number}", f"{model}/residual{scale}_{block}")
                if enlarging is not None:
                    tensors.transposed(f"{name}.layer{enlarging}", f"{model}/up{scale}")
            tensors.convolution(f"{name}.layer{_LAST}", f"{model}/residual")


FAMILY = Family(
    name="dmphn",
    title="DMPHN",
    purpose="strong motion blur",
    generator="multipatch",
    paper=(
        "Zhang, Dai, Li, Koniusz: Deep Stacked Hierarchical Multi-patch Network for Image "
        "Deblurring. CVPR 2019"
    ),
    address="https://github.com/HongguangZhang/DMPHN-cvpr19-master",
    trained_on="GoPro, training half",
    code_licence="none stated",
    weights_licence="none stated",
    terms="unstated",
    verified=(
        "the authors' files DMPHN_1_2_4 give what their network gives; 1-2-4-8 and stacked ones "
        "on small random networks"
    ),
    matches=_matches,
    options=_options,
    convert=_convert,
)
