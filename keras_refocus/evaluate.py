"""Measure a model: `python -m keras_refocus.evaluate restorer runs/mine --pairs my_pairs`."""

import argparse
import contextlib
import logging
import pathlib
import sys
from collections.abc import Sequence

from keras_refocus.cloud import mirror, retries, storage
from keras_refocus.system import extras, files, memory, options

_log = logging.getLogger(__name__)


def _parser():
    parser = argparse.ArgumentParser(
        prog="refocus evaluate",
        description="Measure a model on pictures whose truth is known.",
        epilog="Example: refocus evaluate restorer runs/mine --pairs my_pairs",
    )
    stages = parser.add_subparsers(
        dest="stage", required=True, metavar="{restorer,colorizer,motion,grayscale,faces}"
    )
    _add_restorer(stages)
    _add_colorizer(stages)
    _add_motion(stages)
    _add_grayscale(stages)
    _add_faces(stages)
    return parser


def _add_model(parser, servable):
    parser.add_argument(
        "model",
        nargs="?",
        type=pathlib.Path,
        metavar="MODEL",
        help=f"SavedModel folder, run folder or .keras file (default: the installed {servable})",
    )
    options.add_best_epoch(parser)


def _add_restorer(stages):
    restorer = stages.add_parser(
        "restorer",
        help="stage 1: blurred to sharp luminance",
        description="PSNR and SSIM, on luminance and on RGB, of a restorer and beside it of the "
        "blurred input, over a folder of pairs or over photos that are blurred with a fixed seed.",
        epilog="Example: refocus evaluate restorer saved_models/restorer --photos my_photos "
        "--blur evaluation none",
    )
    _add_model(restorer, "restorer")
    _add_pairs_or_photos(restorer.add_argument_group("pictures"))
    _add_patient(restorer.add_argument_group("heavy shake"))
    protocol = restorer.add_argument_group("protocol")
    protocol.add_argument(
        "--crop", type=int, metavar="N", help="restore and compare the central NxN pixels only"
    )
    options.add_border(protocol)
    options.add_tiles(protocol)
    protocol.add_argument(
        "--flips",
        action="store_true",
        help="restore as `refocus restore --best` does: the mean over four flips",
    )
    protocol.add_argument(
        "--align",
        action="store_true",
        help="before comparing, bring input and result each into line with the sharp side by a "
        "homography, as RealBlur is measured",
    )
    outputs = restorer.add_argument_group("outputs")
    options.add_score_files(outputs, storage.path_or_address)
    outputs.add_argument(
        "--sheet",
        type=storage.path_or_address,
        metavar="FILE",
        help="picture of the ten with the least gain; of more than one blur, one file each",
    )
    outputs.add_argument(
        "--write-manifest",
        type=storage.path_or_address,
        metavar="FILE",
        help="write the list of pictures with SHA-256, the blur and the seed, for --manifest",
    )


def _add_patient(group):
    group.add_argument(
        "--patient",
        action="store_true",
        help="measure `refocus restore --patient` beside the plain result, the true kernel and "
        "scikit-image, on photos that are shaken by 15 to 45 pixels; with --blur on those of that "
        "name, with --pairs on these. Of the protocol --crop counts",
    )
    group.add_argument(
        "--shake",
        nargs="+",
        metavar="NAME",
        help="of the three sets these: uniform, paths, uneven (default: all)",
    )
    group.add_argument(
        "--count", type=options.positive, metavar="N", help="photos of each set, evenly chosen"
    )
    group.add_argument("--patience", type=float, metavar="SECONDS", help="as of `refocus restore`")


def _add_pairs_or_photos(data):
    source = data.add_mutually_exclusive_group(required=True)
    place = {"type": storage.path_or_address, "metavar": "PLACE"}
    source.add_argument("--pairs", **place, help="folder or address with blur/ and sharp/ inside")
    source.add_argument("--photos", **place, help="sharp photos: folder or address (s3://b/photos)")
    data.add_argument(
        "--blur",
        nargs="+",
        metavar="NAME",
        help="synthetic blur of photos, one or more of the settings of keras_refocus.blur "
        "(evaluation, noise, defocus ...), or none: photos as they are (default: evaluation)",
    )
    data.add_argument("--seed", type=int, metavar="N", help="seed of the blur (default: 0)")
    data.add_argument(
        "--manifest",
        type=storage.path_or_address,
        metavar="FILE",
        help="take the list of pictures, the blur and the seed from this file",
    )
    data.add_argument(
        "--set",
        choices=("gopro", "hide"),
        help="the pairs are this test set: print the papers' figures for it",
    )


