"""The report next to the data: what became an example, what was left out, and of which pictures."""

import json
import logging
import pathlib

import tensorflow_datasets as tfds
from etils import epath

from keras_refocus.data import integrity

REPORT = "report.json"

_log = logging.getLogger(__name__)

# What TensorFlow Datasets calls the folder of a build that is under way.
_INCOMPLETE = "incomplete."


class Watchful(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that does not take what was prepared of other pictures for what is asked for."""

    def download_and_prepare(self, *, download_config=None, **options):
        """See base class.

        Raises:
            ValueError: If the data set was prepared out of another manual folder than the one that
                is named, and is not to be overwritten.
        """
        name_leftovers(self.data_path)
        if download_config is not None and not download_config.download_mode.overwrite_dataset:
            check_source(self.data_path, download_config.manual_dir)
        super().download_and_prepare(download_config=download_config, **options)


def name_leftovers(folder: epath.PathLike) -> list[str]:
    """Name what builds that were killed have left beside the place of a data set.

    Args:
        folder: The data set's own folder, which need not exist.

    Returns:
        The folders that are left.
    """
    folder = epath.Path(folder)
    if not folder.parent.exists():
        return []
    left = sorted(
        str(path)
        for path in folder.parent.iterdir()
        if path.name.startswith(_INCOMPLETE) and path.name.endswith(f"_{folder.name}")
    )
    for path in left:
        _log.warning(
            "left over from a build that did not end: %s; remove it if none runs now", path
        )
    return left


def check_source(folder: epath.PathLike, manual_dir: epath.PathLike | None):
    """Refuse a data set that was prepared out of another manual folder.

    Args:
        folder: The data set's own folder, which need not exist.
        manual_dir: The manual folder that is asked for; `None`: whichever.

    Raises:
        ValueError: If it was.
    """
    file = epath.Path(folder) / REPORT
    if manual_dir is None or not file.exists():
        return
    source = json.loads(file.read_text(encoding="utf-8"))["source"]
    # Of pairs one location, of COCO one for each part.
    places = [source["location"]] if "location" in source else list(source.values())
    wanted = pathlib.Path(manual_dir).expanduser().resolve()
    others = [place for place in places if not pathlib.Path(place).resolve().is_relative_to(wanted)]
    if others:
        raise ValueError(
            "A data set is prepared once, and then taken as it is. Received: "
            f"manual_dir={wanted}, and {folder}, which was prepared from {', '.join(others)}. Add "
            "--overwrite to prepare it anew, or name another --data_dir."
        )


def write(
    folder: epath.PathLike,
    *,
    data_set: str,
    source: dict,
    examples: dict[str, int],
    published: dict[str, int],
    left_out: integrity.Findings,
    kept: integrity.Findings,
):
    """Write `report.json` and say the main of it in the log.

    Args:
        folder: Folder of the data set being built.
        data_set: Full name of the data set.
        source: Where the pictures came from, ready for JSON.
        examples: Number of examples of each split.
        published: Number of images that the authors of the data state for each of their splits.
        left_out: What did not become an example.
        kept: What did although there is something to say about it.
    """
    values = {
        "data_set": data_set,
        "source": source,
        "published": published,
        "examples": examples,
        "left_out": left_out.to_json(),
        "kept_although": kept.to_json(),
    }
    path = epath.Path(folder) / REPORT
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    lines = [f"{data_set}: " + ", ".join(f"{n:,} {split}" for split, n in examples.items())]
    lines += [f"left out {line}" for line in left_out.lines()]
    lines += [f"kept although {line}" for line in kept.lines(most=3)]
    lines.append(f"The whole list is in {REPORT} next to the data.")
    _log.warning("\n  ".join(lines))
