"""The report next to the data: what became an example, and what was left out and why."""

import json
import logging

from etils import epath

from keras_refocus.data import integrity

REPORT = "report.json"

_log = logging.getLogger(__name__)


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
