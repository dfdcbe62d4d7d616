"""Training runs: configuration, losses, the gradient seam, the trainers and their jobs.

Floor 4; never meets `evaluation`.

    run              a training run from start to end, and how it goes on after a stop
    job              what a training is made of: pictures, phases, what every stage has
    restorer_job     what a training of the restorer has for itself
    colorizer_job    what a training of the colorizer has for itself
    motion_job       what a training of a motion network has for itself
    interpolator_job what a training of a correction of frames in between has for itself
    keeper           keeps the run folder true after every epoch
    run_folder       files of a training run, each written whole or not at all
    initial_weights  weights to start from: of a run, a SavedModel or a file
    optimizers       the optimizers, and how learning rates rise and fall
    managed          what SageMaker tells a job, as defaults of the command line
    devices          training on several devices or machines at once
    configs          configurations, and their flags and JSON
    presets          named configurations
    gan              the gradient seam, the averaged generator, what a checkpoint holds
    deblur_gan       DeblurGAN: paired training on luminance
    cycle_gan        CycleGAN: from grey to colour and back
    motion_model     one blurred picture to the frames of its exposure
    motion_losses    losses of frames whose direction is not known
    losses           adversarial, content, perceptual, frequency and colour losses
"""
