"""Training runs: configuration, losses, the gradient seam, the two trainers and their jobs.

Floor 4; never meets `evaluation`.

    config         options and presets
    run            a training run, and how it goes on after a stop
    colorizer_job  what a training of the colorizer has for itself
    run_folder     files of a training run, each written whole or not at all
    devices        training on several devices or machines at once
    gan            the gradient seam, the averaged generator, what a checkpoint holds
    deblur_gan     DeblurGAN: paired training on luminance
    cycle_gan      CycleGAN: from grey to colour and back
    losses         adversarial, content, perceptual, frequency and colour losses
"""
