"""Named configurations: ours, those of the papers, and a quick one.

A preset is an instance of a `config` class; an experiment is one more preset.
"""

import difflib
from collections.abc import Mapping
from typing import Any

from keras_refocus.training.configs import (
    ColorizerConfig,
    InterpolatorConfig,
    MotionConfig,
    RestorerConfig,
)

_VGG19 = {"backbone": "vgg19", "weights": "imagenet"}

# Charbonnier, with a little of what counts in dB and of fine detail: run k in docs/experiments.md.
_RESTORER_CONTENT = {
    "charbonnier": 1.0,
    "psnr": {"weight": 0.002, "epsilon": 3e-4},
    "frequency": 0.03,
}


RESTORER_PRESETS = {
    # Ours. `python -m keras_refocus.train restorer --preset fast --photos PHOTOS`
    "fast": RestorerConfig(),
    # The first half of our network alone, which reads the blur out of local spectra: small, and it
    # learns fast. The other half joins it with
    # `refocus train restorer --generator blind_wiener --init-from runs/first ...`.
    "blind_wiener": RestorerConfig(
        generator_options={"refine": False},
        blur="clean_mixed",
        patch_size=192,
        batch_size=16,
        epochs=40,
        steps_per_epoch=100,
        learning_rate=3e-3,
        final_learning_rate=1e-5,
        warmup_steps=100,
        beta_2=0.99,
        average_decay=0.995,
        # Near to a mean in dB, but what is nearly sharp already counts no more than the rest.
        content={"psnr": {"weight": 0.01, "epsilon": 3e-4}},
    ),
    # The shipped restorer: `blind_wiener` made coarse to fine, for blur that is longer than its
    # windows. It starts from a trained network of one scale, or from one of its own kind.
    # `... --preset pyramid --init-from saved_models/restorer --photos PHOTOS --pairs PAIRS`
    "pyramid": RestorerConfig(
        generator="pyramid",
        generator_options={"scales": 3},
        blur="clean_mixed",
        # A scale more sees twice as far.
        blur_options={"blur_length": [1.0, 60.0], "few_frame_length": [1.0, 44.0]},
        patch_size=256,
        batch_size=8,
        epochs=18,
        steps_per_epoch=50,
        learning_rate=4e-4,
        final_learning_rate=1e-6,
        warmup_steps=60,
        average_decay=0.995,
        scale_weight=0.5,
        content=_RESTORER_CONTENT,
    ),
    # A smaller one of the same kind with a third of its operations, for video and phones, which
    # learns from the larger one too.
    # `... --preset fast_sibling --teacher saved_models/restorer --photos PHOTOS --pairs PAIRS`
    "fast_sibling": RestorerConfig(
        generator="pyramid",
        generator_options={
            "scales": 3,
            "features": 8,
            "width": 128,
            "gates": 4,
            "refine_options": {
                "widths": [24, 48, 96],
                "filter_size": 11,
                "motion_lengths": [3.0, 6.0],
                "motion_angles": 4,
            },
        },
        teacher_weight=0.5,
        blur="clean_mixed",
        blur_options={"blur_length": [1.0, 60.0], "few_frame_length": [1.0, 44.0]},
        patch_size=192,
        batch_size=12,
        epochs=60,
        steps_per_epoch=200,
        learning_rate=1e-3,
        final_learning_rate=1e-6,
        warmup_steps=200,
        beta_2=0.99,
        average_decay=0.995,
        scale_weight=0.5,
        content=_RESTORER_CONTENT,
    ),
    # A few pairs of one's own, on top of a network that is trained: it keeps what it knows.
    # `... --preset fine_tune --init-from saved_models/restorer --pairs MINE`
    "fine_tune": RestorerConfig(
        epochs=20,
        steps_per_epoch=50,
        batch_size=8,
        learning_rate=2e-4,
        final_learning_rate=1e-6,
        warmup_steps=50,
        # A short run: the average must follow within it.
        average_decay=0.99,
        patience=6,
    ),
    # The adversarial phase of ours, on top of a network that is trained: crisper textures, some of
    # them invented, for a little fidelity. Light: the pixel losses keep most of the say.
    # `... --preset gan_finish --init-from runs/mine --photos PHOTOS`
    "gan_finish": RestorerConfig(
        discriminator_options={"filters": 32},
        batch_size=8,
        epochs=0,
        adversarial_epochs=6,
        steps_per_epoch=300,
        content={
            "charbonnier": 1.0,
            "frequency": 0.03,
            "perceptual": {"weight": 0.01, "backbone": "mobilenet_v2", "weights": "imagenet"},
        },
        adversarial="ralsgan",
        adversarial_weight=0.005,
        adversarial_learning_rate=1e-4,
        adversarial_final_learning_rate=1e-6,
        beta_2=0.99,
    ),
    # Kupyn et al. 2018: WGAN-GP + 100 x perceptual (VGG19 conv3_3), 256x256, batches of one, five
    # critic steps, Adam 1e-4 constant for 150 epochs and falling to 0 over 150 more. Where we
    # differ: ten epochs on L1 and SSIM first; leave them out with --epochs 0 --warm-up-content {}.
    "deblurgan": RestorerConfig(
        generator="resnet",
        discriminator="critic",
        patch_size=256,
        batch_size=1,
        epochs=10,
        adversarial_epochs=300,
        steps_per_epoch=1000,
        warm_up_content={"l1": 1.0, "ssim": 0.2},
        content={"perceptual": {"weight": 100.0, **_VGG19}},
        adversarial="wgan_gp",
        adversarial_weight=1.0,
        critic_steps=5,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        schedule="linear",
        beta_1=0.5,
        beta_2=0.999,
        weight_decay=0.0,
        clip_norm=None,
    ),
    # Kupyn et al. 2019: 0.5 MSE + 0.006 perceptual + 0.01 RaLSGAN from two discriminators. Rows of
    # their ablation table are --discriminator patchgan, --adversarial wgan_gp, --generator
    # resnet, --content '{"perceptual": ...}' and --generator fpn_mobilenet_v2.
    "deblurgan_v2": RestorerConfig(
        generator="fpn_inception_resnet_v2",
        discriminator="double_scale",
        patch_size=256,
        batch_size=1,
        epochs=10,
        adversarial_epochs=300,
        frozen_epochs=3,
        steps_per_epoch=1000,
        warm_up_content={"mse": 1.0, "ssim": 0.1},
        content={"mse": 0.5, "perceptual": {"weight": 0.006, **_VGG19}},
        adversarial="ralsgan",
        adversarial_weight=0.01,
        learning_rate=1e-4,
        final_learning_rate=1e-4,
        adversarial_final_learning_rate=1e-7,
        schedule="linear",
        beta_1=0.5,
        beta_2=0.999,
        weight_decay=0.0,
        clip_norm=None,
    ),
    # A minute on a laptop, to see that everything runs.
    "quick_test": RestorerConfig(
        generator="unet",
        generator_options={"widths": [8, 16], "depths": [1, 1], "decoder_depths": [1]},
        patch_size=64,
        batch_size=4,
        epochs=2,
        steps_per_epoch=20,
        warmup_steps=5,
    ),
}


