import cv2
import numpy as np
import pytest
from measured_sets import pair_set, photo_set, picture, save

from keras_refocus.evaluation import restorer
from keras_refocus.pictures import color


def identity(luminance):
    return luminance


def scores_of(picture_set, model=identity, **protocol):
    protocol = restorer.Protocol(**protocol)
    return [
        restorer.score(picture_set, model, protocol, index) for index in range(len(picture_set))
    ]


def test_scores_are_those_worked_out_by_hand(pairs):
    picture_set = pair_set(pairs)
    truth = color.rgb_to_luminance(np.full((1, 1, 3), 119, np.uint8)).item()
    # A model that always answers a quarter brighter than the truth: 20 log10(4) = 12.04 dB.
    for item, level in zip(
        scores_of(picture_set, lambda x: np.full_like(x, truth + 0.25)),
        (100, 119, 140),
        strict=True,
    ):
        error = color.rgb_to_luminance(np.full((1, 1, 3), level, np.uint8)).item() - truth
        expected = 100.0 if level == 119 else -20 * np.log10(abs(error))
        assert item.before["psnr_l"] == pytest.approx(expected, abs=1e-3)
        assert item.after["psnr_l"] == pytest.approx(12.0412, abs=1e-3)
        rgb = 20 * np.log10(255 / abs(level - 119)) if level != 119 else 100.0
        assert item.before["psnr_rgb"] == pytest.approx(rgb, abs=1e-3)


def test_rgb_result_is_restored_luminance_with_the_inputs_own_colour(photos):
    picture_set = photo_set(photos, "none")
    dark = scores_of(picture_set, lambda luminance: 0.5 * luminance)[0]
    rgb = color.to_float(picture(0))
    luminance, chroma = color.rgb_to_lab(rgb)
    error = np.mean((color.recompose(0.5 * luminance, chroma) - rgb) ** 2)
    assert dark.after["psnr_rgb"] == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_identity_gains_nothing(photos):
    for name in ("evaluation", "noise", "defocus"):
        for item in scores_of(photo_set(photos, name)):
            assert item.gain("psnr_l") == 0
            assert item.gain("ssim_l") == 0
            # Colour comes back through 8-bit RGB -> Lab -> RGB.
            assert abs(item.gain("psnr_rgb")) < 1e-2
            assert item.before["psnr_l"] < 60  # There was blur, or noise, on every picture.


def test_sharp_photos_go_in_as_they_are(photos):
    blurred, sharp = photo_set(photos, "none").pair(2)
    np.testing.assert_array_equal(blurred, picture(2))
    np.testing.assert_array_equal(sharp, picture(2))


def test_outputs_outside_the_range_are_clipped(pairs):
    (first, *_) = scores_of(pair_set(pairs), lambda luminance: luminance + 7.0)
    truth = color.rgb_to_luminance(np.full((1, 1, 3), 119, np.uint8)).item()
    assert first.after["psnr_l"] == pytest.approx(-20 * np.log10(1 - truth), abs=1e-3)


def test_crop_is_the_central_square_of_the_whole_blurred_picture(photos):
    picture_set = photo_set(photos)
    seen = []

    def model(luminance):
        seen.append(luminance[0])
        return luminance

    (item, *_) = scores_of(picture_set, model, crop=16)
    assert (item.height, item.width) == (16, 16)
    expected = color.rgb_to_luminance(picture_set.pair(0)[0][8:24, 12:28])
    np.testing.assert_array_equal(seen[0], expected)
    with pytest.raises(ValueError, match="hold the crop.*crop=36.*0.png"):
        scores_of(picture_set, crop=36)


def test_border_is_left_out_of_the_comparison(photos):
    def frame(luminance):
        spoilt = np.zeros_like(luminance)
        spoilt[:, 3:-3, 3:-3] = luminance[:, 3:-3, 3:-3]
        return spoilt

    picture_set = photo_set(photos, "none")
    assert scores_of(picture_set, frame, border=3)[0].after["psnr_l"] == 100
    assert scores_of(picture_set, frame, border=2)[0].after["psnr_l"] < 40


def test_tiles_of_a_pointwise_model_change_nothing(photos):
    picture_set = photo_set(photos)

    def model(luminance):
        return luminance**2

    whole, tiled = scores_of(picture_set, model), scores_of(picture_set, model, tile=16, overlap=4)
    for a, b in zip(whole, tiled, strict=True):
        assert a.after == pytest.approx(b.after, abs=1e-3)
    sizes = set()

    def watch(luminance):
        sizes.add(luminance.shape)
        return luminance

    scores_of(picture_set, watch, tile=16, overlap=4)
    assert sizes == {(1, 16, 16, 1)}


@pytest.mark.parametrize("tile", [None, 16])
def test_flips_give_the_mean_of_four_answers(photos, tile):
    # Of a picture and its mirror image this model darkens the left half.
    def model(luminance):
        left = np.arange(luminance.shape[2]) < luminance.shape[2] // 2
        return luminance * np.where(left, 0.5, 1.0).astype(np.float32)[:, np.newaxis]

    protocol = restorer.Protocol(flips=True, tile=tile, overlap=4)
    assert "four flips" in protocol.label
    luminance = color.rgb_to_luminance(picture(0))
    restored = protocol.restore(model, luminance)
    np.testing.assert_allclose(restored, 0.75 * luminance, atol=1e-6)


