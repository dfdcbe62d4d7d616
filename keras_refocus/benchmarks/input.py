"""Measure what the input side delivers beside what training consumes, on this machine.

    refocus benchmark input
    refocus benchmark input photos prepared --photos my_photos --data hide coco_lab

Each kind of input is asked for batches as fast as it gives them, with the workers that training
has, and in turns with it the default training takes steps on one batch that is always there. The
ratio of the two, examples a second, should be 3 or more: then training never waits. Without
pictures of one's own, some are made: photos of 1280x960 as JPEG and pairs of 1280x720 as PNG.

"in memory" is a set that fits into memory once it was read; "read each time" one so large that
every picture is read anew. "echo 8" tells how many batches in a row are cut out of the same
pictures: what training does with such a set unless it is told otherwise (`--echo`).
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import psutil

from keras_refocus.pictures import catalogue, color
from keras_refocus.system import console, machine
from keras_refocus.system.options import add_json
from keras_refocus.training import configs, presets

KINDS = ("photos", "pairs", "prepared", "color")

_PHOTOS, _PAIRS = 24, 12
# Batches that may lie ready when the clock starts, and are not counted.
_READY = 16


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    unknown = [kind for kind in arguments.kinds if kind not in KINDS]
    if unknown or arguments.rounds < 1:
        parser.error(
            f"kinds are of {', '.join(KINDS)}, and rounds at least 1. Received: "
            f"{' '.join(unknown) or arguments.rounds}."
        )
    arguments.kinds = arguments.kinds or list(KINDS)
    try:
        config = presets.preset(presets.RESTORER_PRESETS, arguments.preset)
        if arguments.generator is not None:
            config = dataclasses.replace(config, generator=arguments.generator)
        color_config = presets.preset(presets.COLORIZER_PRESETS, arguments.color_preset)
        console.import_tensorflow()
        with tempfile.TemporaryDirectory() as folder:
            rows = _measure_all(arguments, config, color_config, pathlib.Path(folder))
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows}, indent=2))
    else:
        print(table(rows))


def measure(
    batches: Iterator, training: "Training", *, seconds: float, rounds: int
) -> dict[str, float]:
    """Measure an input and a training in turns.

    Args:
        batches: Endless iterator of tuples of arrays.
        training: What consumes them.
        seconds: Length of each measurement.
        rounds: Number of measurements of either.

    Returns:
        `delivered` and `consumed`, examples a second, and their `ratio`, medians of the rounds;
        `milliseconds` and `training_milliseconds`, processor time for an example of the input and
        of the training.
    """
    delivered, consumed, milliseconds, training_milliseconds = [], [], [], []
    for _ in range(rounds):
        rate, processor = training.rate(seconds)
        consumed.append(rate)
        training_milliseconds.append(processor)
        for _ in itertools.islice(batches, _READY):
            pass
        count, processor = 0, _processor_seconds()
        started = now = time.perf_counter()
        while now - started < seconds:
            count += len(next(batches)[0])
            now = time.perf_counter()
        delivered.append(count / (now - started))
        milliseconds.append(1000 * (_processor_seconds() - processor) / count)
    ratios = (one / other for one, other in zip(delivered, consumed, strict=True))
    return {
        "delivered": statistics.median(delivered),
        "consumed": statistics.median(consumed),
        "ratio": statistics.median(ratios),
        "milliseconds": statistics.median(milliseconds),
        "training_milliseconds": statistics.median(training_milliseconds),
    }


class Training:
    """A training that takes steps on one batch.

    Args:
        model: Compiled `gan.GAN`.
        batch: Tuple of arrays.
    """

    def __init__(self, model: Any, batch: Any):
        self._model, self._batch = model, batch
        self._step_seconds = None

    def rate(self, seconds: float) -> tuple[float, float]:
        """Examples a second, over about as many seconds; and ms of processor for an example."""
        if self._step_seconds is None:
            self._step_seconds, _ = self._fit(2)
        steps = max(2, round(seconds / self._step_seconds))
        self._step_seconds, processor = self._fit(steps)
        return len(self._batch[0]) / self._step_seconds, 1000 * processor / len(self._batch[0])

    def _fit(self, steps):
        """Seconds, and seconds of processor, of a step: the mean of some.

        One goes before them, which may have to be traced.
        """
        from keras.callbacks import LambdaCallback

        times = []

        def note():
            times.append((time.perf_counter(), time.process_time()))

        clock = LambdaCallback(
            on_train_batch_end=lambda batch, logs: note(),
            # The logs are there when the last step has been done.
            on_epoch_end=lambda epoch, logs: note(),
        )
        self._model.fit(
            (self._batch for _ in range(steps + 1)),
            steps_per_epoch=steps + 1,
            epochs=1,
            shuffle=False,
            callbacks=[clock],
            verbose=0,
        )
        return tuple(
            (last - first) / steps for first, last in zip(times[0], times[-1], strict=True)
        )


def _processor_seconds():
    """Processor time of this process and of its workers so far."""
    process = psutil.Process()
    total = 0.0
    for each in (process, *process.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(each.cpu_times()[:2])
    return total


def _measure_all(arguments, config, color_config, folder):
    inputs = _inputs(arguments, {"restorer": config, "colorizer": color_config}, folder)
    trainings, rows = {}, []
    with console.progress_bar(label="inputs") as bar:
        for kind in arguments.kinds:
            for title, stage, batches in inputs[kind]():
                if stage not in trainings:
                    trainings[stage] = _training(stage, config, color_config)
                with batches:
                    figures = measure(
                        iter(batches),
                        trainings[stage],
                        seconds=arguments.seconds,
                        rounds=arguments.rounds,
                    )
                rows.append({"input": title, "stage": stage} | figures)
                bar.update()
    return rows


def _inputs(arguments, configs_of, folder):
    """Functions by the kind of an input; each yields `(title, stage, batches)`."""
    from keras_refocus.data import sampling

    photos = pairs = None
    if {"photos", "color"} & set(arguments.kinds):
        place = arguments.photos or make_photos(folder / "photos")
        photos = tuple(catalogue.list_photos(place))
    if "pairs" in arguments.kinds or ("prepared" in arguments.kinds and not arguments.data):
        place = arguments.pairs or make_pairs(folder / "pairs")
        pairs = tuple(catalogue.list_pairs(place, split="train"))
    config, color_config = configs_of["restorer"], configs_of["colorizer"]

    def sampled(kind, stage, source, sampler=sampling.Sampler, **options):
        return lambda: _sampled(
            kind, stage, configs_of[stage], source, sampler, workers=arguments.workers, **options
        )

    return {
        "photos": sampled(
            "photos", "restorer", sampling.PhotoSource(paths=photos, blur=config.blur)
        ),
        "pairs": sampled("pairs", "restorer", sampling.PairSource(paths=pairs)),
        "prepared": lambda: _prepared(arguments, configs_of, folder, pairs),
        "color": sampled(
            "color",
            "colorizer",
            sampling.ColorSource(paths=photos, smallest_part=color_config.smallest_part),
            sampling.ColorSampler,
            tone=color_config.tone,
        ),
    }


def _sampled(kind, stage, config, source, sampler, *, workers, **options):
    """Batches that are cut from files, once with all of them in memory and once with none."""
    from keras_refocus.data import sampling
    from keras_refocus.data.workers import Batches

    for title, cache in (("in memory", {}), ("read each time", {"cache_bytes": 0})):
        if cache and stage == "restorer":
            cache["echo"] = sampling.default_echo(2 * sampling.CACHE_BYTES)
            title += f", echo {cache['echo']}"
        made = sampler(
            sources=(source,),
            shares=(1.0,),
            size=config.patch_size,
            batch_size=config.batch_size,
            seed=0,
            **options,
            **cache,
        )
        batches = Batches(made, first=0, count=sys.maxsize, workers=workers)
        yield f"{kind}, {title}", stage, batches


def _prepared(arguments, configs_of, folder, pairs):
    """Batches of data sets that `tfds build` has prepared, or of one that is made of `pairs`."""
    from keras_refocus.data import prepared

    place, names = arguments.data_dir, arguments.data
    if names is None:
        place, names = folder / "prepared", [prepare(folder / "prepared", pairs)]
    for name in names:
        stage = prepared.stage_of(name, data_dir=place)
        config = configs_of[stage]
        echo = 1
        options = {}
        if stage == "colorizer":
            options = {"smallest_part": config.smallest_part, "tone": config.tone}
        else:
            echo = prepared.DEFAULT_ECHO
        batches = prepared.TfdsBatches(
            name,
            size=config.patch_size,
            batch_size=config.batch_size,
            seed=0,
            first=0,
            count=2**40,
            echo=echo,
            workers=arguments.workers,
            data_dir=place,
            **options,
        )
        title = "pairs" if arguments.data is None else name
        yield f"prepared {title}, echo {echo}", stage, batches


def _training(stage, config, color_config):
    """The training of a preset, on noise; its weights do not matter."""
    from keras_refocus import networks
    from keras_refocus.pictures import color_bins
    from keras_refocus.training import colorizer_job, restorer_job

    rng = np.random.default_rng(0)
    chosen = config if stage == "restorer" else color_config
    shape = (chosen.batch_size, chosen.patch_size, chosen.patch_size)
    first = rng.random((*shape, 1), np.float32)
    if stage == "restorer":
        return Training(restorer_job.build_deblur_gan(config), (first, first))
    if "weights" in networks.options(color_config.generator):
        options = {"weights": None} | color_config.generator_options
        color_config = configs.from_json(
            type(color_config), configs.to_json(color_config) | {"generator_options": options}
        )
    counts = np.ones(color_bins.COUNT)
    model = colorizer_job.build_cycle_gan(color_config, color_counts=counts)
    model.adversarial_phase = False
    return Training(model, (first, 0.2 * rng.random((*shape, 2), np.float32)))


# Pictures to measure on


def _picture(seed, height, width):
    """Large shapes, finer ones, and noise: uint8 of shape `(height, width, 3)`."""
    rng = np.random.default_rng(seed)
    rgb = np.full((height, width, 3), 0.5, np.float32)
    for cells, weight in ((4, 0.6), (16, 0.3), (64, 0.15), (256, 0.08)):
        noise = rng.random((cells * 3 // 4, cells, 3), np.float32) - 0.5
        rgb += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    rgb += 0.02 * rng.standard_normal(rgb.shape, np.float32)
    return color.from_float(np.clip(rgb, 0.0, 1.0), np.uint8)


def make_photos(folder: pathlib.Path, count: int = _PHOTOS) -> pathlib.Path:
    """Write photos of 1280x960 as JPEG into a folder, and return it."""
    folder.mkdir()
    for seed in range(count):
        rgb = _picture(seed, 960, 1280)
        cv2.imwrite(str(folder / f"{seed}.jpg"), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
    return folder


def make_pairs(folder: pathlib.Path, count: int = _PAIRS) -> pathlib.Path:
    """Write pairs of 1280x720 as PNG into a folder, and return it."""
    for side in ("blur", "sharp"):
        (folder / side).mkdir(parents=True)
    for seed in range(count):
        sharp = _picture(seed, 720, 1280)
        cv2.imwrite(str(folder / f"sharp/{seed}.png"), sharp)
        cv2.imwrite(str(folder / f"blur/{seed}.png"), cv2.blur(sharp, (9, 1)))
    return folder


def prepare(folder: pathlib.Path, pairs: Sequence[tuple]) -> str:
    """Prepare pairs for TensorFlow Datasets, as the builder of HIDE does, and return the name."""
    import tensorflow_datasets as tfds

    def encode(path):
        rgb = cv2.imread(str(path))[..., ::-1]
        return color.encode_luminance(color.rgb_to_luminance(rgb))

    with tfds.core.registered.skip_registration():

        class MeasuredPairs(tfds.core.GeneratorBasedBuilder):
            """Pairs to measure on."""

            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                sides = ("blurred", "sharp")
                image = {side: tfds.features.Image(shape=(None, None, 1)) for side in sides}
                return tfds.core.DatasetInfo(
                    builder=self,
                    features=tfds.features.FeaturesDict(image),
                    supervised_keys=sides,
                )

            def _split_generators(self, dl_manager):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                for number, (blurred, sharp) in enumerate(pairs):
                    yield number, {"blurred": encode(blurred), "sharp": encode(sharp)}

    tfds.disable_progress_bar()
    builder = MeasuredPairs(data_dir=folder)
    # It tells of its progress on standard output, where the figures belong.
    with contextlib.redirect_stdout(sys.stderr):
        builder.download_and_prepare()
    return builder.name


def table(rows: list[dict]) -> str:
    """Set the figures as a Markdown table, with the machine above it.

    Args:
        rows: What `measure` returned, each with `input` and `stage`.
    """
    titles = ["input", "examples/s", "ms of processor", "training"]
    lines = [titles + ["examples/s", "ms of processor", "ratio"]]
    lines.append(["---", "---:", "---:", "---", "---:", "---:", "---:"])
    for row in rows:
        lines.append(
            [
                row["input"],
                f"{row['delivered']:.0f}",
                f"{row['milliseconds']:.1f}",
                row["stage"],
                f"{row['consumed']:.0f}",
                f"{row['training_milliseconds']:.1f}",
                f"{row['ratio']:.1f}",
            ]
        )
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{machine.describe()}\n\n{body}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="refocus benchmark input", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all of them by default"
    )
    parser.add_argument("--photos", type=pathlib.Path, metavar="FOLDER", help="photos of your own")
    parser.add_argument("--pairs", type=pathlib.Path, metavar="FOLDER", help="pairs of your own")
    parser.add_argument(
        "--data", nargs="+", metavar="NAME", help="data sets that `tfds build` has prepared"
    )
    parser.add_argument("--data-dir", type=pathlib.Path, metavar="FOLDER", help="where they are")
    parser.add_argument(
        "--preset", default="fast", metavar="NAME", help="of the restorer (default: %(default)s)"
    )
    parser.add_argument(
        "--generator", metavar="NAME", help="of the restorer, another than the preset's"
    )
    parser.add_argument(
        "--color-preset",
        default=next(iter(presets.COLORIZER_PRESETS)),
        metavar="NAME",
        help="of the colorizer (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="processes that prepare batches, as of training"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of each measurement (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="measurements of each (default: %(default)s)"
    )
    add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
