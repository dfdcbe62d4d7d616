"""Restores photographs: removes motion blur from the luminance, colours grey pictures.

Pictures
    color            sRGB, linear light and CIELAB; colourfulness; grey or colour; gamut
    images           read and write photos: orientation, profiles, depth, alpha, metadata
    faces            find faces and make them unrecognisable
    evaluate_grayscale
                     how often grey is taken for colour, and colour for grey
    face_misses      how many faces are not found, on photos of people
    provenance       say in a picture that its colours are a guess
    tiling           overlapping tiles out, blended back in
    flips            the mean over the mirror images of a tile
    upsampling       chroma from the colorizer's size to full size, guided by luminance

Restoring
    pipeline         Restorer: a picture in, the restored picture out
    engines          models in this process; names of models, signatures and tensors
    serving_engine   models on TensorFlow Serving, over gRPC
    servable         the whole pipeline in one graph, for clients in any language
    conversion       models as ONNX and LiteRT files

The web page
    app              how it looks, and what hangs on what
    page_actions     what its buttons do
    page_server      its routes, headers and launch
    sessions         what is kept of a visitor's pictures, and for how long
    finishing        previews and downloads, without running the networks again

Training
    config           options and presets
    exposure         blur synthesis: what a sensor integrates while camera and objects move
    exposure_sheet   a sheet of synthetic blur to look at
    integrity        damaged files, broken pairs and copies
    curation         surveys of folders, manifests, cleaned copies
    sampling         photos and pairs to training examples
    data             training examples to batches
    tfds_batches     examples of a prepared data set to batches
    networks         generators and discriminators by name
    losses           adversarial, content, perceptual, frequency and colour losses
    color_bins       chroma as 313 colours, and how rare each is
    metrics          PSNR, SSIM and colour metrics
    gan              the gradient seam, the averaged generator, what a checkpoint holds
    deblur_gan       DeblurGAN: paired training on luminance
    cycle_gan        CycleGAN: from grey to colour and back
    training         a training run, and how it goes on after a stop
    colorizer_training  what a training of the colorizer has for itself
    run_folder       files of a training run, each written whole or not at all
    replication      training on several devices or machines at once
    evaluation       figures of a restorer on pairs and photos
    alignment        a picture moved into line with its truth before it is compared
    color_evaluation figures of a colorizer on colour photos
    perceptual_metrics  LPIPS and FID, where their weights are
    classical        unsharp mask and deconvolution, to compare with

A local stand-in for TensorFlow Serving
    local_server     its gRPC services over SavedModels
    model_manager    versions loaded, served and replaced
    batching         requests joined into batches
    serving_config   its configuration files

Commands, one for each verb of `refocus`
    train evaluate export restore serve demo curate benchmark
    console          quiet TensorFlow and progress bars, for the commands
    machine          what a measurement says about where it was made
"""

import importlib
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("keras_refocus")
except PackageNotFoundError:  # run from a folder that was never installed
    __version__ = "0+unknown"

# Where each public name lives. They are imported when first asked for, so that importing the
# package (and asking a command for its help) costs neither NumPy nor TensorFlow.
_HOMES = {
    "LocalEngine": "engines",
    "RestoreOptions": "pipeline",
    "RestoreResult": "pipeline",
    "Restorer": "pipeline",
    "ServingEngine": "serving_engine",
    "ServingError": "serving_engine",
    "reblend": "pipeline",
}

__all__ = [
    "LocalEngine",
    "RestoreOptions",
    "RestoreResult",
    "Restorer",
    "ServingEngine",
    "ServingError",
    "reblend",
]


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
