"""Files one after the other; the command's tests have the rest, with models."""

import dataclasses

import numpy as np
import pytest

from keras_refocus.pictures import images
from keras_refocus.restoration import batch
from keras_refocus.restoration.jobs import FileJob
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer


class Copies:
    """An engine whose restorer changes nothing."""

    batch_size = 1

    def restore(self, tiles, *, model):
        return tiles

    def versions(self, *models):
        return dict.fromkeys(models, "1")


@pytest.fixture
def planned(tmp_path):
    found = []
    for name in ("a", "b", "c"):
        images.write(tmp_path / f"{name}.png", images.Photo(rgb=np.full((4, 5, 3), 99, np.uint8)))
        found.append(FileJob(tmp_path / f"{name}.png", tmp_path / "out" / f"{name}.png"))
    return found


def outcomes(planned, **settings):
    found = batch.run(planned, Restorer(Copies()), RestoreOptions(), batch.FileSettings(**settings))
    return list(found)


def test_what_is_wrong_with_one_file_does_not_keep_the_others(planned):
    planned[1].source.write_bytes(b"no picture")
    first, second, third = outcomes(planned, sums=True)
    assert first.record["output_sha256"] and third.record["output"] == str(planned[2].target)
    assert "none of these" in second.error
    assert second.record == {"input": str(planned[1].source), "error": second.error}
    assert not second.job.target.exists() and third.job.target.exists()


def test_what_is_done_is_passed_by_even_if_it_was_done_meanwhile(planned):
    planned[1].target.parent.mkdir()
    work = batch.run(
        planned, Restorer(Copies()), RestoreOptions(), batch.FileSettings(skip_done=True)
    )
    assert next(work).record is not None
    planned[1].target.write_bytes(b"another run was quicker")
    assert next(work).record is None
    assert next(work).record is not None
    assert planned[1].target.read_bytes() == b"another run was quicker"


def test_stopping_is_not_a_fault_of_a_file(planned, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "read", stop)
    with pytest.raises(KeyboardInterrupt):
        outcomes(planned)


def test_errors_are_said_in_one_line():
    assert batch.say(ValueError("a\n  b")) == "a b"
    assert batch.say(KeyError("a")) == "KeyError: 'a'"
    assert batch.say(ZeroDivisionError()) == "ZeroDivisionError"


def test_comparisons_of_large_pictures_are_bounded():
    before = np.zeros((100, 9000, 3), np.uint16)
    after = np.full((100, 9000, 3), 65535, np.uint16)
    compared = batch.side_by_side(before, after)
    assert compared.dtype == np.uint8 and compared.shape == (23, 4096, 3)
    assert compared[:, 0].max() == 0 and compared[:, -1].min() == 255


def test_pictures_are_compared_side_by_side_across_a_white_gap():
    before = np.full((30, 40, 3), (200, 100, 50), np.uint8)
    grey = np.full((30, 40), 90, np.uint8)
    compared = batch.side_by_side(before, grey)
    # Small pictures as they are.
    assert compared.shape == (30, 80 + batch.COMPARE_GAP, 3)
    assert (compared[:, :40] == before).all() and (compared[:, -40:] == 90).all()
    assert (compared[:, 40:-40] == 255).all()


def test_comparisons_of_tall_pictures_are_bounded():
    tall = np.zeros((9000, 100, 3), np.uint8)
    assert batch.side_by_side(tall, tall).shape == (4096, 2 * 46 + batch.COMPARE_GAP, 3)
    line = np.zeros((9000, 1, 3), np.uint8)
    assert batch.side_by_side(line, line).shape == (4096, 2 + batch.COMPARE_GAP, 3)


def test_comparisons_are_written_beside_results_and_again_where_that_is_asked_for(planned):
    folder = planned[0].target.parent / "new" / "deep"
    compared = [dataclasses.replace(job, compare=folder / job.target.name) for job in planned]
    assert not any(outcome.error for outcome in outcomes(compared))
    assert images.read(folder / "b.png").rgb.shape == (4, 10 + batch.COMPARE_GAP, 3)
    assert all("exists" in outcome.error for outcome in outcomes(compared))
    assert not any(outcome.error for outcome in outcomes(compared, overwrite=True))
    # What a killed run left: a comparison without its result.
    compared[1].target.unlink()
    found = outcomes(compared, skip_done=True)
    assert [bool(outcome.record) for outcome in found] == [False, True, False]
