"""How the page behaves, as whoever runs it wants."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class AppSettings:
    """How the page behaves.

    Attributes:
        blur_faces: Whether faces are blurred unless the visitor says otherwise.
        max_pixels: Pixels of the largest photo that is accepted.
        max_upload: Bytes of the largest file that is accepted.
        max_files: Photos that one visitor may have at once.
        max_clip_seconds: How long a clip may be; 0: none are taken.
        max_clip_upload: Bytes of the largest clip that is accepted.
        max_clip_work: How long one clip may be worked on, in seconds; `None`: as long as it takes.
        max_seconds: How long one photo may be worked on; `None`: as long as it takes.
        concurrency: Photos that are worked on at the same time, all visitors together.
        queue_size: Requests that may wait.
        relayed: Whether visitors come through a relay on the internet, which the page then says.
    """

    blur_faces: bool = False
    max_pixels: int = 120_000_000
    max_upload: int = 250_000_000
    max_files: int = 50
    max_clip_seconds: float = 120
    max_clip_upload: int = 500_000_000
    max_clip_work: float | None = 7200
    max_seconds: float | None = 600
    concurrency: int = 1
    queue_size: int = 20
    relayed: bool = False
