"""Train a model: `python -m keras_refocus.train restorer --photos PHOTOS --run runs/first`.

The colorizer, stage 2, is trained by the same trainer: `... colorizer --photos PHOTOS --run RUN`;
so is what makes a clip of one blurred picture: `... motion --photos PHOTOS --run RUN`; and what
corrects frames in between: `... interpolator --videos CLIPS --run RUN`.
"""

import argparse
import dataclasses
import logging
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence

from keras_refocus.system import console, extras, memory, run_files
from keras_refocus.training import configs, managed, presets

_log = logging.getLogger(__name__)


def _parser():
    parser = argparse.ArgumentParser(
        prog="refocus train",
        description="Train a model on your own pictures. A run can be stopped at any moment and "
        "goes on from its last whole epoch with --resume.",
        epilog="Example: refocus train restorer --photos my_photos --run runs/first",
    )
    stages = parser.add_subparsers(
        dest="stage", required=True, metavar="{restorer,colorizer,motion,interpolator}"
    )
    _add_restorer(stages)
    _add_colorizer(stages)
    _add_motion(stages)
    _add_interpolator(stages)
    return parser


def _add_restorer(stages):
    restorer = stages.add_parser(
        "restorer",
        help="stage 1: blurred to sharp luminance",
        description="Train the restorer (stage 1). Photos get synthetic blur on the fly; pairs "
        "are folders with blur/ and sharp/ inside. Give one of the two, or both; or "
        "a data set that `tfds build` has prepared.",
        epilog="Example: refocus train restorer --photos my_photos --run runs/first",
    )
    data = restorer.add_argument_group("data")
    _add_photos(data, "sharp photos")
    data.add_argument(
        "--videos",
        type=pathlib.Path,
        metavar="FOLDER",
        help="sharp clips instead of photos: the sharpest frame of each scene, and of each two "
        "seconds of a long one, is put into the run's folder and learned from",
    )
    data.add_argument(
        "--pairs",
        type=pathlib.Path,
        metavar="FOLDER",
        action="append",
        help="pairs of blurred and sharp pictures; may be given more than once",
    )
    data.add_argument(
        "--validation-pairs", type=pathlib.Path, metavar="FOLDER", help="validate on these pairs"
    )
    data.add_argument(
        "--teacher",
        type=pathlib.Path,
        metavar="PATH",
        help="a trained restorer, as for --init-from, whose results are learned too: for a smaller "
        "network (--teacher-weight)",
    )
    _add_validation(data)
    _add_run(restorer, configs.RestorerConfig, presets.RESTORER_PRESETS)


def _add_colorizer(stages):
    colorizer = stages.add_parser(
        "colorizer",
        help="stage 2: luminance to chroma",
        description="Train the colorizer (stage 2). Colour photos are all it needs: their grey "
        "sides are made on the fly. Grey photos among them are left out.",
        epilog="Example: refocus train colorizer --photos my_photos --run runs/color "
        '--generator-options \'{"weights": "mobilenet_v2.npz"}\'',
    )
    data = colorizer.add_argument_group("data")
    _add_photos(data, "colour photos")
    _add_validation(data)
    _add_run(colorizer, configs.ColorizerConfig, presets.COLORIZER_PRESETS)


def _add_photos(data, what):
    data.add_argument(
        "--photos",
        type=pathlib.Path,
        metavar="FOLDER",
        nargs="+",
        action="extend",
        help=f"{what}, in one folder or more",
    )


def _add_motion(stages):
    motion = stages.add_parser(
        "motion",
        help="one blurred picture to the frames of its exposure",
        description="Train a motion network: seven sharp frames out of one blurred picture. Photos "
        "are exposed on the fly while they move; high-speed clips are averaged. The restorer of "
        "--models is asked and stays as it is.",
        epilog="Example: refocus train motion --photos my_photos --run runs/motion",
    )
    data = motion.add_argument_group("data")
    _add_photos(data, "sharp photos")
    data.add_argument(
        "--clips",
        type=pathlib.Path,
        metavar="FOLDER",
        help="high-speed clips: a folder of numbered frames for each, such as train_orig of REDS",
    )
    data.add_argument(
        "--validation-clips", type=pathlib.Path, metavar="FOLDER", help="validate on these clips"
    )
    data.add_argument(
        "--models",
        type=pathlib.Path,
        metavar="FOLDER",
        help="folder with the restorer (default: the installed models)",
    )
    data.add_argument(
        "--restorer", metavar="NAME", help="name of the restorer in it (default: restorer)"
    )
    data.add_argument(
        "--examples",
        type=pathlib.Path,
        metavar="FOLDER",
        help="keep what the network sees in this folder, some 0.9 MB each: exposures are made, "
        "restored and searched for lines once, and steps take a fraction of the time",
    )
    data.add_argument(
        "--example-count",
        type=int,
        metavar="N",
        help="exposures that are kept there (default: 600)",
    )
    _add_validation(data)
    _add_run(motion, configs.MotionConfig, presets.MOTION_PRESETS)


