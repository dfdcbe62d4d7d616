"""Measure what `refocus video` does beside restoring frame by frame and beside FFmpeg's filters.

    refocus benchmark video --pairs REDS --photos photo.png --clips clips/

Blurred clips come from pairs (frames of one sequence share what stands before the last `_` of their
names) and from photos over which a shaken camera moves. Luma is compared with the truth; the warp
error is the RMS difference of neighbouring results after warping by the flow of the truth. Frames
in between are measured on clips whose every second frame is left out.
"""

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_refocus.engines import contract, local
from keras_refocus.engines import options as engine_options
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras, machine, memory
from keras_refocus.system import options as shared_options
from keras_refocus.video import (
    colors,
    containers,
    frames,
    interpolation,
    optical_flow,
    steadiness,
)

_BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)

# Frames of a clip that are used for interpolation; every second one is left out.
_SPAN = 9

# Frames of a clip that are coloured, and of these the ones that are coloured alone, too.
_COLOURED, _ALONE = 10 * colors.EVERY + 1, colors.EVERY + 1

# Frames of a sharp clip that are restored to see what is lost.
_SHARP = 5

# The exposure is this share of the time between two frames, in as many moments.
_SHUTTER, _MOMENTS = 0.8, 17

# Standard deviation of its noise: one code of 8 bits.
_NOISE = 0.004

Clip = dict[str, np.ndarray]


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("video", "Measuring videos", "av")
    if not (arguments.pairs or arguments.photos or arguments.clips):
        parser.error("give --pairs, --photos or --clips")
    memory.keep_memory(large=False)
    optical_flow.single_thread()
    figures: dict[str, Any] = {"machine": machine.describe()}
    try:
        clips = _blurred_clips(arguments)
        if clips:
            console.import_tensorflow()
            restorer = pipeline.Restorer(local.LocalEngine(arguments.models))
            options = pipeline.RestoreOptions(restorer=arguments.model)
            restorer.check_models(options)
            figures["blurred"], figures["sharp"] = _restored_clips(clips, restorer, options)
        if arguments.clips:
            videos = _videos(arguments.clips)
            correct = _correction(arguments)
            figures["between"] = {
                p.stem: _between(_middle(p, arguments.crop), correct) for p in videos
            }
            if arguments.colorizer:
                console.import_tensorflow()
                engine = local.LocalEngine(arguments.models)
                engine.versions(arguments.colorizer)
                figures["colours"] = {
                    p.stem: _colours(_small_middle(p), engine, arguments.colorizer) for p in videos
                }
    except (OSError, ValueError) as error:
        parser.error(str(error))
    figures["fusion_seconds_720p"] = fusion_seconds()
    figures["bars"] = bars(figures)
    print(json.dumps(figures, indent=2) if arguments.json else _table(figures))
    return None


# Clips whose truth is known.


def _blurred_clips(arguments: argparse.Namespace) -> dict[str, Clip]:
    """Blurred and sharp luma, float32 (frames, height, width), by name of the clip."""
    clips: dict[str, Clip] = {}
    if arguments.pairs:
        for name, paths in _sequences(arguments.pairs).items():
            chosen = paths[: arguments.frames]
            clips[name] = {
                side: np.stack([_luma(path, arguments.crop) for path in several])
                for side, several in zip(
                    ("blurred", "sharp"), zip(*chosen, strict=True), strict=True
                )
            }
    for number, path in enumerate(arguments.photos or ()):
        clips[f"shake {path.stem}"] = shaken(
            color.to_float(images.read(path).rgb) @ _BT709,
            frames=arguments.frames,
            size=(arguments.crop[1], arguments.crop[0]),
            seed=number,
        )
    return clips


