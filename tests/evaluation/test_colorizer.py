import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_refocus import evaluate
from keras_refocus.evaluation import colorizer, sets
from keras_refocus.evaluation.colorizer import Protocol
from keras_refocus.pictures import color
from keras_refocus.restoration import pipeline


def answers(a, b):
    """A colorizer that gives every pixel the same chroma, in units of a* and b*."""
    return lambda luminance: np.broadcast_to(
        np.array([a / 110, b / 110], "float32"), (*luminance.shape[:3], 2)
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of one colour each: a warm grey, a red and a green."""
    folder = tmp_path_factory.mktemp("photos")
    for name, chroma in (("grey", (2, 3)), ("red", (40, 20)), ("green", (-30, 25))):
        luminance = np.linspace(0.45, 0.55, 40 * 30, dtype="float32").reshape(40, 30, 1)
        flat = np.broadcast_to(np.array(chroma, "float32") / 110, (40, 30, 2))
        rgb = color.from_float(color.lab_to_rgb(luminance, flat), "uint8")
        Image.fromarray(rgb).save(folder / f"{name}.png")
    return folder


def scores_of(photos, model, **options):
    return [
        colorizer.score(photos / f"{name}.png", f"{name}.png", model, Protocol(), **options)
        for name in ("grey", "red", "green")
    ]


def test_grey_answer_scores_as_the_grey_picture(photos):
    for item in scores_of(photos, answers(0, 0)):
        values = item.values
        # Here and there a channel is rounded the other way.
        assert values["psnr"] == pytest.approx(values["gray_psnr"], abs=0.02)
        assert values["ssim"] == pytest.approx(values["gray_ssim"], abs=1e-3)
        assert values["chroma_error"] == pytest.approx(values["gray_chroma_error"], abs=0.05)
        assert values["colorfulness"] == pytest.approx(0.0, abs=0.5)


def test_chroma_errors_by_hand(photos):
    grey, red, green = (item.values for item in scores_of(photos, answers(40, 20)))
    # 8 bits round a* and b* by about half a unit.
    assert red["chroma_error"] == pytest.approx(0.0, abs=0.8)
    assert red["gray_chroma_error"] == pytest.approx(np.hypot(40, 20), abs=0.8)
    assert green["chroma_error"] == pytest.approx(np.hypot(70, 5), abs=0.8)
    assert grey["chroma_error"] == pytest.approx(np.hypot(38, 17), abs=0.8)
    assert red["psnr"] > red["gray_psnr"] and green["psnr"] < green["gray_psnr"]
    assert red["colorfulness"] == pytest.approx(red["true_colorfulness"], rel=0.03)


def test_unevenness_is_the_deviation_where_the_photo_is_plain():
    plain = np.full((80, 120, 2), 0.1)
    given = plain.copy()
    given[:, 1::2, 0] += 8 / 110  # stripes of 8 units in a*: windows of 10 pixels deviate by 4
    value, own = colorizer.unevenness(given, plain)
    assert value == pytest.approx(4.0, abs=0.05)
    assert own == pytest.approx(0.0, abs=1e-3)
    # Only where the photo is plain: of a picture that is striped itself nothing is left.
    half = plain.copy()
    half[:, 61:] = given[:, 61:]
    value, own = colorizer.unevenness(given, half)
    assert value == pytest.approx(4.0, abs=0.05) and own < 0.5
    assert np.isnan(colorizer.unevenness(plain, given)).all()


def test_photos_without_plain_surfaces_have_no_unevenness(photos):
    scores = scores_of(photos, answers(40, 20))
    # Even chroma, rounded to 8 bits.
    assert colorizer.summary(scores)["means"]["unevenness"] < 1.0
    assert "unevenness" in colorizer.as_text(scores)
    for item in scores:
        item.values["unevenness"] = item.values["true_unevenness"] = float("nan")
    report = colorizer.summary(scores)
    assert report["means"]["unevenness"] is None
    assert "unevenness" not in colorizer.as_text(scores)
    json.dumps(report, allow_nan=False)


def test_the_report_is_made_of_means(photos):
    scores = scores_of(photos, answers(40, 20))
    report = colorizer.summary(scores)
    errors = [item.values["chroma_error"] for item in scores]
    grey_errors = [item.values["gray_chroma_error"] for item in scores]
    assert report["means"]["chroma_error"] == pytest.approx(np.mean(errors), abs=1e-4)
    assert report["chroma_error_share"] == pytest.approx(
        np.mean(errors) / np.mean(grey_errors), abs=1e-3
    )
    means = report["means"]
    assert report["colorfulness_share"] == pytest.approx(
        means["colorfulness"] / means["true_colorfulness"], abs=1e-3
    )
    assert report["colorfulness_difference"] == pytest.approx(
        means["colorfulness"] - means["true_colorfulness"], abs=1e-3
    )
    assert report["further_than_grey"] == 2
    assert "fid" not in report
    text = colorizer.as_text(scores)
    assert "2 of 3" in text and "PSNR RGB" in text and "LPIPS" not in text


def test_colours_take_the_way_of_the_pipeline(photos):
    class Engine:
        batch_size = 1

        def colorize(self, luminance, *, model):
            # Something that varies, at the size that the pipeline chooses.
            return np.concatenate([0.3 * luminance, 0.2 - 0.4 * luminance], axis=-1)

        def versions(self, *models):
            return dict.fromkeys(models, "1")

    rgb = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    gray = colorizer.make_gray(rgb)
    assert (gray[..., :1] == gray).all()
    assert np.abs(color.rgb_to_luminance(gray) - color.rgb_to_luminance(rgb)).max() < 0.003
    for saturation in (1.0, 0.6):
        options = pipeline.RestoreOptions(mode="colorize", strength=0.0, saturation=saturation)
        expected = pipeline.Restorer(Engine()).restore(gray, options).image
        model = lambda luminance: Engine().colorize(luminance, model=None)  # noqa: E731
        found = colorizer.colorize(model, gray, Protocol(saturation=saturation))
        np.testing.assert_array_equal(found, expected)


def test_the_size_is_what_the_model_sees(photos):
    seen = []

    def model(luminance):
        seen.append(luminance.shape)
        return answers(1, 1)(luminance)

    colorizer.score(photos / "red.png", "red.png", model, Protocol(size=96))
    assert seen == [(1, 96, 96, 1)]
    with pytest.raises(ValueError, match="size=0"):
        Protocol(size=0)


def test_lpips_and_fid_are_measured_when_their_networks_are_there(photos):
    def lpips(picture, true):
        return float(np.abs(picture.astype(int) - true).mean())

    def inception(rgb):
        return rgb.reshape(-1, 3).mean(axis=0)

    scores = scores_of(photos, answers(40, 20), lpips=lpips, inception=inception)
    report = colorizer.summary(scores)
    assert report["means"]["lpips"] > 0 and report["means"]["gray_lpips"] > 0
    assert report["fid"] > 0 and report["gray_fid"] > 0
    assert "LPIPS" in colorizer.as_text(scores) and "FID" in colorizer.as_text(scores)
    true = [np.stack([item.features[side] for item in scores]) for side in ("true", "true")]
    assert colorizer.perceptual.frechet_distance(*true) == pytest.approx(0, abs=1e-6)


def fake_scores(count):
    """Photo `i` is coloured worse than grey by `(7 i) mod count`."""
    return [
        colorizer.Score(
            name=str(index),
            values={"chroma_error": 20.0 + 7 * index % count, "gray_chroma_error": 20.0},
            features={},
        )
        for index in range(count)
    ]


def test_the_sheet_shows_the_worst_ten_and_others():
    worst, others = colorizer.chosen_for_sheet(fake_scores(50), 24)
    assert [7 * index % 50 for index in worst] == list(range(49, 39, -1))
    assert len(others) == len(set(others)) == 14 and not set(worst) & set(others)
    assert min(others) < 5 and max(others) > 45
    assert colorizer.chosen_for_sheet(fake_scores(3), 24)[1] == []


def test_small_photos_are_refused(tmp_path):
    Image.new("RGB", (8, 30)).save(tmp_path / "small.png")
    with pytest.raises(ValueError, match="11 pixels"):
        colorizer.score(tmp_path / "small.png", "small.png", answers(0, 0), Protocol())


# The command.


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    luminance = keras.Input((None, None, 1))
    chroma = keras.layers.Conv2D(2, 3, padding="same", kernel_initializer=_constant(0.05))
    path = tmp_path_factory.mktemp("model") / "colorizer.keras"
    keras.Model(luminance, chroma(luminance)).save(path)
    return path


def _constant(value):
    return keras.initializers.Constant(value)


def run(capsys, *arguments):
    evaluate.main(["colorizer", *map(str, arguments)])
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["colorizer", *map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_the_command_repeats_its_report(model, photos, tmp_path, capsys):
    outputs = []
    for index in range(2):
        table, report = tmp_path / f"{index}.csv", tmp_path / f"{index}.json"
        text = run(capsys, model, "--photos", photos, "--csv", table, "--json", report,
                   "--sheet", tmp_path / "sheet.png", "--size", 64)  # fmt: skip
        outputs.append((text, table.read_text(), report.read_text()))
    assert outputs[0] == outputs[1]
    text, table, report = outputs[0]
    assert "seen at 64x64" in text and "all-grey answer" in text
    assert len(table.splitlines()) == 1 + 3
    assert json.loads(report)["pictures"] == 3
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000


def test_a_manifest_names_the_photos(model, photos, tmp_path, capsys):
    items = sets.photo_items(photos)[:2]
    sharp = sets.PictureSet(folder=photos, items=items, blur=sets.synthetic_blur("none"))
    sets.write_manifest(tmp_path / "two.json", [sharp], input_psnrs=[100.0])
    text = run(capsys, model, "--photos", photos, "--manifest", tmp_path / "two.json")
    assert "2 photos" in text


def test_mistakes_are_answered_with_what_to_do(model, photos, tmp_path, capsys):
    assert "nowhere" in refusal(capsys, model, "--photos", "nowhere")
    assert "size=0" in refusal(capsys, model, "--photos", photos, "--size", 0)
    assert "LPIPS" in refusal(capsys, model, "--photos", photos, "--lpips", tmp_path / "no.npz")
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs)).save(tmp_path / "restorer.keras")
    assert "two channels" in refusal(capsys, tmp_path / "restorer.keras", "--photos", photos)


# Other protocols.


def score_of(photos, model, name="red", **protocol):
    return colorizer.score(
        photos / f"{name}.png", f"{name}.png", model, Protocol(**protocol)
    ).values


def test_the_mean_over_the_mirror_image_cancels_what_a_side_gets(photos):
    def one_sided(luminance):
        chroma = np.zeros((*luminance.shape[:3], 2), "float32")
        chroma[:, :, : luminance.shape[2] // 2, 0] = 80 / 110
        return chroma

    values = score_of(photos, one_sided, mirror=True, size=64)
    # Everywhere half of it: 40 off in a* is right, 20 in b* is missing.
    assert values["chroma_error"] == pytest.approx(20.0, abs=1.5)
    assert score_of(photos, one_sided, size=64)["chroma_error"] > 30


def test_a_frame_is_seen_and_what_lies_in_it_is_compared(photos):
    seen = []

    def model(luminance):
        seen.append(luminance)
        return answers(40, 20)(luminance)

    values = score_of(photos, model, frame=0.25, size=60)
    (picture,) = seen
    # The paper is not shown to the model; of a frame of half a pixel's width it is.
    assert picture[0, 3:-3, 3:-3].max() < 0.6
    score_of(photos, model, frame=0.02, size=60)
    np.testing.assert_allclose(seen[1][0, 0], 1.0, atol=0.3)
    assert values["chroma_error"] == pytest.approx(0.0, abs=0.8)


def test_old_prints_are_seen_and_their_chroma_put_on_the_photo(photos):
    seen = []

    def model(luminance):
        seen.append(luminance.mean())
        return answers(40, 20)(luminance)

    plain = score_of(photos, model)
    for seed in (1, 1, 2):
        old = score_of(photos, model, old_prints=seed)
        # The result has the photo's luminance: its PSNR is that of its colours alone.
        assert old["psnr"] == pytest.approx(plain["psnr"], abs=0.1)
    assert seen[1] == seen[2] != seen[3]
    assert all(abs(one - seen[0]) > 1e-3 for one in seen[1:])


def test_hints_of_the_truth_bring_the_truth_nearer(photos):
    values = score_of(photos, answers(0, 0), hints=20)
    errors = [values[f"hints_{count}_chroma_error"] for count in (1, 5, 20)]
    assert values["chroma_error"] == pytest.approx(np.hypot(40, 20), abs=0.8)
    assert all(error < 0.2 * values["chroma_error"] for error in errors)
    assert values["hints_20_psnr"] > values["psnr"] + 5
    assert "hints_100_psnr" not in values
    assert Protocol(hints=7).hint_counts == [1, 5, 7]
    assert Protocol().hint_counts == []
    score = colorizer.Score(name="red", values=values, features={})
    assert "20 hints: chroma error" in colorizer.as_text([score])


def test_the_simulated_user_knows_the_photo():
    chroma = np.zeros((60, 100, 2), "float32")
    chroma[:, 50:] = (0.3, -0.2)
    given = colorizer.simulated_hints(chroma, 40, np.random.default_rng(0))
    assert len(given.hints) == 40
    given.check((60, 100))
    for hint in given.hints:
        ((x, _),) = hint.points
        if abs(x - 50) > 3:  # away from the edge, over which the patch takes the mean
            wanted = (0.3, -0.2) if x > 50 else (0.0, 0.0)
            np.testing.assert_allclose(110 * hint.chroma, 110 * np.array(wanted), atol=1.0)


def test_the_deltas_of_two_signs_are_one_of_ddcolor(photos):
    for chroma in ((0, 0), (100, 0)):
        report = colorizer.summary(scores_of(photos, answers(*chroma)))
        assert report["delta_colorfulness"] == pytest.approx(abs(report["colorfulness_difference"]))


@pytest.mark.parametrize("wrong", [{"frame": -0.1}, {"hints": -1}, {"hints": 5, "frame": 0.1}])
def test_protocols_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"frame|hints"):
        Protocol(**wrong)