def _add_interpolator(stages):
    interpolator = stages.add_parser(
        "interpolator",
        help="two frames of a clip to the frame between them",
        description="Train the correction of frames in between (`refocus video --fps 2x --best`). "
        "Every second frame of clips is left out and learned: a clip of one's own, too.",
        epilog="Example: refocus train interpolator --videos my_clips --run runs/between",
    )
    data = interpolator.add_argument_group("data")
    data.add_argument(
        "--videos",
        type=pathlib.Path,
        metavar="PATH",
        help="clips: a folder, or one file. What is learned from is put into the run's folder, "
        "about 40 MB a thousand frames",
    )
    data.add_argument(
        "--validation-videos", type=pathlib.Path, metavar="PATH", help="validate on these clips"
    )
    data.add_argument(
        "--every",
        type=int,
        metavar="N",
        help="look at three frames out of N; with fewer than 3 they overlap (default: 5)",
    )
    _add_record(data)
    _add_run(interpolator, configs.InterpolatorConfig, presets.INTERPOLATOR_PRESETS)


def _add_validation(data):
    """Options of the pictures of stages that learn from pictures."""
    data.add_argument(
        "--data",
        metavar="NAME",
        help="a data set that `tfds build` has prepared, instead of folders: hide, "
        "deblur_pairs/gopro and the like for the restorer, coco_lab for the colorizer",
    )
    data.add_argument(
        "--data-dir",
        type=pathlib.Path,
        metavar="FOLDER",
        help="where `tfds build` put it (default: ~/tensorflow_datasets)",
    )
    data.add_argument(
        "--validation-photos", type=pathlib.Path, metavar="FOLDER", help="validate on these photos"
    )
    _add_record(data)


def _add_record(data):
    """Options of the pictures that all stages have."""
    data.add_argument(
        "--validation-count",
        type=int,
        metavar="N",
        help="pictures to validate on after each epoch (default: 64)",
    )
    data.add_argument(
        "--data-license", metavar="TEXT", help="licence of the pictures, kept in the record"
    )
    data.add_argument(
        "--workers", type=int, metavar="N", help="processes that prepare batches; 0: none"
    )


