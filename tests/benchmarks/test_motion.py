"""The table of a plain lens and a coded aperture."""

import json

import cv2
import numpy as np
import pytest
import tiny_pictures as tiny

from keras_refocus.benchmarks import motion as benchmark
from keras_refocus.engines import local
from keras_refocus.evaluation import models


class Echo:
    """The restored picture is the blurred one."""

    def restore(self, tiles, *, model):
        return tiles


def photos(folder, count=3):
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 60, (80, 90, 3))
        rgb = np.clip(tiny.scene(seed, height=80, width=90).astype(int) + noise, 0, 255)
        tiny.save(folder / f"{seed}.png", rgb.astype(np.uint8))
    return folder


def test_three_rows_and_what_the_code_gains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(local, "LocalEngine", lambda folder: Echo())
    report = tmp_path / "rows.json"
    folder = photos(tmp_path / "photos")
    benchmark.main(["--photos", str(folder), "--count", "3", "--size", "48", "--json", str(report)])
    said = capsys.readouterr().out
    rows = json.loads(report.read_text())["rows"]
    names = ["pre-trained (classical)", "standard (classical)", "coded (classical)"]
    assert [row["name"] for row in rows] == names
    assert all(f"| {name} |" in said for name in names)
    for row in rows[:2]:
        assert row["given_others_psnr"] <= row["pooled_others_psnr"] + 1e-9
    assert rows[2]["given_others_psnr"] == rows[2]["pooled_others_psnr"]
    gain = rows[2]["given_others_psnr"] - rows[1]["given_others_psnr"]
    assert f"no direction chosen: {gain:+.2f} dB" in said


def test_a_network_is_measured_in_its_row(tmp_path):
    folder = photos(tmp_path / "photos")
    seen = []

    def run(shown):
        seen.append(shown.shape[-1])
        return np.zeros((*shown.shape[:3], 12), np.float32)

    networks = {
        "pre-trained": models.Network(run, 1, 5),
        "standard": None,
        "coded": models.Network(run, 1, 7),
    }
    rows = benchmark.table(networks, Echo(), "r", photos=folder, count=2, size=48)
    assert [row["name"] for row in rows] == ["pre-trained", "standard (classical)", "coded"]
    assert sorted(set(seen)) == [5, 7]
    # Nothing moves in what it gives: neither direction is better.
    assert rows[0]["pooled_others_psnr"] == pytest.approx(rows[0]["given_others_psnr"])


def test_frames_between_two_of_footage(tmp_path):
    scene = cv2.resize(tiny.scene(0, height=80, width=90), (180, 160))
    for sequence in ("a", "b"):
        for number in range(3):
            moved = np.roll(scene, 6 * number, axis=1)
            tiny.save(tmp_path / "footage" / f"{sequence}_{number}.png", moved)
    clips = benchmark.frames_between(tmp_path / "footage", tmp_path / "clips")
    folders = sorted(path.name for path in clips.iterdir())
    assert folders == ["a_0000", "a_0001", "b_0000", "b_0001"]
    frames = [cv2.imread(str(clips / "a_0000" / f"{n}.png"))[..., ::-1] for n in range(7)]
    np.testing.assert_array_equal(frames[0], scene)
    middle = np.roll(scene, 3, axis=1).astype(int)
    inside = np.abs(frames[3].astype(int) - middle)[20:-20, 30:-30]
    unmoved = np.abs(scene.astype(int) - middle)[20:-20, 30:-30]
    assert inside.mean() < 0.5 * unmoved.mean()
    before = (clips / "a_0000" / "3.png").stat().st_mtime_ns
    benchmark.frames_between(tmp_path / "footage", clips)
    assert (clips / "a_0000" / "3.png").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="at least two frames"):
        benchmark.frames_between(photos(tmp_path / "single", 1), tmp_path / "none")