def test_protocol_refuses_what_cannot_be_compared(photos):
    with pytest.raises(ValueError, match="crop=10"):
        restorer.Protocol(crop=10)
    with pytest.raises(ValueError, match="border=-1"):
        restorer.Protocol(border=-1)
    with pytest.raises(ValueError, match="overlap"):
        restorer.Protocol(tile=16, overlap=16)
    with pytest.raises(ValueError, match="11 pixels.*0.png"):
        scores_of(photo_set(photos), border=11)


def test_unequal_and_unreadable_pictures_are_named(pairs):
    picture_set = pair_set(pairs)
    save(pairs / "blur" / "1.png", np.zeros((16, 21, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"blur/1.png with \(16, 21\).*sharp/1.png with \(16, 20\)"
    ):
        picture_set.pair(1)
    (pairs / "blur" / "1.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="1.png"):
        picture_set.pair(1)


# Reports


def fixed_scores(*pairs):
    return [
        restorer.Score(
            name=f"{index}.png",
            height=16,
            width=20,
            before=dict.fromkeys(restorer.METRICS, before),
            after=dict.fromkeys(restorer.METRICS, after),
        )
        for index, (before, after) in enumerate(pairs)
    ]


def test_summary_is_worked_out_over_pictures(photos):
    scores = fixed_scores((20.0, 22.0), (30.0, 29.0), (25.0, 25.0))
    values = restorer.summary(photo_set(photos), scores)
    assert values["means"]["psnr_l"] == {"input": 25.0, "restored": 25.3333}
    assert values["gain_psnr_l"] == {"median": 0.0, "5th percentile": -0.9, "least": -1.0}
    assert values["restored_psnr_l"]["median"] == 25.0
    assert values["worse_than_input"] == 1
    text = restorer.as_text(photo_set(photos), scores)
    assert "25.00     25.33    +0.33" in text
    assert "1 of 3 pictures came out worse" in text


def test_table_of_sharp_photos_shows_how_little_they_change(photos):
    text = restorer.as_text(
        photo_set(photos, "none"), fixed_scores((100.0, 40.0), (100.0, 42.0), (100.0, 50.0))
    )
    assert "44.00    42.00    40.20" in text  # mean, median, 5th percentile
    assert "restored" not in text  # There is no input to compare with.


def test_csv_has_a_row_for_each_picture(photos, tmp_path):
    path = tmp_path / "scores.csv"
    restorer.write_csv(path, [(photo_set(photos), fixed_scores((20.0, 22.0), (30.0, 29.0)))])
    header, first, second = path.read_text().splitlines()
    assert header.startswith("set,name,height,width,input_psnr_l,restored_psnr_l,input_ssim_l")
    assert first.endswith("0.png,16,20" + ",20.0000,22.0000" * 4)
    assert second.endswith("1.png,16,20" + ",30.0000,29.0000" * 4)


def test_papers_figures_say_when_they_do_not_compare():
    assert "34.21" in restorer.published("gopro", 1111)
    assert "not comparable" not in restorer.published("gopro", 1111)
    assert "not comparable: 28 pictures" in restorer.published("hide", 28)


def test_sheet_shows_the_least_gain_first_where_it_is_worst(tmp_path):
    sharp = np.full((400, 500, 3), 128, np.uint8)
    for index in range(3):
        save(tmp_path / "pairs" / "sharp" / f"{index}.png", sharp)
        blurred = sharp.copy()
        blurred[350:, 450:] = 128 + 40 * index  # The worst part is at the lower right.
        save(tmp_path / "pairs" / "blur" / f"{index}.png", blurred)
    picture_set = pair_set(tmp_path / "pairs")
    scores = fixed_scores((20.0, 22.0), (20.0, 21.0), (20.0, 19.0))
    sheet = restorer.worst_sheet(picture_set, scores, identity, restorer.Protocol())
    pixels = np.asarray(sheet)
    assert pixels.shape == (3 * (24 + 320), 3 * 320 + 16, 3)
    for row, level in enumerate((128 + 80, 128 + 40, 128)):
        corner = pixels[row * 344 + 24 + 315, [315, 328 + 315, 656 + 315]]
        np.testing.assert_allclose(corner, [[level] * 3, [level] * 3, [128] * 3], atol=1)


def test_the_sheet_shows_pictures_as_they_were_compared(tmp_path):
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.random((120, 150), np.float32), (0, 0), 3)
    scene = np.uint8(255 * (scene - scene.min()) / np.ptp(scene))[..., np.newaxis].repeat(3, axis=2)
    save(tmp_path / "pairs" / "sharp" / "0.png", scene[10:110, 10:130])
    save(tmp_path / "pairs" / "blur" / "0.png", scene[12:112, 13:133])  # moved, as sharp
    picture_set = pair_set(tmp_path / "pairs")
    difference = {}
    for align in (False, True):
        protocol = restorer.Protocol(align=align)
        scores = [restorer.score(picture_set, identity, protocol, 0)]
        pixels = np.asarray(restorer.worst_sheet(picture_set, scores, identity, protocol))
        blurred, sharp = (pixels[30:100, left : left + 100].astype(float) for left in (4, 660))
        difference[align] = np.abs(blurred - sharp).mean()
    assert difference[True] < 1 < 10 < difference[False]