def _add_run(stage, config_class, named):
    """Options of the run and of its configuration; the first preset is the default."""
    run = stage.add_argument_group("run")
    run.add_argument(
        "--run", type=pathlib.Path, required=True, metavar="FOLDER", help="where the run is kept"
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --run; with --epochs, --adversarial-epochs or --patience it "
        "becomes another length, and learning rates fall over that",
    )
    run.add_argument(
        "--resume-if-there",
        type=_yes_or_no,
        nargs="?",
        const=True,
        default=False,
        metavar="YES",
        help="go on if --run holds a run of this configuration, else begin one: for machines that "
        "may be taken away",
    )
    run.add_argument(
        "--model-dir",
        type=pathlib.Path,
        metavar="FOLDER",
        help="also copy the trained network and its record here when the run has ended",
    )
    run.add_argument(
        "--init-from",
        type=pathlib.Path,
        nargs="+",
        metavar="PATH",
        help="start from the weights of another run's folder, of a SavedModel, or of a .keras or "
        ".weights.h5 file; several when each holds a part of the --generator",
    )
    run.add_argument(
        "--strategy",
        choices=("mirrored", "multi-worker"),
        help="train on all GPUs of this machine, or on the machines that TF_CONFIG names",
    )
    run.add_argument(
        "--preset",
        default=None,
        metavar="NAME",
        help=f"starting point of the configuration: {', '.join(named)} "
        f"(default: {next(iter(named))})",
    )
    run.add_argument(
        "--config",
        type=pathlib.Path,
        metavar="FILE",
        help="a .toml or .json file with fields of the configuration, which win over the preset, "
        "and flags over them; or record.json of a run, whose pictures and --init-from are taken "
        "too unless others are named",
    )
    configs.add_arguments(
        stage.add_argument_group("configuration (defaults come from the preset)"), config_class
    )


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see `refocus train --help`."""
    parser = _parser()
    arguments = parser.parse_args(
        managed.arguments(list(sys.argv[1:] if argv is None else argv), os.environ)
    )
    goes_on = arguments.resume_if_there and managed.holds_run(arguments.run)
    arguments.resume = arguments.resume or goes_on
    extras.require("train", "Training", "matplotlib")
    try:
        # Before Keras is imported, which would ask for packages of that backend.
        configs.check_backend(os.environ.get("KERAS_BACKEND") or "tensorflow")
    except ValueError as error:
        parser.error(str(error))
    # What others log stays quiet: TensorFlow tells of every reduction over replicas.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("keras_refocus").setLevel(logging.INFO)
    memory.keep_memory()
    # Imported after parsing: `--help` and mistakes answer at once.
    console.import_keras()
    from keras_refocus.training import run

    kind = _kind(arguments.stage)
    try:
        told = configs.read_file(arguments.config) if arguments.config else {"config": {}}
        if told.get("stage", arguments.stage) != arguments.stage:
            raise ValueError(
                f"The record must be that of a {arguments.stage}. Received: {arguments.config}, "
                f"that of a {told['stage']}."
            )
        if arguments.resume:
            # The same command goes on with what it began; else what is asked for is a change.
            lengths = {} if goes_on else _lengths(parser, arguments, kind.config_class)
            job = kind.from_run(
                arguments.run,
                workers=arguments.workers,
                strategy=arguments.strategy,
                changes=lengths,
            )
            if goes_on:
                _refuse_others(parser, arguments, job, told["config"])
        else:
            config = _config(parser, arguments, told["config"])
            if arguments.stage == "restorer" and arguments.videos is not None:
                arguments.photos = _frames_of_videos(parser, arguments)
            elif arguments.stage == "interpolator":
                _make_triplets(parser, arguments)
            job = kind(
                folder=arguments.run,
                config=config,
                **_pictures(arguments, kind, told),
                init_from=tuple(
                    map(pathlib.Path, arguments.init_from or told.get("init_from") or ())
                ),
                workers=arguments.workers,
                strategy=arguments.strategy,
            )
        run.run(job, resume=arguments.resume)
        if arguments.model_dir is not None:
            managed.keep_model(arguments.run, arguments.model_dir)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        words = f"refocus train {arguments.stage} --run {shlex.quote(str(arguments.run))}"
        if (arguments.run / run_files.RECORD).exists():
            print(f"\nStopped. Go on with: {words} --resume", file=sys.stderr)
        else:
            print("\nStopped before the run began: nothing was kept.", file=sys.stderr)
        sys.exit(130)


def _kind(stage):
    """Class of the jobs of a stage."""
    from keras_refocus.training import (
        colorizer_job,
        interpolator_job,
        motion_job,
        restorer_job,
    )

    return {
        "restorer": restorer_job.RestorerJob,
        "colorizer": colorizer_job.ColorizerJob,
        "motion": motion_job.MotionJob,
        "interpolator": interpolator_job.InterpolatorJob,
    }[stage]


def _frames_of_videos(parser, arguments):
    """Put the sharpest frames of clips beside the run; list of their folder."""
    if arguments.photos is not None:
        parser.error("--videos are learned from instead of --photos; leave one of them out")
    extras.require("video", "Learning from videos", "av")
    from keras_refocus.video import stills

    folder = arguments.run / "frames"
    paths = stills.extract(
        stills.find(arguments.videos),
        folder,
        progress=lambda clip: _log.info("looking for sharp frames in %s", clip),
    )
    _log.info("%d frames of videos are in %s", len(paths), folder)
    return [folder]


def _make_triplets(parser, arguments):
    """Put patches of frames in between beside the run, and name their folders as its pictures."""
    from keras_refocus.video import triplets

    extras.require("video", "Learning from videos", "av")
    if arguments.every is not None and arguments.every < 1:
        parser.error(f"--every must be at least 1. Received: {arguments.every}")
    for name, places in (
        ("triplets", arguments.videos),
        ("validation_triplets", arguments.validation_videos),
    ):
        setattr(arguments, name, None)
        if places is None:
            continue
        folder = arguments.run / name
        paths = triplets.extract(
            triplets.find(places),
            folder,
            every=arguments.every or triplets.EVERY,
            progress=lambda clip: _log.info("looking for frames in between in %s", clip),
        )
        _log.info("%d patches are in %s", len(paths), folder)
        setattr(arguments, name, folder)


def _pictures(arguments, kind, told):
    """Arguments of a job about its pictures: of the flags, else of the record of a run."""
    if arguments.stage == "interpolator":
        given = {name: getattr(arguments, name) for name in ("triplets", "validation_triplets")}
    else:
        given = {
            "photos": tuple(arguments.photos or ()),
            "data": arguments.data,
            "data_dir": arguments.data_dir,
            "validation_photos": arguments.validation_photos,
        }
    if arguments.stage == "restorer":
        given |= {
            "pairs": tuple(arguments.pairs or ()),
            "validation_pairs": arguments.validation_pairs,
            "teacher": arguments.teacher,
        }
    elif arguments.stage == "motion":
        names = ("clips", "validation_clips", "models", "examples")
        given |= {name: getattr(arguments, name) for name in names}
        for name in ("restorer", "example_count"):
            if getattr(arguments, name) is not None:
                given[name] = getattr(arguments, name)
    others = {
        "validation_count": arguments.validation_count,
        "data_license": arguments.data_license,
    }
    given |= {name: value for name, value in others.items() if value is not None}
    folders = (given.get(name) for name in ("photos", "pairs", "clips", "triplets", "data"))
    if "data" in told and not any(folders):
        _log.info("pictures as in %s", arguments.config)
        return kind.pictures_of(told) | {name: value for name, value in given.items() if value}
    return given


def _grows_from(generator, other):
    """Whether a preset's generator can start from another one's weights, and so stays."""
    from keras_refocus import networks

    return networks.GROWN_FROM.get(generator) == other


def _config(parser, arguments, told):
    """The preset with what a file and the flags say, and the generator of what it starts from."""
    from keras_refocus.training import initial_weights

    named = {
        "restorer": presets.RESTORER_PRESETS,
        "colorizer": presets.COLORIZER_PRESETS,
        "motion": presets.MOTION_PRESETS,
        "interpolator": presets.INTERPOLATOR_PRESETS,
    }[arguments.stage]
    name = arguments.preset or told.pop("preset", None) or next(iter(named))
    config = presets.preset(named, name)
    told = configs.checked(type(config), told)
    if arguments.init_from:
        # A flag still wins: then the weights must fit it. Of parts no one is the network.
        (path, *others) = arguments.init_from
        network = None if others else initial_weights.network_of(path)
        if network and not _grows_from(config.generator, network["generator"]):
            config = dataclasses.replace(config, **network)
    elif name == "fine_tune":
        parser.error(
            "the preset fine_tune needs a trained network. Name one with --init-from: a run "
            "folder, a SavedModel such as saved_models/restorer, or a .keras file."
        )
    # At once: what a file says may make sense only with what a flag says.
    return configs.settled(configs.from_arguments(config, arguments, told))


def _yes_or_no(text):
    """A switch whose value may be given, as where every option has one; empty is yes."""
    known = {
        "": True,
        "true": True,
        "1": True,
        "yes": True,
        "false": False,
        "0": False,
        "no": False,
    }
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(f"must be true or false: {text!r}")
    return known[text.lower()]


def _refuse_others(parser, arguments, job, told):
    """The same command goes on with a run; one of another configuration is not the same."""
    told = {name: value for name, value in told.items() if name != "preset"}
    told = configs.checked(type(job.config), told)
    asked = configs.from_arguments(job.config, arguments, told)
    for field in dataclasses.fields(job.config):
        there, given = getattr(job.config, field.name), getattr(asked, field.name)
        if there != given:
            parser.error(
                "A run goes on with its own configuration. Received: "
                f"--{field.name.replace('_', '-')} {given}, where the run in {job.folder} has "
                f"{there}. Leave it out, or name another --run."
            )


def _lengths(parser, arguments, config_class):
    """The flags that a resumed run may be given; of others say so instead of ignoring them."""
    names = {field.name for field in dataclasses.fields(config_class)}
    given = [name for name in vars(arguments) if name in names]
    lengths = {name: getattr(arguments, name) for name in given if name in configs.LENGTHS}
    given = [name for name in given if name not in lengths]
    given += [
        name
        for name in (
            "photos",
            "videos",
            "pairs",
            "data",
            "data_dir",
            "validation_photos",
            "validation_pairs",
            "validation_count",
            "data_license",
            "teacher",
            "init_from",
            "preset",
            "config",
        )
        if getattr(arguments, name, None) is not None
    ]
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        allowed = ", ".join("--" + name.replace("_", "-") for name in configs.LENGTHS)
        parser.error(
            f"A resumed run keeps its configuration and data, but for its length ({allowed}). "
            f"Received: {flags}. Leave them out, or start another run with --init-from "
            f"{arguments.run}."
        )
    return lengths


if __name__ == "__main__":
    main()