def _add_colorizer(stages):
    colorizer = stages.add_parser(
        "colorizer",
        help="stage 2: grey to colour",
        description="Colourfulness, chroma error, PSNR and SSIM of photos that were made grey and "
        "coloured again, beside those of the grey pictures.",
        epilog="Example: refocus evaluate colorizer saved_models/colorizer --photos my_photos "
        "--sheet sheet.jpg",
    )
    _add_model(colorizer, "colorizer")
    data = colorizer.add_argument_group("pictures")
    data.add_argument(
        "--photos",
        type=storage.path_or_address,
        metavar="PLACE",
        required=True,
        help="colour photos: a folder or an address",
    )
    data.add_argument(
        "--manifest",
        type=storage.path_or_address,
        metavar="FILE",
        help="take the list of pictures from it",
    )
    _add_color_protocol(colorizer.add_argument_group("protocol"))
    outputs = colorizer.add_argument_group("outputs")
    options.add_score_files(outputs, storage.path_or_address)
    outputs.add_argument(
        "--sheet",
        type=storage.path_or_address,
        metavar="FILE",
        help="picture of grey, coloured and true: the worst ten, then others",
    )
    outputs.add_argument(
        "--sheet-pictures", type=int, default=30, metavar="N", help="pictures on it (default: 30)"
    )


def _add_color_protocol(protocol):
    protocol.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="side in pixels of the square that the model sees (default: as restore does)",
    )
    protocol.add_argument(
        "--saturation", type=float, default=1.0, metavar="X", help="factor on the chroma"
    )
    options.add_color_tuning(protocol)
    protocol.add_argument(
        "--mirror", action="store_true", help="take the mean over the picture and its mirror image"
    )
    protocol.add_argument(
        "--frame",
        type=float,
        default=0.0,
        metavar="PART",
        help="put the grey picture into a white frame of this part of its sides, such as 0.17, and "
        "compare what lies in it (default: none)",
    )
    protocol.add_argument(
        "--old-prints",
        type=options.not_negative,
        metavar="SEED",
        help="colour old prints made of the photos with this seed (film, curve, grain, fading, "
        "scratches) instead of their grey versions",
    )
    protocol.add_argument(
        "--hints",
        type=options.not_negative,
        default=0,
        metavar="N",
        help="let a simulated user give hints of colour: 1, 5, 20 and 100 of them as far as N",
    )
    protocol.add_argument(
        "--count",
        type=options.positive,
        metavar="N",
        help="measure N photos evenly over the list (default: all)",
    )
    protocol.add_argument(
        "--lpips", type=pathlib.Path, metavar="FILE", help="weights of LPIPS: measure it as well"
    )
    protocol.add_argument(
        "--fid",
        metavar="FILE",
        help="weights of InceptionV3 without its top, or imagenet to download them: measure FID",
    )


