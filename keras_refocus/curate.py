"""Check a folder of training pictures before it is used, and write a cleaned copy.

    refocus curate my_photos/
    refocus curate my_photos/ --on-bad skip --out chosen/ --size 512
    refocus curate chosen/ --verify
    refocus curate chosen/ --show-blur sheet.png
    refocus curate s3://bucket/photos --out s3://bucket/chosen

Named are damaged and truncated files, pairs without a partner, of unequal size or with identical
sides, byte-identical copies, and near-duplicates, above all across train, validation and test. A
manifest (SHA-256 sums, as `sha256sum -c` reads them) and a report are written into the folder. With
`--show-blur` nothing is checked: a sheet shows what blur a training would see on these photos.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence

from keras_refocus.blur.settings import SETTINGS
from keras_refocus.cloud import mirror, retries, storage
from keras_refocus.data import curation
from keras_refocus.system import console, extras, options


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> int:
    """Curate from the command line; returns 0, or 1 if what was asked to hold does not."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    console.start_logging(verbose=arguments.verbose)
    try:
        # Of a store its names are mirrored, and its pictures are here while they are looked at.
        with mirror.Mirror(arguments.folder) as found:
            if arguments.show_blur is not None:
                return _show_blur(arguments, found)
            extras.require("train", "Curating", "imagehash")
            if arguments.verify:
                return _verify(arguments, found)
            return _curate(arguments, found)
    except (OSError, ValueError) as error:
        parser.error(retries.say(error))


