"""Options that make every network tiny, and names of networks as parameters of a test."""

import pytest

TINY_FILTER_BANK = {
    "widths": (8, 12),
    "depths": (1, 1),
    "decoder_depths": (1,),
    "stem_factor": 2,
    "filter_size": 9,
    "motion_lengths": (3.0,),
    "motion_angles": 2,
    "disk_radii": (1.0,),
    "smoothings": (5.0,),
}
TINY_BLIND_WIENER = {
    "window": 8,
    "features": 4,
    "width": 8,
    "gates": 2,
    "refine_options": TINY_FILTER_BANK,
}
# Small enough that the whole file takes seconds; everything else is as in the full size.
TINY_GENERATORS = {
    "blind_wiener": TINY_BLIND_WIENER,
    "pyramid": TINY_BLIND_WIENER | {"scales": 2},
    "filter_bank": TINY_FILTER_BANK,
    "unet": {"widths": (8, 12), "depths": (1, 1), "decoder_depths": (1,), "stem_factor": 2},
    "resnet": {"filters": 4, "residual_blocks": 2},
    "fpn_inception_resnet_v2": {"weights": None, "filters": 4, "pyramid_filters": 4},
    "fpn_mobilenet_v2": {"weights": None, "alpha": 0.35, "filters": 8, "pyramid_filters": 8},
    "fpn_mobilenet_dsc": {"weights": None, "alpha": 0.35, "filters": 8, "pyramid_filters": 8},
    "multipatch": {"widths": (4, 6)},
    "scale_recurrent": {"widths": (4, 6), "depth": 1, "kernel_size": 3, "scales": 2},
    "multiscale": {"width": 4, "residual_blocks": 1, "kernel_size": 3, "scales": 2},
    "nafnet": {
        "width": 4,
        "encoder_blocks": (1, 1),
        "middle_blocks": 1,
        "decoder_blocks": (1, 1),
        "local_window": 8,
    },
    "dncnn": {"width": 4, "depth": 4},
    "drunet": {"widths": (4, 6), "depth": 1},
    "hinet": {"width": 4, "depth": 2, "normalized": (0, 1)},
}
TINY_DISCRIMINATORS = {
    "patchgan": {"filters": 4},
    "critic": {"filters": 4},
    "double_scale": {"filters": 2},
}
TINY_COLORIZERS = {
    "mobilenet_v2_colorizer": {
        "weights": None,
        "alpha": 0.35,
        "widths": (8, 8, 8, 8, 8),
        "depths": (1, 0, 0, 0, 1),
    },
    "resnet_colorizer": {"filters": 4, "residual_blocks": 2},
    "eccv16_colorizer": {"widths": (2, 2, 3, 3), "classes": 5},
    "siggraph17_colorizer": {"widths": (2, 2, 3, 3)},
    "ddcolor_colorizer": {
        "depths": (1, 1, 1, 1),
        "widths": (4, 4, 6, 6),
        "decoder_width": 8,
        "colors": 6,
        "color_width": 8,
        "color_layers": 3,
        "heads": 2,
        "feed_forward": 6,
    },
}
TINY_DECOLORIZERS = {"resnet_decolorizer": {"filters": 4, "residual_blocks": 2}}
TINY_MOTIONS = {
    "motion_unet": {"widths": (8, 8), "depths": (1, 1), "decoder_depths": (1,)},
    "jin": {"widths": (4, 4), "depths": (1, 1), "decoder_depths": (1,)},
}
TINY_CORRECTIONS = {
    "correction_unet": {"widths": (8, 8), "depths": (1, 1), "decoder_depths": (1,)},
}
TINY = (
    TINY_CORRECTIONS
    | TINY_MOTIONS
    | TINY_GENERATORS
    | TINY_COLORIZERS
    | TINY_DECOLORIZERS
    | TINY_DISCRIMINATORS
)

# Hundreds of layers take their time whatever their width: of networks that are built alike, one is
# tested every time, and these before a release.
SLOW = {"fpn_inception_resnet_v2", "fpn_mobilenet_dsc", "jin", "ddcolor_colorizer"}


def each(names, *, slow=SLOW):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in slow else []) for name in names]