def _add_motion(stages):
    motion = stages.add_parser(
        "motion",
        help="one blurred picture to the frames of its exposure",
        description="PSNR and SSIM of the seven frames of an exposure, made of the blurred picture "
        "alone, beside those of the blurred and of the restored picture seven times and of the "
        "classical search for lines. Photos are exposed with a fixed seed; clips are averaged.",
        epilog="Example: refocus evaluate motion runs/motion --photos my_photos",
    )
    motion.add_argument(
        "networks",
        nargs="*",
        type=pathlib.Path,
        metavar="MODEL",
        help="SavedModel folders, run folders or .keras files of motion networks; none: the "
        "baselines alone",
    )
    options.add_best_epoch(motion)
    data = motion.add_argument_group("pictures")
    source = data.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--photos",
        type=storage.path_or_address,
        metavar="PLACE",
        help="sharp photos, which move while they are exposed: folder or address",
    )
    source.add_argument(
        "--clips",
        type=pathlib.Path,
        metavar="FOLDER",
        help="high-speed clips, each a folder of numbered frames, such as train_orig of REDS",
    )
    data.add_argument(
        "--count", type=int, default=64, metavar="N", help="exposures (default: %(default)s)"
    )
    data.add_argument(
        "--size", type=int, default=192, metavar="N", help="side in pixels (default: %(default)s)"
    )
    data.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the motion (default: %(default)s)"
    )
    data.add_argument(
        "--coded", action="store_true", help="expose through the phase-coded aperture"
    )
    models = motion.add_argument_group("restorer")
    models.add_argument(
        "--models", metavar="DIR", help="folder with the restorer (default: the installed models)"
    )
    models.add_argument(
        "--restorer", default="restorer", metavar="NAME", help="its name (default: %(default)s)"
    )
    motion.add_argument(
        "--json", type=pathlib.Path, metavar="FILE", help="write the report as JSON"
    )


def _add_grayscale(stages):
    grayscale = stages.add_parser(
        "grayscale",
        help="how often grey is taken for colour, and colour for grey",
        description="How often the decision whether a photo is grey is wrong, on colour photos and "
        "on grey and toned versions of them.",
        epilog="Example: refocus evaluate grayscale my_photos --count 1000",
    )
    grayscale.add_argument(
        "photos",
        type=storage.path_or_address,
        metavar="PLACE",
        help="colour photos, also in sub-folders; or an address",
    )
    grayscale.add_argument(
        "--count",
        type=int,
        default=1000,
        metavar="N",
        help="photos, at most (default: %(default)s)",
    )
    grayscale.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the choice (default: %(default)s)"
    )


def _add_faces(stages):
    faces = stages.add_parser(
        "faces",
        help="how many faces are not found",
        description="How many faces are not found, and would not be blurred, in photos of people.",
        epilog="Example: refocus evaluate faces people --points faces.csv",
    )
    faces.add_argument(
        "folder", type=storage.path_or_address, metavar="PLACE", help="photos of people"
    )
    faces.add_argument(
        "--points",
        type=storage.path_or_address,
        metavar="CSV",
        help="the middle of every face, by hand: file,x,y in pixels; without it, pictures without "
        "any face found are counted",
    )


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; see `refocus evaluate --help`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    evaluate = {
        "restorer": _evaluate_restorer,
        "colorizer": _evaluate_colorizer,
        "motion": _evaluate_motion,
        "grayscale": _evaluate_grayscale,
        "faces": _evaluate_faces,
    }
    try:
        with contextlib.ExitStack() as stack:
            _bring_here(arguments, stack)
            evaluate[arguments.stage](parser, arguments)
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))


def _bring_here(arguments, stack):
    """Put paths of this machine in place of addresses; what is written there goes to its store."""

    def pictures(address):
        return stack.enter_context(mirror.Mirror(address)).path

    opened = dict.fromkeys(("photos", "pairs", "folder"), pictures)
    for kind, names in (
        (mirror.incoming, ("manifest", "points")),
        (mirror.outgoing, ("csv", "json", "sheet", "write_manifest")),
    ):
        for name in names:
            opened[name] = lambda address, kind=kind: stack.enter_context(kind(address))
    for name, bring in opened.items():
        given = getattr(arguments, name, None)
        if isinstance(given, str):
            setattr(arguments, name, bring(given))


