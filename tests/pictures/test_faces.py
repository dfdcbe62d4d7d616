"""Faces: where boxes end up, what is left of a face, and that the detector works offline."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from keras_refocus import evaluate
from keras_refocus.pictures import faces

PORTRAIT = pathlib.Path(__file__).parents[1] / "pictures" / "astronaut_face.jpg"

# The middle of the face in that picture, read off by eye.
CENTER = (93, 112)


@pytest.fixture(scope="module")
def portrait():
    return np.asarray(Image.open(PORTRAIT).convert("RGB"))


def covers(box, point):
    return bool((point >= box[:2]).all() and (point < box[:2] + box[2:]).all())


def test_a_face_is_found_whatever_the_type(portrait):
    for picture in (portrait, portrait.astype(np.uint16) * 257, portrait / np.float32(255)):
        (box,) = faces.detect(picture)
        assert covers(box, np.array(CENTER))
        assert 40 <= box[2] <= 120 and 50 <= box[3] <= 140


def test_a_face_lying_on_its_side_is_found(portrait):
    width = portrait.shape[1]
    x, y = CENTER
    # Turned left, x and y of the centre go there.
    boxes = faces.detect(np.rot90(portrait))
    assert any(covers(box, np.array((y, width - 1 - x))) for box in boxes)


class Marks:
    """In the place of networks: finds what is red and what is green where the top row is white."""

    def __init__(self):
        self.sizes = []

    def detect_faces(self, rgb, *, min_face_size, **thresholds):
        self.sizes.append(rgb.shape)
        assert rgb.dtype == np.uint8 and rgb.flags.c_contiguous and min_face_size == 20
        if not (rgb[0] == 255).all():
            return []
        found = []
        for channel, confidence in ((0, 0.7), (1, 0.9)):
            rows, columns = np.nonzero((rgb[1:, :, channel] > 150) & (rgb[1:, :, 2] < 50))
            left, top = columns.min(), rows.min() + 1
            box = [left, top, columns.max() + 1 - left, rows.max() + 2 - top]
            found.append({"box": box, "confidence": confidence})
        return found


@pytest.fixture
def marks(monkeypatch):
    detector = Marks()
    monkeypatch.setattr(faces, "_detector", lambda: detector)
    return detector


def marked(height, width, scale=1):
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:scale] = 255
    picture[10 * scale : 30 * scale, 5 * scale : 15 * scale, 0] = 200
    picture[20 * scale : 25 * scale, 40 * scale : 47 * scale, 1] = 200
    return picture


@pytest.mark.parametrize("quarters", range(4))
def test_boxes_lie_where_the_picture_has_them_however_it_lies(marks, quarters):
    found = faces.detect(np.rot90(marked(50, 60), quarters))
    # Left, top, width and height of each mark in the picture that was turned left so often, the
    # surest first.
    expected = {
        0: [[40, 20, 7, 5], [5, 10, 10, 20]],
        1: [[20, 13, 5, 7], [10, 45, 20, 10]],
        2: [[13, 25, 7, 5], [45, 20, 10, 20]],
        3: [[25, 40, 5, 7], [20, 5, 20, 10]],
    }
    assert found.tolist() == expected[quarters]
    # It is turned on until something is found.
    assert len(marks.sizes) == [1, 4, 3, 2][quarters]


def test_a_large_picture_is_searched_at_a_bounded_size_and_boxes_fit_it(marks):
    large = marked(1000, 4000, scale=10)
    assert faces.detect(large).tolist() == [[400, 200, 70, 50], [50, 100, 100, 200]]
    assert marks.sizes == [(400, 1600, 3)]
    # What is found is rounded outwards, and not beyond the picture.
    large = marked(2101, 60)
    large[:4] = 255
    large[-30:, 50:, 1] = 200
    found = faces.detect(large)[0]
    assert marks.sizes[-1] == (1600, 46, 3)
    assert found[0] <= 40 and found[1] <= 20 and found[0] + found[2] == 60
    assert found[1] + found[3] == 2101


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (19, 19, 3), (60, 80, 3)])
def test_no_face_is_an_empty_answer(shape):
    boxes = faces.detect(np.full(shape, 100, np.uint8))
    assert boxes.shape == (0, 4) and boxes.dtype == np.int64


def test_the_detector_does_not_load_weights_from_the_current_folder(
    portrait, tmp_path, monkeypatch
):
    # They are pickled: a file of the same name in a download folder could run anything.
    for name in ("pnet.lz4", "rnet.lz4", "onet.lz4"):
        (tmp_path / name).write_bytes(b"not weights")
    monkeypatch.chdir(tmp_path)
    faces._detector.cache_clear()
    assert len(faces.detect(portrait)) == 1


def test_without_the_package_the_message_says_what_to_install(portrait, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mtcnn", None)
    faces._detector.cache_clear()
    with pytest.raises(ImportError, match=r"pip install .keras_refocus\[app\]"):
        faces.detect(portrait)
    faces._detector.cache_clear()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_blurring_replaces_an_ellipse_and_nothing_else(dtype):
    rng = np.random.default_rng(0)
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    picture = (rng.random((120, 160, 3)) * top).astype(dtype)
    before = picture.copy()
    blurred = faces.anonymize(picture, np.array([[60, 40, 40, 40]]))
    np.testing.assert_array_equal(picture, before)
    assert blurred.dtype == dtype
    # The ellipse has axes of 1.7 x 40 = 68 pixels: half of that is 34 around (80, 60).
    y, x = np.mgrid[:120, :160] + 0.5
    inside = ((x - 80) / 34) ** 2 + ((y - 60) / 34) ** 2 <= 1
    np.testing.assert_array_equal(blurred[~inside], picture[~inside])
    assert (blurred[inside] != picture[inside]).mean() > 0.9
    # All of the box lies in the ellipse.
    assert inside[40:80, 60:100].all()


def test_what_is_left_is_the_means_of_a_few_cells():
    """Two faces whose cells have equal means cannot be told apart afterwards."""
    rng = np.random.default_rng(1)
    # The region is 170 x 170: 5 x 5 cells of 34 pixels, whose means are 0.5 in both pictures.
    one = np.full((170, 170, 3), 0.5, np.float32)
    noise = rng.uniform(-0.4, 0.4, (5, 34, 5, 34, 3)).astype(np.float32)
    noise -= noise.mean(axis=(1, 3), keepdims=True)
    other = one + noise.reshape(170, 170, 3)
    box = np.array([[35, 35, 100, 100]])
    inside = faces.anonymize(other, box)[85 - 50 : 85 + 50, 85 - 50 : 85 + 50]
    np.testing.assert_allclose(inside, 0.5, atol=2e-3)
    assert np.abs(other - one).max() > 0.3


def test_a_blurred_face_is_no_longer_a_face(portrait):
    blurred = faces.anonymize(portrait, faces.detect(portrait))
    assert len(faces.detect(blurred)) == 0


def test_boxes_may_reach_over_the_border_or_lie_outside():
    picture = np.random.default_rng(2).random((50, 50, 3), np.float32)
    blurred = faces.anonymize(picture, np.array([[-10, -10, 30, 30], [200, 200, 10, 10]]))
    assert (blurred[:20, :20] != picture[:20, :20]).any()
    np.testing.assert_array_equal(blurred[40:, 40:], picture[40:, 40:])


def test_no_boxes_change_nothing(portrait):
    np.testing.assert_array_equal(faces.anonymize(portrait, np.empty((0, 4))), portrait)


def test_wrong_shapes_are_refused(portrait):
    with pytest.raises(ValueError, match="height, width, 3"):
        faces.detect(portrait[..., 0])
    with pytest.raises(ValueError, match="height, width, 3"):
        faces.anonymize(portrait[..., 0], np.empty((0, 4)))
    with pytest.raises(ValueError, match="left, top, width, height"):
        faces.anonymize(portrait, np.array([1, 2, 3, 4]))


# The command that counts misses.


@pytest.fixture
def folder(tmp_path, portrait, monkeypatch):
    """Pictures, and in the place of networks who knows the portrait as long as it is to be seen."""
    x, y = CENTER

    def detect(rgb):
        is_there = len(rgb) > y and bool((rgb[y, x] == portrait[y, x]).all())
        return np.array([[x - 30, y - 40, 60, 80]] * is_there, np.int64).reshape(-1, 4)

    monkeypatch.setattr(faces, "detect", detect)
    Image.fromarray(portrait).save(tmp_path / "a.png")
    both = np.concatenate([portrait, np.full_like(portrait, 90)], axis=1)
    Image.fromarray(both).save(tmp_path / "b.png")
    Image.fromarray(np.full((60, 60, 3), 90, np.uint8)).save(tmp_path / "c.png")
    return tmp_path


def test_misses_are_counted_against_points(folder, capsys):
    # In b.png a second face is claimed where there is none: it must count as missed.
    (folder / "points.csv").write_text("file,x,y\na.png,93,112\nb.png,93,112\nb.png,300,112\n")
    evaluate.main(["faces", str(folder), "--points", str(folder / "points.csv")])
    said = capsys.readouterr().out
    assert "b.png" in said and "(300, 112)" in said
    assert "1 of 3 faces missed (33.3%)" in said
    # c.png is not in the list, so it is not looked at.
    assert "2 pictures, 2 boxes" in said


def test_without_points_pictures_without_any_face_are_counted(folder, capsys):
    evaluate.main(["faces", str(folder)])
    said = capsys.readouterr().out
    assert "c.png" in said
    assert "no face found in 1 of 3 pictures (33.3%)" in said
    assert "after blurring a face is still found in 0 of 2" in said


@pytest.mark.parametrize(
    "points, message",
    [("file,x\na.png,1\n", "columns"), ("file,x,y\nz.png,1,1\n", "z.png")],
)
def test_a_list_of_points_that_does_not_fit_is_refused(folder, capsys, points, message):
    (folder / "points.csv").write_text(points)
    with pytest.raises(SystemExit):
        evaluate.main(["faces", str(folder), "--points", str(folder / "points.csv")])
    assert message in capsys.readouterr().err
