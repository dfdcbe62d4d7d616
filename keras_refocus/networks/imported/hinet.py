"""HINet: weights of Chen et al. 2021 for GoPro, REDS and SIDD."""

from keras_refocus.networks.imported.family import Family, Tensors


def _matches(tensors: Tensors) -> bool:
    return "conv_01.weight" in tensors and "sam12.conv1.weight" in tensors


def _options(tensors: Tensors) -> dict:
    depth = 1
    while f"down_path_1.{depth}.conv_1.weight" in tensors:
        depth += 1
    return {
        "width": tensors.shape("conv_01.weight")[0],
        "depth": depth,
        "normalized": tuple(
            scale for scale in range(depth) if f"down_path_1.{scale}.norm.weight" in tensors
        ),
        "signal": "rgb",
    }


def _block(tensors: Tensors, name: str, layer: str) -> None:
    for theirs, ours in (("conv_1", "conv1"), ("conv_2", "conv2"), ("identity", "identity")):
        tensors.convolution(f"{name}.{theirs}", f"{layer}_{ours}")
    if f"{name}.norm.weight" in tensors:
        weights = [tensors.take(f"{name}.norm.{part}") for part in ("weight", "bias")]
        tensors.put(f"{layer}_norm", *weights)


def _convert(tensors: Tensors, options: dict) -> None:
    depth = options["depth"]
    for stage in (1, 2):
        tensors.convolution(f"conv_0{stage}", f"stem{stage}")
        for scale in range(depth):
            name = f"down_path_{stage}.{scale}"
            _block(tensors, name, f"stage{stage}_down{scale}")
            if scale == depth - 1:
                break
            tensors.convolution(f"{name}.downsample", f"stage{stage}_halve{scale}")
            if stage == 2:
                tensors.convolution(f"{name}.csff_enc", f"stage2_encoded{scale}")
                tensors.convolution(f"{name}.csff_dec", f"stage2_decoded{scale}")
        for step in range(depth - 1):
            scale = depth - 2 - step
            tensors.transposed(f"up_path_{stage}.{step}.up", f"stage{stage}_double{scale}")
            _block(tensors, f"up_path_{stage}.{step}.conv_block", f"stage{stage}_up{scale}")
            tensors.convolution(f"skip_conv_{stage}.{step}", f"stage{stage}_skip{scale}")
    tensors.convolution("sam12.conv1", "attention_features")
    tensors.convolution("sam12.conv2", "attention_picture")
    tensors.convolution("sam12.conv3", "attention_weights")
    tensors.convolution("cat12", "merge")
    tensors.convolution("last", "residual")


FAMILY = Family(
    name="hinet",
    title="HINet",
    purpose="motion blur (GoPro, REDS) or the noise of phones (SIDD), as its file is called",
    generator="hinet",
    paper=(
        "Chen, Lu, Zhang, Chu, Chen: HINet: Half Instance Normalization Network for Image "
        "Restoration. CVPR Workshops 2021"
    ),
    address="https://github.com/megvii-model/HINet",
    trained_on="GoPro, REDS or SIDD, as its file is called",
    code_licence="MIT, parts Apache-2.0",
    weights_licence="none stated beside that of the code",
    terms="unstated",
    verified="small random networks of the authors' code; no file of the authors has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
)
