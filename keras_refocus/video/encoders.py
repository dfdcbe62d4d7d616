"""Which encoder writes which frames, and with what settings."""

import dataclasses
import difflib
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Encoder:
    """An encoder and its settings.

    Attributes:
        codec: Name of the codec, as files have it.
        name: Of FFmpeg's encoder.
        pixels: Pixel format that it is given.
        options: Of the encoder.
        threads: As many whatever the machine, since with some encoders they change the result.
        segment_format: Of files that hold nothing but its frames, times exactly.
    """

    codec: str
    name: str
    pixels: str
    options: Mapping[str, str]
    threads: int
    segment_format: str


@dataclasses.dataclass(frozen=True)
class _Codec:
    encoder: str
    pixels: tuple[str, ...]
    crf: tuple[int, int, int] | None = None  # lowest, highest, ours
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    segment_format: str = "mp4"


def _depths(kinds: str, *depths: str) -> tuple[str, ...]:
    return tuple(f"{kind}{depth}" for depth in depths for kind in kinds.split())


#: Codecs that can be asked for, by the name that FFmpeg gives them.
CODECS: dict[str, _Codec] = {
    "h264": _Codec(
        "libx264",
        _depths("yuv420p yuv422p yuv444p gray", "", "10le") + ("yuvj420p", "yuvj422p", "yuvj444p"),
        (0, 51, 16),
        {"preset": "medium"},
    ),
    "hevc": _Codec(
        "libx265",
        _depths("yuv420p yuv422p yuv444p gray gbrp", "", "10le", "12le"),
        (0, 51, 18),
        {
            "preset": "medium",
            "x265-params": "log-level=error:frame-threads=2:pools=2",
        },
    ),
    "av1": _Codec("libsvtav1", ("yuv420p", "yuv420p10le"), (0, 63, 22), {"preset": "8"}),
    "vp9": _Codec(
        "libvpx-vp9",
        ("yuv420p", "yuv422p", "yuv440p", "yuv444p", "gbrp"),
        (0, 63, 20),
        {"b": "0", "cpu-used": "4", "row-mt": "1", "deadline": "good"},
    ),
    "ffv1": _Codec(
        "ffv1",
        _depths("yuv420p yuv422p yuv444p", "", "9le", "10le", "12le", "14le", "16le")
        + _depths("yuva420p yuva422p yuva444p", "", "9le", "10le", "12le", "16le")
        + _depths("gray", "", "9le", "10le", "12le", "14le", "16le")
        + _depths("gbrp", "9le", "10le", "12le", "14le", "16le")
        + _depths("gbrap", "10le", "12le", "14le", "16le")
        + ("yuv410p", "yuv411p", "yuv440p", "bgr0", "bgra"),
        None,
        {"level": "3", "slicecrc": "1"},
    ),
    "prores": _Codec(
        "prores_ks",
        ("yuv422p10le", "yuv444p10le", "yuva444p10le"),
        None,
        {},
        "mov",
    ),
}

_ALIASES = {"x264": "h264", "avc": "h264", "h265": "hevc", "x265": "hevc"}

#: Codecs of frames that a container can hold.
HELD_BY = {
    "mp4": {"h264", "hevc", "av1", "vp9"},
    "mov": {"h264", "hevc", "prores"},
    "webm": {"av1", "vp9"},
}

#: Codecs of other streams that an MP4 file can hold.
MP4_STREAMS = {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac", "mov_text", "mp2"}

_THREADS = 4

# Under which name an encoder takes the same samples.
_SAME = {
    "gbrp": ("bgr0",),
    "gbrap": ("bgra",),
    "yuvj420p": ("yuv420p",),
    "yuvj422p": ("yuv422p",),
    "yuvj444p": ("yuv444p",),
    "yuvj440p": ("yuv440p",),
}


def choose(codec: str, pixels: str, *, asked: str | None = None, crf: int | None = None) -> Encoder:
    """Choose the encoder for a clip.

    Args:
        codec: Of the input.
        pixels: Pixel format of the frames.
        asked: The codec that the result must have, if the user said.
        crf: Quality on the codec's own scale, lower is better.

    Returns:
        The encoder: of the codec asked for; else of the input's; else H.264, where it can hold such
        frames without loss of depth or subsampling; else lossless FFV1.

    Raises:
        ValueError: The codec that was asked for is not known or cannot hold such frames, or `crf`
            is out of its range.
    """
    if asked is not None:
        name = _ALIASES.get(asked.lower(), asked.lower())
        if name not in CODECS:
            near = difflib.get_close_matches(name, CODECS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"The codec must be one of {', '.join(CODECS)}. Received: codec='{asked}'.{hint}"
            )
        if _taken(name, pixels) is None:
            able = [known for known in CODECS if _taken(known, pixels)]
            raise ValueError(
                f"The codec must hold frames of {pixels}. Received: codec='{asked}', which cannot. "
                f"Choose one of: {', '.join(able) or 'none can'}."
            )
        return _encoder(name, pixels, crf)
    for name in (_ALIASES.get(codec, codec), "h264", "hevc", "ffv1"):
        if name in CODECS and _taken(name, pixels):
            return _encoder(name, pixels, crf)
    raise ValueError(
        f"Frames must be of a kind that can be written again. Received: {pixels}. Convert the clip "
        "first."
    )


def colored(pixels: str) -> str:
    """The pixel format that holds what a grey one does, and colours."""
    depth = pixels.removeprefix("gray")
    return f"yuv420p{depth}"


def _taken(name: str, pixels: str) -> str | None:
    """The format in which an encoder takes such frames, `None` if it cannot."""
    known = CODECS[name].pixels
    return next((form for form in (pixels, *_SAME.get(pixels, ())) if form in known), None)


def _encoder(name: str, pixels: str, crf: int | None) -> Encoder:
    codec = CODECS[name]
    options = dict(codec.options)
    if codec.crf is None:
        if crf is not None:
            raise ValueError(
                f"The quality can be chosen for other codecs only. Received: crf={crf} for {name}, "
                "which has none. Leave --crf out."
            )
    else:
        low, high, ours = codec.crf
        quality = ours if crf is None else crf
        if not low <= quality <= high:
            raise ValueError(f"The quality of {name} must be {low} to {high}. Received: crf={crf}.")
        options["crf"] = str(quality)
    if name == "prores":
        options["profile"] = "4" if "444" in pixels else "3"
    return Encoder(
        codec=name,
        name=codec.encoder,
        pixels=_taken(name, pixels),
        options=options,
        threads=_THREADS,
        segment_format=codec.segment_format,
    )