COLORIZER_PRESETS = {
    # Ours. A MobileNetV2 that knows what things are; classes of colours, of which the rare ones
    # count more (Zhang et al. 2016), and the distance to the photo's own colours, of which the
    # strong ones count more; at the working size and against discriminators only at the end.
    # `python -m keras_refocus.train colorizer --photos PHOTOS --run RUN`
    "cyclegan_color_aware": ColorizerConfig(
        generator_options={"frozen_scales": 2},
        decolorizer_options={"filters": 8, "residual_blocks": 1},
        discriminator_options={"filters": 32},
        gray_discriminator_options={"filters": 16},
        color_losses={
            "cross_entropy": 0.2,
            "color_aware": {"weight": 1.0, "strength": 5.0},
        },
        rebalance=0.8,
        tone=0.1,
        epochs=24,
        final_epochs=5,
        final_patch_size=224,
        final_batch_size=6,
        adversarial_epochs=1,
        adversarial="lsgan",
        adversarial_weight=0.02,
        cycle_weight=1.0,
        identity_weight=0.0,
        learning_rate=4e-4,
        final_learning_rate=1e-5,
        adversarial_learning_rate=2e-5,
        adversarial_final_learning_rate=1e-6,
        warmup_steps=300,
        beta_2=0.99,
    ),
    # Zhu et al. 2017, sections 4 and 7: unpaired; 256x256, batches of one; least squares, cycle 10,
    # identity half of it, 50 pictures of history; Adam 2e-4, constant for 100 epochs and falling to
    # 0 over 100 more. Our `lsgan` has a half that theirs has not in the generator's loss, so its
    # weight is 2.
    "cyclegan": ColorizerConfig(
        generator="resnet_colorizer",
        paired=False,
        color_losses={},
        patch_size=256,
        batch_size=1,
        epochs=0,
        adversarial_epochs=200,
        steps_per_epoch=1000,
        adversarial="lsgan",
        adversarial_weight=2.0,
        adversarial_learning_rate=2e-4,
        schedule="linear",
        beta_1=0.5,
        beta_2=0.999,
        weight_decay=0.0,
        clip_norm=None,
    ),
}