def _evaluate_restorer(parser, arguments):
    if arguments.pairs and (arguments.blur or arguments.seed is not None):
        parser.error("pairs have their own blur. Received: --blur or --seed with --pairs.")
    if arguments.manifest and (arguments.seed is not None or arguments.write_manifest):
        parser.error(
            "the seed comes from the manifest. Received: --seed or --write-manifest with "
            "--manifest. Leave one of them out."
        )
    if arguments.set and not arguments.pairs:
        parser.error(f"--set {arguments.set} is a set of pairs. Name its folder with --pairs.")
    if arguments.overlap is not None and arguments.tile is None:
        parser.error("--overlap is that of the tiles. Give --tile as well.")
    if arguments.patient:
        _evaluate_patient(parser, arguments)
        return
    if arguments.shake or arguments.count or arguments.patience:
        parser.error("--shake, --count and --patience are for --patient. Add it.")
    from keras_refocus.system import console

    console.start_logging()
    memory.keep_memory()
    console.import_tensorflow()
    from keras_refocus.evaluation import models, restorer
    from keras_refocus.restoration import tiling

    try:
        protocol = restorer.Protocol(
            crop=arguments.crop,
            border=arguments.border,
            tile=arguments.tile,
            overlap=tiling.default_overlap(arguments.tile)
            if arguments.overlap is None
            else arguments.overlap,
            flips=arguments.flips,
            align=arguments.align,
        )
        chosen = _sets(arguments)
        model, file = models.load_restorer(arguments.model, best=arguments.best)
        report = {"model": models.relative(file), "protocol": protocol.label}
        print(f"model: {report['model']}\nprotocol: {report['protocol']}")
        print(restorer.DEFINITIONS)
        results = []
        for picture_set in chosen:
            scores = _score(picture_set, model, protocol)
            results.append((picture_set, scores))
            print("\n" + restorer.as_text(picture_set, scores))
            _warn_of_changed_synthesis(picture_set, scores, protocol)
        if arguments.set:
            print("\n" + restorer.published(arguments.set, len(chosen[0])))
        _write(arguments, results, report, model, protocol)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


def _evaluate_patient(parser, arguments):
    given = ("tile", "border", "flips", "align", "sheet", "write_manifest", "set")
    unused = [f"--{name.replace('_', '-')}" for name in given if getattr(arguments, name)]
    if unused:
        parser.error(f"--patient has its own protocol. Received: {', '.join(unused)}.")
    if arguments.shake and (arguments.pairs or arguments.blur or arguments.manifest):
        parser.error("--shake is for sharp photos. Received: --pairs, --blur or --manifest.")
    from keras_refocus.system import console

    console.start_logging()
    memory.keep_memory()
    console.import_tensorflow()
    from keras_refocus.evaluation import models, shake
    from keras_refocus.restoration import pipeline

    try:
        chosen = _shaken_sets(arguments)
        model, file = models.load_restorer(arguments.model, best=arguments.best)
        restorer = pipeline.Restorer(shake.NetworkEngine(model))
        settings = pipeline.RestoreOptions(patient=True, patience=arguments.patience)
        report = {"model": models.relative(file), "protocol": shake.DEFINITIONS}
        print(f"model: {report['model']}\n{shake.DEFINITIONS}", flush=True)
        results = []
        for label, picture_set, indices, kind in chosen:
            scores = []
            with console.progress_bar(len(indices), label="measuring", unit="picture") as bar:
                for index in indices:
                    picture = shake.load(picture_set, index, kind, arguments.crop)
                    name = picture_set.items[index].sharp
                    scores.append(shake.score(name, picture, restorer, settings))
                    with bar.external_write_mode():
                        print(shake.line(scores[-1]), flush=True)
                    bar.update()
            results.append((label, scores))
            print("\n" + shake.as_text(label, scores), flush=True)
        if arguments.csv:
            shake.write_csv(arguments.csv, results)
        if arguments.json:
            report["sets"] = [shake.summary(*result) for result in results]
            files.write_json(arguments.json, report)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


