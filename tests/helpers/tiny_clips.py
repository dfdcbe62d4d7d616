"""Clips of a few tiny frames, made by the tests that use them, and what is in a file."""

from fractions import Fraction

import av
import cv2
import numpy as np

# Uneven on purpose: the times of a phone's clip.
PHONE_TIMES = [0, 3003, 6006, 7507, 13513, 16516, 16606, 19609, 22612, 25615, 30115, 33118]
TIME_BASE = Fraction(1, 90000)


class ArithmeticEngine:
    """Sharpens a little instead of a network; fails on frames whose mean says so."""

    def __init__(self, *, batch_size=1, fails=lambda tile: False, versions=("restorer",)):
        self.batch_size = batch_size
        self.fails = fails
        self.known = dict.fromkeys((*versions, "colorizer"), "1")
        self.calls = 0

    def restore(self, tiles, *, model="restorer"):
        self.calls += 1
        if any(self.fails(tile) for tile in tiles):
            raise MemoryError("no memory for this frame")
        smooth = np.stack([cv2.blur(tile, (3, 3)) for tile in tiles[..., 0]])[..., np.newaxis]
        return np.clip(tiles + 0.5 * (tiles - smooth), 0, 1).astype(np.float32)

    def colorize(self, luminance, *, model="colorizer"):
        return np.concatenate([luminance / 4, -luminance / 8], axis=-1)

    def versions(self, *models):
        return {name: v for name, v in self.known.items() if not models or name in models}

    def close(self):
        pass


def scene(seed, *, height=48, width=64):
    """A grey picture of soft patches and some texture, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    patches = cv2.resize(rng.random((5, 7), np.float32), (width, height), None, 0, 0, 2)
    return np.clip(0.1 + 0.7 * patches + 0.1 * rng.random((height, width), np.float32), 0, 1)


def moving(seed, count, *, height=48, width=64, step=1.5):
    """Frames of a scene that moves sideways, float32 in [0, 1]."""
    picture = scene(seed, height=height, width=width + int(step * count) + 1)
    frames = []
    for index in range(count):
        matrix = np.float32([[1, 0, -index * step], [0, 1, 0]])
        frames.append(cv2.warpAffine(picture, matrix, (width, height)))
    return frames


def soft(lumas):
    """The same frames without detail of single pixels: of that the means are kept as they are."""
    return [cv2.GaussianBlur(luma, (0, 0), 1.5) for luma in lumas]


def frame_of(luma, format="yuv420p", *, seed=0, full=False, gray=False):
    """A frame whose luma is this and whose other planes are noise, or neutral."""
    height, width = luma.shape
    frame = av.VideoFrame(width, height, format)
    rng = np.random.default_rng(seed)
    bits = frame.format.components[0].bits
    for index, plane in enumerate(frame.planes):
        dtype = np.uint8 if bits == 8 else np.uint16
        samples = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]
        black, scale = (0, 2**bits - 1) if full else (16 << (bits - 8), 219 << (bits - 8))
        if index == 0 and not format.startswith("gbr"):
            samples[...] = np.rint(black + luma * scale)
        elif gray:
            samples[...] = 1 << (bits - 1)
        else:
            middle = 1 << (bits - 1)
            samples[...] = rng.integers(middle // 2, middle + middle // 2, samples.shape)
    return frame


def write(
    path,
    lumas,
    *,
    format="yuv420p",
    codec="ffv1",
    container=None,
    times=None,
    time_base=TIME_BASE,
    full=False,
    gray=False,
    properties=None,
    rotation=None,
    aspect=None,
    sounds=(),
    subtitle=None,
    attachment=None,
    chapters=(),
    metadata=None,
    interlaced=False,
    options=None,
):
    """Write a clip; lossless unless another codec is named. Returns its path."""
    times = times or [3003 * index for index in range(len(lumas))]
    with av.open(str(path), "w", format=container) as result:
        stream = result.add_stream(codec, rate=30, options=dict(options or {}))
        context = stream.codec_context
        context.width, context.height = lumas[0].shape[1], lumas[0].shape[0]
        context.pix_fmt = format
        stream.time_base = context.time_base = time_base
        for name, value in (properties or {}).items():
            setattr(context, name, value)
        if aspect:
            context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        tracks = []
        for language, title, disposition in sounds:
            track = result.add_stream("aac", rate=48000)
            track.layout = "stereo"
            track.metadata.update(language=language, title=title)
            track.disposition = disposition
            tracks.append(track)
        if subtitle:
            words = result.add_mux_stream(subtitle)
            words.metadata["language"] = "spa"
        if attachment:
            result.add_attachment(*attachment)
        result.set_chapters(
            [
                {
                    "id": number,
                    "start": start,
                    "end": end,
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, (start, end, title) in enumerate(chapters)
            ]
        )
        result.metadata.update(metadata or {})
        for index, (luma, pts) in enumerate(zip(lumas, times, strict=True)):
            frame = frame_of(luma, format, seed=index, full=full, gray=gray)
            frame.pts, frame.time_base = pts, time_base
            for name, value in (properties or {}).items():
                setattr(frame, name, value)
            result.mux(stream.encode(frame))
        for seed, track in enumerate(tracks):
            _write_sound(result, track, seed)
        for index in range(3 * bool(subtitle)):
            text = f"Hello {index}".encode()
            packet = av.Packet(bytes([0, len(text)]) + text if subtitle == "mov_text" else text)
            packet.pts = packet.dts = 100 * index
            packet.duration, packet.time_base, packet.stream = 80, Fraction(1, 1000), words
            result.mux(packet)
        result.mux(stream.encode(None))
    return path


def _write_sound(result, track, seed):
    rng = np.random.default_rng(seed)
    for index in range(18):
        samples = (0.1 * rng.standard_normal((2, 1024))).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 48000, 1024 * index
        result.mux(track.encode(frame))
    result.mux(track.encode(None))


def packets(path, kind):
    """`(seconds, bytes)` of the packets of each stream of a kind."""
    with av.open(str(path)) as container:
        indices = [stream.index for stream in container.streams if stream.type == kind]
        found = {index: [] for index in indices}
        for packet in container.demux():
            if packet.size and packet.stream.index in found:
                found[packet.stream.index].append((packet.pts * packet.time_base, bytes(packet)))
    return list(found.values())


def times(path):
    """Presentation times of the frames, in seconds, exactly."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def planes(path):
    """The samples of all frames: for each a list of arrays, cut to their visible size."""
    result = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            bits = frame.format.components[0].bits
            dtype = np.uint8 if bits == 8 else np.uint16
            result.append(
                [
                    np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width].copy()
                    for plane in frame.planes
                ]
            )
    return result