# Motion and light noise, with the moment in the middle of the exposure in the middle.
_MOTION_BLUR = {
    "blur_length": [2.0, 34.0],
    "few_frame": 0.0,
    "layers": [0.6, 0.3, 0.1],
    "still": 0.03,
    "noise": 0.7,
    "shot_noise": [1e-5, 5e-4],
    "read_noise": [2e-4, 2e-3],
}
_MOTION = {
    "blur_options": _MOTION_BLUR,
    "generator_options": {"widths": [16, 48, 96], "depths": [1, 1, 3], "decoder_depths": [1, 1]},
    "loss": "trajectories",
    "patch_size": 128,
    "batch_size": 6,
    "epochs": 8,
    "steps_per_epoch": 75,
    "learning_rate": 1e-3,
    "final_learning_rate": 1e-6,
    "warmup_steps": 40,
    "beta_2": 0.99,
    "average_decay": 0.98,
}

MOTION_PRESETS = {
    # Ours. `python -m keras_refocus.train motion --photos PHOTOS --run RUN`
    "motion": MotionConfig(**_MOTION),
    # The same with the picture's colours, as the standard that a coded aperture is compared with.
    "standard": MotionConfig(picture="color", **_MOTION),
    # Through the phase-coded aperture of Elmalem et al. 2020: direction is learned, too.
    "coded": MotionConfig(picture="color", coded=True, **_MOTION),
    # Jin et al. 2018: seven networks in a row, pairs of frames in either order.
    "jin": MotionConfig(
        **_MOTION | {"generator": "jin", "generator_options": {}, "loss": "jin", "warmup_steps": 50}
    ),
}

_INTERPOLATOR = {
    "patch_size": 96,
    "batch_size": 8,
    "epochs": 20,
    "steps_per_epoch": 100,
    "learning_rate": 1e-3,
    "final_learning_rate": 1e-5,
    "warmup_steps": 100,
    "beta_2": 0.99,
    "average_decay": 0.995,
}

INTERPOLATOR_PRESETS = {
    # Ours. `python -m keras_refocus.train interpolator --videos CLIPS --run RUN`
    "interpolator": InterpolatorConfig(**_INTERPOLATOR),
    # A clip of one's own, at half its rate: few steps from trained weights, see --init-from.
    "own_clip": InterpolatorConfig(
        **_INTERPOLATOR | {"epochs": 5, "learning_rate": 2e-4, "warmup_steps": 20}
    ),
    # Then an adversary, which makes crisper frames that are further from the truth.
    "adversarial": InterpolatorConfig(adversarial_epochs=10, **_INTERPOLATOR),
}


def preset(presets: Mapping[str, Any], name: str) -> Any:
    """Look a preset up.

    Raises:
        ValueError: If there is no preset of that name; the message lists them.
    """
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"`preset` must be one of {', '.join(presets)}. Received: preset={name!r}.{hint}"
        )
    return presets[name]