def _parser():
    parser = argparse.ArgumentParser(
        prog="refocus curate",
        description="Check a folder of photos or of pairs (blur/ and sharp/ side by side), write a "
        "manifest and a report into it, and on request a cleaned copy.",
        epilog="Example: refocus curate my_photos/ --on-bad skip --out chosen/ --size 512",
    )
    parser.add_argument(
        "folder",
        type=storage.path_or_address,
        help="folder, or address such as s3://bucket/photos; searched with its sub-folders",
    )
    parser.add_argument(
        "--on-bad",
        choices=("report", "skip", "fail"),
        default="report",
        help="report: name what is bad and go on with all that can be read; skip: leave it out of "
        "manifest and copy; fail: write the report alone, exit status 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--verify", action="store_true", help="compare the folder with its manifest, nothing else"
    )
    parser.add_argument(
        "--manifest",
        type=storage.path_or_address,
        metavar="FILE",
        help=f"the manifest (default: {curation.MANIFEST} in the folder)",
    )
    parser.add_argument(
        "--report",
        type=storage.path_or_address,
        metavar="FILE",
        help=f"the report (default: {curation.REPORT} in the folder)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="default: one for each core")
    options.add_verbose(parser, "say more on standard error")
    rules = parser.add_argument_group("what is bad besides damage and copies")
    rules.add_argument(
        "--min-size", type=int, default=1, metavar="PIXELS", help="a short side below this"
    )
    rules.add_argument("--drop-gray", action="store_true", help="pictures without colour")
    rules.add_argument(
        "--drop-near-duplicates",
        action="store_true",
        help="near-duplicates inside one part of the data but for the first; across train, "
        "validation and test they are bad in any case",
    )
    _add_copy(parser.add_argument_group("cleaned copy: upright, sRGB, no metadata"))
    _add_blur(parser.add_argument_group("synthetic blur: look at it, nothing else"))
    return parser


def _add_copy(copy):
    copy.add_argument(
        "--out",
        type=storage.path_or_address,
        metavar="PLACE",
        help="new folder or address for the copy",
    )
    copy.add_argument(
        "--format", choices=("png", "jpeg", "tiff", "webp"), default="png", help="default: png"
    )
    copy.add_argument("--size", type=int, metavar="PIXELS", help="short side, shrunk to by Lanczos")
    copy.add_argument(
        "--upscale", action="store_true", help="enlarge what is smaller than --size as well"
    )
    copy.add_argument("--bits", type=int, choices=(8, 16), default=8, help="default: 8")
    copy.add_argument(
        "--quality", type=int, default=95, metavar="1-100", help="of jpeg and webp (default: 95)"
    )


def _add_blur(blur):
    blur.add_argument(
        "--show-blur",
        type=pathlib.Path,
        metavar="FILE",
        help="picture to draw: samples of these photos, each sharp, then blurred as for training",
    )
    blur.add_argument(
        "--blur", choices=sorted(SETTINGS), default="mixed", help="its kind (default: %(default)s)"
    )
    blur.add_argument(
        "--seed", type=options.not_negative, default=0, metavar="N", help="another sheet"
    )


def _show_blur(arguments, found):
    if arguments.verify or arguments.out is not None:
        raise ValueError(
            "--show-blur draws a sheet and does nothing else. Received: --show-blur with "
            f"{'--verify' if arguments.verify else '--out'}. Run them one after the other."
        )
    from keras_refocus.data import blur_sheet
    from keras_refocus.pictures import catalogue

    count = blur_sheet.write_sheet(
        catalogue.list_photos(found.path),
        arguments.show_blur,
        blur=arguments.blur,
        seed=arguments.seed,
    )
    print(f"{count} samples of '{arguments.blur}', each sharp, then blurred: {arguments.show_blur}")
    return 0


def _curate(arguments, found):
    copying = None
    if arguments.out is not None:
        copying = curation.Copying(
            format={"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP"}[arguments.format],
            size=arguments.size,
            upscale=arguments.upscale,
            bits=arguments.bits,
            quality=arguments.quality,
        )
        _check_out(arguments.folder, arguments.out)
    rules = curation.Rules(
        min_size=arguments.min_size,
        drop_gray=arguments.drop_gray,
        drop_near_duplicates=arguments.drop_near_duplicates,
    )
    with _Progress("checking") as progress:
        inspected = curation.inspect(
            found.path, rules, threads=arguments.threads, progress=progress
        )
    _print_inspection(inspected, found.shown)
    report = arguments.report or _inside(arguments.folder, curation.REPORT)
    told = inspected.to_json() | {"folder": found.shown}
    mirror.write_file(report, (json.dumps(told, indent=2) + "\n").encode())
    if arguments.on_bad == "fail" and len(inspected.bad):
        print(f"The whole list is in {report}. Nothing else was written.")
        return 1
    names = inspected.kept_files(leave_out_bad=arguments.on_bad == "skip")
    if copying is not None:
        # Clashes of names are refused before anything is written.
        curation.targets(names, copying)
    manifest = arguments.manifest or _inside(arguments.folder, curation.MANIFEST)
    sums = {name: inspected.sums[name] for name in names}
    mirror.write_file(manifest, curation.sums_text(sums).encode())
    print(f"{len(names):,} files are in {manifest}; the whole list of findings is in {report}.")
    if copying is not None:
        with _Progress("copying") as progress, mirror.Outgoing(arguments.out) as outgoing:
            sums = curation.copy_clean(
                found.path,
                outgoing.path,
                names,
                copying,
                threads=arguments.threads,
                progress=progress,
                written=outgoing.send,
            )
        copied = _inside(arguments.out, curation.MANIFEST)
        mirror.write_file(copied, curation.sums_text(sums).encode())
        print(f"{len(sums):,} cleaned files are in {arguments.out}, with their manifest.")
    return 0


def _inside(place, name):
    """Name of a file in a folder or a store."""
    return f"{place.rstrip('/')}/{name}" if isinstance(place, str) else place / name


def _check_out(folder, out):
    if isinstance(folder, str) or isinstance(out, str):
        places = storage.open_place(out), storage.open_place(folder)
        nested = any(storage.lies_inside(*pair) is not None for pair in (places, places[::-1]))
        if nested:
            raise ValueError(
                "The cleaned copy must go to a place apart from the pictures. Received: "
                f"--out {places[0].shown}, folder {places[1].shown}."
            )
        try:
            something = next(places[0].entries(), None)
        except FileNotFoundError:
            something = None
        if something is not None:
            raise FileExistsError(
                f"The cleaned copy needs a new or empty place. Received: --out {places[0].shown}, "
                "which holds something. Name another, or empty it."
            )
        return
    inside, outside = out.resolve(), folder.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise ValueError(
            "The cleaned copy must go to a folder apart from the pictures. Received: "
            f"--out {out}, folder {folder}."
        )
    if out.exists() and any(out.iterdir()):
        raise FileExistsError(
            f"The cleaned copy needs a new or empty folder. Received: --out {out}, which holds "
            "something. Name another, or empty it."
        )


def _print_inspection(inspected, shown):
    found = []
    if inspected.photos:
        found.append(f"{inspected.photos:,} photos")
    if inspected.pairs:
        found.append(f"{inspected.pairs:,} pairs")
    print(f"{shown}: {' and '.join(found) or 'nothing whole'}, {len(inspected.good):,} good.")
    for title, findings in (("bad", inspected.bad), ("noted", inspected.noted)):
        for line in findings.lines():
            print(f"  {title}: {line}")


def _verify(arguments, found):
    manifest = arguments.manifest or _inside(arguments.folder, curation.MANIFEST)
    with mirror.incoming(manifest) as file:
        sums = curation.read_sums(file)
    with _Progress("verifying") as progress:
        result = curation.verify(found.path, sums, threads=arguments.threads, progress=progress)
    print(f"{found.shown}: {result.unchanged:,} of {len(sums):,} files are as in {manifest}.")
    for title, names in (
        ("changed", result.changed),
        ("missing", result.missing),
        ("not in the manifest", result.new),
    ):
        if names:
            more = ", ..." if len(names) > 5 else ""
            print(f"  {title}: {len(names):,}: {', '.join(names[:5])}{more}")
    return 0 if result.holds else 1


class _Progress:
    """A bar that learns its length with the first report."""

    def __init__(self, label):
        self._bar = console.progress_bar(label=label, unit="")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._bar.close()

    def __call__(self, done, total):
        self._bar.total = total
        self._bar.update(done - self._bar.n)


if __name__ == "__main__":
    sys.exit(main())