def _shaken_sets(arguments):
    """What heavy shake is measured on: label, set, numbers of the pictures, and kind of shake."""
    from keras_refocus.evaluation import sets, shake

    if arguments.pairs or arguments.blur or arguments.manifest:
        sources = [(picture_set, None) for picture_set in _sets(arguments)]
    else:
        kinds = arguments.shake or shake.SHAKES
        for kind in kinds:
            if kind not in shake.SHAKES:
                raise ValueError(
                    f"A shake must be one of {', '.join(shake.SHAKES)}. Received: {kind}."
                )
        blur = sets.synthetic_blur(sets.SHARP, seed=arguments.seed or 0)
        items = sets.photo_items(arguments.photos)
        photos = sets.PictureSet(folder=arguments.photos, items=items, blur=blur)
        sources = [(photos, kind) for kind in kinds]
    chosen = []
    for picture_set, kind in sources:
        count = min(arguments.count or len(picture_set), len(picture_set))
        indices = [number * len(picture_set) // count for number in range(count)]
        label = picture_set.label
        if kind is not None:
            label = f"photos of '{picture_set.folder.name}', shake '{kind}'"
            label += f", seed {picture_set.blur.seed}"
        if count < len(picture_set) or kind is not None:
            label += f"; {count} of {len(picture_set)}"
        chosen.append((label, picture_set, indices, kind))
    return chosen


def _evaluate_colorizer(parser, arguments):
    from keras_refocus.system import console

    console.start_logging()
    console.import_tensorflow()
    from keras_refocus.evaluation import colorizer, models, sets
    from keras_refocus.metrics import perceptual
    from keras_refocus.restoration.chroma import WORKING_SIZE

    try:
        protocol = colorizer.Protocol(
            size=WORKING_SIZE if arguments.size is None else arguments.size,
            saturation=arguments.saturation,
            mirror=arguments.mirror,
            frame=arguments.frame,
            old_prints=arguments.old_prints,
            hints=arguments.hints,
        )
        lpips = perceptual.LPIPS(arguments.lpips) if arguments.lpips else None
        inception = perceptual.InceptionFeatures(arguments.fid) if arguments.fid else None
        if arguments.manifest:
            items = sets.read_manifest(arguments.manifest, arguments.photos)[0].items
        else:
            items = sets.photo_items(arguments.photos)
        if arguments.count:
            items = _evenly(items, arguments.count)
        model, file = models.load_colorizer(
            arguments.model,
            best=arguments.best,
            temperature=arguments.temperature,
            gain=arguments.gain,
            smoothing=arguments.smoothing,
            several_views=arguments.several_views,
        )
        notes = [part.protocol for part in (lpips, inception) if part]
        for name in ("smoothing", "gain", "temperature"):
            if getattr(arguments, name) is not None:
                notes.insert(0, f"{name} {getattr(arguments, name):g}")
        if arguments.several_views:
            notes.insert(0, "several views")
        report = {
            "model": models.relative(file),
            "protocol": "; ".join([protocol.label, *notes]),
        }
        print(f"model: {report['model']}\nprotocol: {report['protocol']}")
        print(colorizer.DEFINITIONS)
        if arguments.hints:
            print(colorizer.HINT_DEFINITION)
        scores = []
        with console.progress_bar(len(items), label="measuring", unit="picture") as bar:
            for item in items:
                path = arguments.photos / item.sharp
                scores.append(
                    colorizer.score(
                        path, item.sharp, model, protocol, lpips=lpips, inception=inception
                    )
                )
                bar.update()
        print("\n" + colorizer.as_text(scores))
        if arguments.csv:
            colorizer.write_csv(arguments.csv, scores)
        if arguments.json:
            report |= colorizer.summary(scores)
            files.write_json(arguments.json, report)
        if arguments.sheet:
            colorizer.sheet(
                arguments.photos, scores, model, protocol, count=arguments.sheet_pictures
            ).save(arguments.sheet)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


def _evenly(items, count):
    """So many of a list, evenly over it; all if there are no more."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def _evaluate_motion(parser, arguments):
    from keras_refocus.system import console

    console.start_logging()
    console.import_tensorflow()
    from keras_refocus.engines.local import LocalEngine
    from keras_refocus.evaluation import models, motion

    try:
        protocol = motion.Protocol(
            count=arguments.count, size=arguments.size, seed=arguments.seed, coded=arguments.coded
        )
        loaded = [models.load_motion(path, best=arguments.best) for path in arguments.networks]
        print(f"protocol: {protocol.label}")
        print(motion.DEFINITIONS)
        exposed = motion.exposures_of(protocol, photos=arguments.photos, clips=arguments.clips)
        engine = LocalEngine(arguments.models)
        with console.progress_bar(len(exposed), label="measuring", unit="exposure") as bar:
            rows = motion.score(
                exposed,
                engine,
                arguments.restorer,
                [(models.relative(file), network) for network, file in loaded],
                coded=arguments.coded,
                done=bar.update,
            )
        print("\n" + motion.as_text(rows, coded=arguments.coded))
        if arguments.json:
            report = {"protocol": protocol.label, "rows": [motion.summary(row) for row in rows]}
            files.write_json(arguments.json, report)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))


def _evaluate_grayscale(parser, arguments):
    from keras_refocus.evaluation import grayscale

    if arguments.count < 1:
        parser.error(f"--count must be at least 1. Received: --count {arguments.count}.")
    try:
        chosen = grayscale.choose(arguments.photos, arguments.count, arguments.seed)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    wrong, count = grayscale.evaluate(chosen, arguments.seed)
    if not count:
        parser.error("None of the pictures could be read.")
    print(f"{count} photos, seed {arguments.seed}")
    for line in grayscale.report(wrong, count):
        print(line)


def _evaluate_faces(parser, arguments):
    from keras_refocus.evaluation import faces
    from keras_refocus.system import console

    try:
        console.import_tensorflow()
        for line in faces.count_missed(arguments.folder, arguments.points):
            print(line, flush=True)
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))


def _sets(arguments):
    from keras_refocus.evaluation import sets

    folder = arguments.pairs or arguments.photos
    if arguments.manifest:
        listed = sets.read_manifest(arguments.manifest, folder)
        if (listed[0].blur is None) != bool(arguments.pairs):
            raise ValueError(
                "A manifest of photos goes with --photos, one of pairs with --pairs. "
                f"Received: {arguments.manifest}. Name the folder with the other option."
            )
        if not arguments.blur:
            return listed
        named = {picture_set.blur.name: picture_set for picture_set in listed}
        unknown = [name for name in arguments.blur if name not in named]
        if unknown:
            raise ValueError(
                f"With a manifest the blur must be one of its own: {', '.join(named)}. Received: "
                f"{', '.join(unknown)}."
            )
        return [named[name] for name in arguments.blur]
    if arguments.pairs:
        items = sets.pair_items(folder)
        return [sets.PictureSet(folder=folder, items=items)]
    blurs = [
        sets.synthetic_blur(name, seed=arguments.seed or 0)
        for name in arguments.blur or ["evaluation"]
    ]
    items = sets.photo_items(folder)
    return [sets.PictureSet(folder=folder, items=items, blur=blur) for blur in blurs]


def _score(picture_set, model, protocol):
    from keras_refocus.evaluation import restorer
    from keras_refocus.system import console

    scores = []
    with console.progress_bar(len(picture_set), label="measuring", unit="picture") as bar:
        for index in range(len(picture_set)):
            scores.append(restorer.score(picture_set, model, protocol, index))
            bar.update()
    return scores


def _warn_of_changed_synthesis(picture_set, scores, protocol):
    """The manifest fixes settings and seed, not the code that draws from them."""
    from keras_refocus.evaluation import restorer

    expected = picture_set.blur and picture_set.blur.input_psnr
    if expected is None or protocol.crop or protocol.border:
        return
    found = restorer.mean(scores, "psnr_l", after=False)
    if abs(found - expected) > 0.005:
        _log.warning(
            "the blurred photos have %.3f dB, when the manifest was written they had %.3f: the "
            "synthesis has changed since, and figures from then do not compare",
            found,
            expected,
        )


def _write(arguments, results, report, model, protocol):
    from keras_refocus.evaluation import restorer, sets

    if arguments.csv:
        restorer.write_csv(arguments.csv, results)
    if arguments.json:
        report["sets"] = [restorer.summary(*result) for result in results]
        files.write_json(arguments.json, report)
    if arguments.sheet:
        for picture_set, scores in results:
            path = arguments.sheet
            if len(results) > 1:
                path = path.with_name(f"{path.stem}_{picture_set.blur.name}{path.suffix}")
            restorer.worst_sheet(picture_set, scores, model, protocol).save(path)
    if arguments.write_manifest:
        sets.write_manifest(
            arguments.write_manifest,
            [picture_set for picture_set, _ in results],
            input_psnrs=[restorer.mean(scores, "psnr_l", after=False) for _, scores in results],
        )


if __name__ == "__main__":
    sys.exit(main())
