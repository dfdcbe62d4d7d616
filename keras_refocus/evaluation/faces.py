"""Count the faces that `faces.detect` misses in photos of people.

    refocus evaluate faces people/ --points faces.csv
    refocus evaluate faces portraits/

With a list of points (CSV: `file,x,y`, the middle of each face that a person would recognise, in
pixels) a face counts as missed if its middle is not in what would be blurred. Without one, each
picture is taken to show at least one face, and those are counted in which none is found: fewer
than are missed, because the second face of a picture is not asked for.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from keras_refocus.pictures import catalogue, faces, images
from keras_refocus.system import console


def count_missed(folder: Path, points_file: Path | None = None) -> Iterator[str]:
    """Lines about what is missed in the pictures of a folder, then the sums.

    Args:
        folder: Folder of photos of people.
        points_file: CSV file of the middle of every face; `None` takes each picture to show one.

    Raises:
        FileNotFoundError: A picture of the list is not in the folder.
        ValueError: The list has other columns, or the folder holds no pictures.
    """
    if points_file is not None:
        points = _read_points(points_file)
    else:
        points = {path.name: None for path in _pictures(folder)}
    for name in points:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"Each picture must be in the folder. Received: '{name}', which is not in "
                f"'{folder}'."
            )
    return _judge(folder, points)


def _judge(folder: Path, points: dict[str, list | None]) -> Iterator[str]:
    """Lines about each miss, then the sums."""
    boxes_found = faces_known = faces_missed = empty = with_faces = found_again = 0
    with console.progress_bar(len(points), unit="picture") as bar:
        for name, known in points.items():
            rgb = images.read(folder / name).rgb
            boxes = faces.detect(rgb)
            hidden = faces.covered(rgb.shape[:2], boxes)
            boxes_found += len(boxes)
            for x, y in known or []:
                faces_known += 1
                if not hidden[int(y), int(x)]:
                    faces_missed += 1
                    yield f"missed: {name} ({x:g}, {y:g})"
            if known is None and not len(boxes):
                empty += 1
                yield f"no face found: {name}"
            if len(boxes):
                with_faces += 1
                again = faces.detect(faces.anonymize(rgb, boxes))
                middles = again[:, :2] + again[:, 2:] // 2
                found_again += bool(hidden[middles[:, 1], middles[:, 0]].any())
            bar.update()
    yield f"{len(points)} pictures, {boxes_found} boxes"
    if faces_known:
        yield f"{faces_missed} of {faces_known} faces missed ({faces_missed / faces_known:.1%})"
    else:
        yield f"no face found in {empty} of {len(points)} pictures ({empty / len(points):.1%})"
    yield f"after blurring a face is still found in {found_again} of {with_faces} pictures"


def _pictures(folder: Path) -> list[Path]:
    # The list of points knows pictures by their names alone.
    found = [path for path in catalogue.list_photos(folder) if path.parent == folder]
    if not found:
        raise ValueError(
            f"The folder must hold pictures, not in sub-folders. Received: folder='{folder}'."
        )
    return found


def _read_points(path: Path) -> dict[str, list[tuple[float, float]]]:
    points: dict[str, list[tuple[float, float]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if set(rows.fieldnames or ()) != {"file", "x", "y"}:
            raise ValueError(
                "The list of points must have the columns file, x and y. "
                f"Received: {rows.fieldnames} in '{path}'."
            )
        for row in rows:
            known = points.setdefault(row["file"], [])
            if row["x"]:  # A picture without faces has a row without a point.
                known.append((float(row["x"]), float(row["y"])))
    return points