def _sequences(folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    """Pairs of the folders `blur` and `sharp`, by what their names begin with."""
    found: dict[str, list[tuple[Path, Path]]] = {}
    for path in sorted((folder / "blur").glob("*")):
        sharp = folder / "sharp" / path.name
        if path.suffix.lower() in images.SUFFIXES and sharp.exists():
            found.setdefault(path.stem.rpartition("_")[0], []).append((path, sharp))
    if not found:
        raise FileNotFoundError(
            f"Pairs must lie in 'blur' and 'sharp'. Received: '{folder}', without any."
        )
    return found


def _luma(path: Path, crop: tuple[int, int]) -> np.ndarray:
    return _cropped(color.to_float(images.read(path).rgb) @ _BT709, crop)


def _cropped(plane: np.ndarray, crop: tuple[int, int]) -> np.ndarray:
    """The middle of a plane."""
    width, height = crop
    top, left = max(plane.shape[0] - height, 0) // 2, max(plane.shape[1] - width, 0) // 2
    return plane[top : top + height, left : left + width]


def shaken(picture: np.ndarray, *, frames: int, size: tuple[int, int], seed: int) -> Clip:
    """What a shaken camera films of a photo.

    Args:
        picture: Luma, float32 (height, width) in [0, 1].
        frames: Of the clip.
        size: Height and width of a frame; smaller where the photo is.
        seed: Of the path.

    Returns:
        `blurred` and `sharp`, float32 (frames, height, width): the sum of light during the
        exposure, with noise of a code, and its middle.
    """
    margin = 40
    height = min(size[0], picture.shape[0] - 2 * margin)
    width = min(size[1], picture.shape[1] - 2 * margin)
    if min(height, width) < 64:
        raise ValueError(
            f"A photo must be at least 144 pixels high and wide. Received: {picture.shape}."
        )
    rng = np.random.default_rng(seed)
    moments = np.arange(frames)[:, np.newaxis] + np.linspace(0, _SHUTTER, _MOMENTS)
    # Tremor of several speeds: some frames are taken near a turning point and are sharp.
    path = np.zeros((*moments.shape, 2))
    for period, reach in ((9.0, 14.0), (4.3, 6.0), (2.1, 2.5)):
        phase = rng.uniform(0, 2 * np.pi, 2)
        angle = 2 * np.pi * moments[..., np.newaxis] / period + phase
        path += reach * rng.uniform(0.6, 1.0, 2) * np.sin(angle)
    light = np.power(picture, 2.2)
    clip: dict[str, list[np.ndarray]] = {"blurred": [], "sharp": []}
    for places in path:
        seen = [_moved(light, place, margin, (height, width)) for place in places]
        noise = rng.normal(0, _NOISE, (height, width))
        blurred = np.power(np.clip(np.mean(seen, axis=0), 0, 1), 1 / 2.2) + noise
        clip["blurred"].append(color.to_float(color.from_float(blurred, np.uint8)))
        clip["sharp"].append(np.power(np.clip(seen[_MOMENTS // 2], 0, 1), 1 / 2.2))
    return {side: np.stack(several).astype(np.float32) for side, several in clip.items()}


def _moved(light, place, margin, size):
    matrix = np.float32([[1, 0, -margin - place[0]], [0, 1, -margin - place[1]]])
    return cv2.warpAffine(
        light, matrix, size[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


# Restoration.


def _restored_clips(
    clips: dict[str, Clip], restorer: pipeline.Restorer, options: pipeline.RestoreOptions
) -> tuple[dict[str, Any], dict[str, Any]]:
    blurred, sharp = {}, {}
    total = sum(len(c["sharp"]) + len(c["sharp"][:_SHARP]) for c in clips.values())
    with console.progress_bar(total) as bar:

        def alone(planes):
            results = []
            for plane in planes:
                tensor = plane[np.newaxis, ..., np.newaxis]
                results.append(restorer.restore_luminance(tensor, options)[0, ..., 0])
                bar.update()
            return np.stack(results)

        for name, clip in clips.items():
            blurred[name] = _compare(clip, alone(clip["blurred"]))
            few = clip["sharp"][:_SHARP]
            restored = alone(few)
            sharp[name] = {
                "per_frame_db": _decibels(restored, few),
                "video_db": _decibels(fuse_all(few, restored), few),
            }
    return blurred, sharp


def _compare(clip: Clip, alone: np.ndarray) -> dict[str, dict[str, float]]:
    truth = clip["sharp"]
    rows = {
        "input": clip["blurred"],
        "input, unsharp": _filtered(clip["blurred"], "unsharp"),
        "per frame": alone,
        "per frame, tmix": _filtered(alone, "tmix", "frames=3"),
        "per frame, atadenoise": _filtered(alone, "atadenoise", "s=5"),
        "video": fuse_all(clip["blurred"], alone),
    }
    motions = _motions(truth)
    return {
        name: {"db": _decibels(planes, truth), "warp": _warp_error(planes, motions)}
        for name, planes in rows.items()
    }


def fuse_all(before: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """All frames of a clip fused with their neighbours, float32 (frames, height, width)."""
    prepared = [steadiness.prepare(*pair) for pair in zip(before, restored, strict=True)]
    count, reach = len(prepared), steadiness.REACH
    near = {
        index: [j for j in range(index - reach, index + reach + 1) if 0 <= j < count and j != index]
        for index in range(count)
    }
    planes = [optical_flow.as_bytes(plane) for plane in restored]
    pairs = [(index, other) for index, several in near.items() for other in several]
    with ThreadPoolExecutor(machine.usable_cores()) as pool:
        flows = dict(
            zip(
                pairs,
                pool.map(
                    lambda pair: optical_flow.estimate(planes[pair[0]], planes[pair[1]]), pairs
                ),
                strict=True,
            )
        )
    return np.stack(
        [
            steadiness.fuse(
                prepared[index],
                {other - index: prepared[other] for other in several},
                {other - index: (flows[index, other], flows[other, index]) for other in several},
            )
            for index, several in near.items()
        ]
    )


def _filtered(planes: np.ndarray, name: str, settings: str | None = None) -> np.ndarray:
    """What one of FFmpeg's filters makes of frames."""
    import av

    graph = av.filter.Graph()
    height, width = planes.shape[1:]
    source = graph.add_buffer(width=width, height=height, format="gray", time_base=Fraction(1, 30))
    steps = [
        source,
        graph.add(name, settings),
        graph.add("format", "gray"),
        graph.add("buffersink"),
    ]
    for one, other in itertools.pairwise(steps):
        one.link_to(other)
    graph.configure()
    results = []
    for index, plane in enumerate([*planes, None]):
        if plane is None:
            graph.push(None)
        else:
            graph.push(_gray(plane, index))
        results += list(_pulled(graph))
    shown = [color.to_float(frames.view(frame, 0)) for frame in results]
    return np.stack(shown[: len(planes)])


def _gray(plane: np.ndarray, pts: int) -> Any:
    import av

    frame = av.VideoFrame(plane.shape[1], plane.shape[0], "gray")
    frames.view(frame, 0)[...] = optical_flow.as_bytes(plane)
    frame.color_range = frames.FULL
    frame.pts, frame.time_base = pts, Fraction(1, 30)
    return frame


def _pulled(graph: Any):
    import av

    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _motions(truth: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Flow from each frame of the truth to the one before, and where it can be trusted."""
    motions = []
    for previous, current in itertools.pairwise(truth):
        there = optical_flow.estimate(current, previous, "medium")
        back = optical_flow.estimate(previous, current, "medium")
        motions.append((there, optical_flow.consistency(there, back) > 0))
    return motions


def _warp_error(planes: np.ndarray, motions: list[tuple[np.ndarray, np.ndarray]]) -> float:
    squares = [
        np.square(optical_flow.warp(previous, motion) - current)[trusted].mean()
        for (previous, current), (motion, trusted) in zip(
            itertools.pairwise(planes), motions, strict=True
        )
    ]
    return 100 * float(np.sqrt(np.mean(squares)))


def _decibels(planes: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the frames; frames that equal the truth count as 100 dB."""
    errors = np.square(planes - truth).mean(axis=(1, 2))
    return float(np.mean(-10 * np.log10(np.maximum(errors, 1e-10))))


# Frames in between.


def _videos(folder: Path) -> list[Path]:
    found = [path for path in sorted(folder.iterdir()) if containers.is_video(path)]
    if not found:
        raise FileNotFoundError(f"The folder must hold videos. Received: '{folder}'.")
    return found


def _middle(path: Path, crop: tuple[int, int]) -> np.ndarray:
    """Luma of frames from the middle of the longest scene of a clip."""
    found = containers.survey(path)
    start, end = _longest_scene(found)
    if end - start < _SPAN:
        raise ValueError(
            f"A clip must have a scene of at least {_SPAN} frames. Received: '{path}'."
        )
    first = start + (end - start - _SPAN) // 2
    read = containers.read(found, first, first + _SPAN)
    return np.stack([_cropped(frames.luma(frame, found.layout), crop) for _, frame in read])


def _longest_scene(found: containers.Survey) -> tuple[int, int]:
    scenes = zip(found.scene_starts, [*found.scene_starts[1:], len(found.frames)], strict=True)
    return max(scenes, key=lambda scene: scene[1] - scene[0])


def _correction(arguments: argparse.Namespace) -> interpolation.Correction | None:
    """The learned correction that was named, if one was."""
    if not arguments.interpolator:
        return None
    console.import_tensorflow()
    engine = local.LocalEngine(arguments.models)
    return lambda seen: engine.correct(seen[np.newaxis], model=arguments.interpolator)[0]


def _between(
    planes: np.ndarray, correct: interpolation.Correction | None = None
) -> dict[str, float]:
    kept, left_out = planes[::2], planes[1::2]

    def made(make: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        return np.stack([make(one, other) for one, other in itertools.pairwise(kept)])

    def moved(one, other, change=None):
        there = optical_flow.estimate(one, other, interpolation.FLOW)
        back = optical_flow.estimate(other, one, interpolation.FLOW)
        return interpolation.between([one], [other], there, back, 0.5, correct=change)[0]

    rows = {
        "repeat": made(lambda one, other: one),
        "blend": made(lambda one, other: (one + other) / 2),
        "minterpolate": _minterpolate(kept),
        "video": made(moved),
    }
    if correct is not None:
        rows["video --best"] = made(lambda one, other: moved(one, other, correct))
    return {name: _decibels(several, left_out) for name, several in rows.items()}


def _minterpolate(kept: np.ndarray) -> np.ndarray:
    """Frames halfway by FFmpeg's minterpolate, which looks at a frame more on each side."""
    import av

    # It gives nothing for the first and the last gaps, so the clip goes on beyond both ends.
    padded = [kept[1], *kept, kept[-2], kept[-3]]
    graph = av.filter.Graph()
    height, width = kept.shape[1:]
    base = Fraction(1, 30)
    source = graph.add_buffer(width=width, height=height, format="gray", time_base=base)
    steps = [
        source,
        graph.add("fps", "fps=30"),
        graph.add("minterpolate", "fps=60:scd=none"),
        graph.add("format", "gray"),
        graph.add("buffersink"),
    ]
    for one, other in itertools.pairwise(steps):
        one.link_to(other)
    graph.configure()
    results = {}
    for index, plane in enumerate([*padded, None]):
        graph.push(None if plane is None else _gray(plane, index))
        for frame in _pulled(graph):
            place = round(frame.pts * frame.time_base * 60)
            results[place] = color.to_float(frames.view(frame, 0))
    wanted = [2 * (index + 1) + 1 for index in range(len(kept) - 1)]
    return np.stack([results[place] for place in wanted])


# Colours.


def _small_middle(path: Path) -> list[np.ndarray]:
    """What a colorizer sees of the middle of the longest scene of a clip."""
    found = containers.survey(path)
    start, end = _longest_scene(found)
    span = min(end - start, _COLOURED)
    first = start + (end - start - span) // 2
    read = containers.read(found, first, first + span)
    return [colors.small_luminance(frames.luma(frame, found.layout)) for _, frame in read]


def _colours(
    small: list[np.ndarray], engine: contract.Engine, model: str
) -> dict[str, dict[str, float]]:
    """How much chroma changes, in a*b* units, where a grey clip is coloured.

    Args:
        small: What the colorizer sees of frames of one scene, each (size, size, 1).
        engine: Runs the colorizer.
        model: Its name.

    Returns:
        Of each frame coloured alone (the middle `_ALONE` of them), of colours carried from key
        frames coloured alone, and of those of `refocus video`: `flicker`, from frame to frame;
        `drift`, from key frame to key frame, 0 where there are too few; and the mean `chroma`.
    """
    guesses: dict[int, np.ndarray] = {}

    def colorize(luminance: np.ndarray) -> np.ndarray:
        # The same key frames are asked for with every reach.
        if id(luminance) not in guesses:
            guesses[id(luminance)] = engine.colorize(luminance[np.newaxis], model=model)[0]
        return guesses[id(luminance)]

    def colored(seen: list[np.ndarray], **settings: int) -> list[np.ndarray]:
        scene = colors.SceneColors(
            (0, len(seen)), lambda start: iter(seen[start:]), colorize, **settings
        )
        return [scene.of(index)[1] for index in range(len(seen))]

    first = max(len(small) - _ALONE, 0) // 2
    few = small[first : first + _ALONE]
    rows = {
        "per frame": (colored(few, every=1, reach=0), few),
        "key frames": (colored(small, reach=0), small),
        "video": (colored(small), small),
    }
    scale = color.LAB_PER_CHROMA
    return {
        name: {
            "flicker": scale * colors.flicker(chroma, seen),
            "drift": scale * colors.flicker(chroma[:: colors.EVERY], seen[:: colors.EVERY]),
            "chroma": scale * float(np.mean([np.hypot(c[..., 0], c[..., 1]) for c in chroma])),
        }
        for name, (chroma, seen) in rows.items()
    }


# Cost, and the bars.


def fusion_seconds(runs: int = 3) -> float:
    """Processor seconds that flows and fusion take for a 1280x720 frame."""
    rng = np.random.default_rng(0)
    picture = cv2.resize(rng.random((90, 170), np.float32), (1360, 720))
    planes = [np.ascontiguousarray(picture[:, 8 * i : 8 * i + 1280]) for i in range(5)]
    prepared = [steadiness.prepare(cv2.blur(plane, (9, 1)), plane) for plane in planes]
    taken = []
    for _ in range(runs):
        began = time.process_time()
        steadiness.prepare(planes[0], planes[0])
        # Four flows are new with each frame; the others were computed for earlier ones.
        flows = {
            distance: (
                optical_flow.estimate(planes[2], planes[2 + distance]),
                optical_flow.estimate(planes[2 + distance], planes[2]),
            )
            for distance in (1, 2)
        }
        flows |= {-distance: pair for distance, pair in flows.items()}
        neighbours = {distance: prepared[2 + distance] for distance in (-2, -1, 1, 2)}
        steadiness.fuse(prepared[2], neighbours, flows)
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def bars(figures: dict[str, Any]) -> dict[str, bool]:
    """What has to hold, and whether it does."""
    held = {
        "flows and fusion take at most 0.7 s a 720p frame": figures["fusion_seconds_720p"] <= 0.7
    }
    if "blurred" in figures:
        rows = figures["blurred"].values()
        gains = [row["video"]["db"] - row["per frame"]["db"] for row in rows]
        steadier = [row["video"]["warp"] / row["per frame"]["warp"] for row in rows]
        to_input = [row["video"]["warp"] / row["input"]["warp"] for row in rows]
        held["each clip gains at least 0.3 dB over per-frame"] = min(gains) >= 0.3
        held["clips gain at least 0.7 dB on the mean"] = statistics.mean(gains) >= 0.7
        held["warp error is at most 0.8 of per-frame on the mean"] = (
            statistics.mean(steadier) <= 0.8
        )
        held["warp error is at most 1.05 of the input's"] = statistics.mean(to_input) <= 1.05
        lost = [row["per_frame_db"] - row["video_db"] for row in figures["sharp"].values()]
        held["sharp clips lose at most 0.15 dB"] = max(lost) <= 0.15
    if "colours" in figures:
        rows = figures["colours"].values()
        share = [row["video"]["flicker"] / max(row["per frame"]["flicker"], 1e-6) for row in rows]
        drift = [row["video"]["drift"] / max(row["key frames"]["drift"], 1e-6) for row in rows]
        held["chroma flickers at most half as much as coloured by frame, on the mean"] = (
            statistics.mean(share) <= 0.5
        )
        held["chroma drifts at most half as much as of key frames alone, on the mean"] = (
            statistics.mean(drift) <= 0.5
        )
    if "between" in figures:
        rows = list(figures["between"].values())
        blend = [row["video"] - row["blend"] for row in rows]
        other = [row["video"] - row["minterpolate"] for row in rows]
        held["frames in between: 4.5 dB over blending on the mean"] = statistics.mean(blend) >= 4.5
        held["frames in between: at least minterpolate on the mean"] = statistics.mean(other) >= 0
        held["frames in between: never 0.5 dB under minterpolate"] = min(other) >= -0.5
    return held


def _table(figures: dict[str, Any]) -> str:
    lines = [f"machine: {figures['machine']}", ""]
    if "blurred" in figures:
        names = list(figures["blurred"])
        lines += [f"| dB / warp error | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
        for row in next(iter(figures["blurred"].values())):
            cells = [figures["blurred"][name][row] for name in names]
            text = " | ".join(f"{cell['db']:.2f} / {cell['warp']:.2f}" for cell in cells)
            lines.append(f"| {row} | {text} |")
        sharp = [figures["sharp"][name] for name in names]
        text = " | ".join(f"{row['per_frame_db']:.2f}, {row['video_db']:.2f}" for row in sharp)
        lines += [f"| the sharp clip: per frame, video (dB) | {text} |", ""]
    if "between" in figures:
        rows = figures["between"]
        methods = list(next(iter(rows.values())))
        lines += [f"| frames in between, dB | {' | '.join(methods)} |"]
        lines += ["|---" * (len(methods) + 1) + "|"]
        for name, row in rows.items():
            lines.append(f"| {name} | {' | '.join(f'{row[m]:.2f}' for m in methods)} |")
        means = [statistics.mean(row[method] for row in rows.values()) for method in methods]
        lines += [f"| mean | {' | '.join(f'{mean:.2f}' for mean in means)} |", ""]
    if "colours" in figures:
        rows = figures["colours"]
        methods = list(next(iter(rows.values())))
        lines += [f"| flicker / drift / chroma, a*b* | {' | '.join(methods)} |"]
        lines += ["|---" * (len(methods) + 1) + "|"]
        for name, row in rows.items():
            cells = [
                f"{cell['flicker']:.2f} / {cell['drift']:.2f} / {cell['chroma']:.1f}"
                for cell in row.values()
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    lines += [
        f"flows and fusion: {figures['fusion_seconds_720p']:.2f} processor seconds at 720p",
        "",
    ]
    lines += [f"{'met   ' if met else 'MISSED'} {bar}" for bar, met in figures["bars"].items()]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark video",
        description="Measure restored clips and frames in between.",
        epilog="example: refocus benchmark video --pairs REDS --clips clips/",
    )
    parser.add_argument(
        "--pairs", type=Path, metavar="FOLDER", help="frames of sequences in blur/ and sharp/"
    )
    parser.add_argument(
        "--photos", type=Path, nargs="+", metavar="FILE", help="sharp photos to film with a shake"
    )
    parser.add_argument(
        "--clips", type=Path, metavar="FOLDER", help="videos to leave frames out of"
    )
    parser.add_argument(
        "--frames", type=int, default=9, help="frames of each blurred clip (default: %(default)s)"
    )
    parser.add_argument(
        "--crop",
        type=shared_options.parse_size,
        default=(640, 480),
        metavar="WxH",
        help="middle of the frames that is used (default: 640x480)",
    )
    engine_options.add_models(parser)
    parser.add_argument(
        "--model", default="restorer", help="name of the restorer (default: %(default)s)"
    )
    parser.add_argument(
        "--colorizer",
        nargs="?",
        const="colorizer",
        metavar="NAME",
        help="colour the clips too, by this colorizer, and measure how much colours flicker",
    )
    parser.add_argument(
        "--interpolator",
        nargs="?",
        const="interpolator",
        metavar="NAME",
        help="measure frames in between with this correction, too",
    )
    shared_options.add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
