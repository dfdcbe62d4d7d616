"""Small made-up data sets, in the layouts in which the real ones are published."""

import cv2
import numpy as np
import tiny_pictures as tiny


def hide_frame(index, video):
    return f"{index}fromGOPR{video}.MP4.png"


def make_hide(root, *, videos=10, frames=2):
    """HIDE in its official layout: `videos * frames` pairs to train on, four to test."""
    seed = 0
    for video in range(videos):
        for frame in range(frames):
            name = hide_frame(frame, 1000 + video)
            tiny.save_pair(root / "train" / name, root / "GT" / name, seed)
            seed += 1
    for folder, video in (("test-close-ups", 2000), ("test-long-shot", 2001)):
        for frame in range(2):
            name = hide_frame(frame, video)
            tiny.save_pair(root / "test" / folder / name, root / "GT" / name, seed)
            seed += 1
    return root


def make_redistributed(root, **options):
    """HIDE as other projects pass it on."""
    make_hide(root, **options)
    for path in sorted(root.glob("test/*/*.png")):
        move(path, root / "test" / "input" / path.name)
        move(root / "GT" / path.name, root / "test" / "target" / path.name)
    for path in sorted(root.glob("train/*.png")):
        move(path, root / "train" / "input" / path.name)
        move(root / "GT" / path.name, root / "train" / "target" / path.name)
    for empty in ("GT", "test/test-close-ups", "test/test-long-shot"):
        (root / empty).rmdir()
    return root


def move(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def make_gopro(root):
    seed = 0
    for split, videos in (
        ("train", ("GOPR0372_07_00", "GOPR0372_07_01", "GOPR0374_11_00")),
        ("test", ("GOPR0384_11_00",)),
    ):
        for video in videos:
            for frame in ("000047.png", "000048.png"):
                sharp = root / split / video / "sharp" / frame
                tiny.save_pair(root / split / video / "blur" / frame, sharp, seed)
                tiny.save(
                    root / split / video / "blur_gamma" / frame, cv2.blur(tiny.scene(seed), (9, 1))
                )
                seed += 1
    return root


def make_reds(root, *, parts=("train", "val")):
    seed = 0
    for part in parts:
        for clip in ("000", "001"):
            for frame in ("00000000.png", "00000001.png"):
                blurred, sharp = (
                    root / part / f"{part}_{side}" / clip / frame for side in ("blur", "sharp")
                )
                tiny.save_pair(blurred, sharp, seed)
                seed += 1
    return root


def make_high_speed(root, clips, *, frames=15):
    """High-speed clips: a scene of its own for each, which moves two pixels from frame to frame."""
    for seed, clip in enumerate(clips):
        wide = tiny.scene(seed, width=80 + 2 * frames).astype(np.float32)
        wide += np.random.default_rng(seed).normal(0, 25, wide.shape)  # Detail that moves.
        wide = np.clip(wide, 0, 255).astype(np.uint8)
        for frame in range(frames):
            tiny.save(root / clip / f"{frame:08}.png", wide[:, 2 * frame : 2 * frame + 80])
    return root


def make_realblur(root, kind="J"):
    folder = realblur_folder(kind)
    lines = {"train": [], "test": []}
    for seed in range(6):
        split = "test" if seed >= 4 else "train"
        gt, blur = (
            f"{folder}/scene{seed // 2:03}/{side}/{side}_{seed}.png" for side in ("gt", "blur")
        )
        tiny.save_pair(root / blur, root / gt, seed)
        lines[split].append(f"{gt} {blur}")
    for split, content in lines.items():
        (root / f"RealBlur_{kind}_{split}_list.txt").write_text("\n".join(content) + "\n")
    return root


def realblur_folder(kind):
    return {
        "J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref",
        "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref",
    }[kind]


def make_dvd(root):
    seed = 0
    for video in ("720p_240fps_1", "720p_240fps_2", "IMG_0001", "IMG_0003"):
        for frame in ("00000.jpg", "00001.jpg"):
            place = root / "quantitative_datasets" / video
            tiny.save_pair(place / "input" / frame, place / "GT" / frame, seed)
            seed += 1
    return root


def make_coco(root, *, train=40, val=3, size=(128, 160)):
    """COCO pictures, large enough for the configuration of 128 pixels."""
    for part, count, first in (("train2017", train, 0), ("val2017", val, 1000)):
        for seed in range(first, first + count):
            path = root / part / f"{seed:012}.jpg"
            tiny.save(path, tiny.scene(seed, height=size[0], width=size[1]), quality=90)
    return root
