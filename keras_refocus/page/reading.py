"""Photos read once: ahead where a part was marked, and not again while their pixels are here.

Decoding 40 megapixels takes longer than restoring a face in them. So it begins when a part is
marked, not when Restore is pressed; and what a result was made of serves for the next one.
"""

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor

from keras_refocus.page import decoding
from keras_refocus.page.sessions import Picture, Session, Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.pictures import images

# Smaller photos are read while one presses the button. Pixels.
_WORTH_IT = 3_000_000
_LOOK_EVERY = 0.05


class PhotoReader:
    """Reads the photos of all visitors.

    Args:
        sessions: Where they are kept, and room is made for them.
        settings: How large they may be, and how long one may take.
    """

    def __init__(self, sessions: Sessions, settings: AppSettings):
        self._sessions = sessions
        self._settings = settings
        # One after the other, whoever marks how much.
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="read")

    def read(self, picture: Picture, must_stop: Callable[[], bool]) -> images.Photo:
        """Give the photo, read anew only where its pixels are not here.

        Args:
            picture: The picture.
            must_stop: Asked all the time.

        Returns:
            The photo; what is done with it leaves it as it is.

        Raises:
            CancelledError: `must_stop` said yes.
            Others: As `decoding.Decoder.read`; and OSError: the upload is not there.
        """
        while not picture.reading.acquire(timeout=_LOOK_EVERY):
            if must_stop():
                raise CancelledError("Reading the photo was cancelled.")
        try:
            return self.pixels(picture) or self._decode(picture, must_stop)
        finally:
            picture.reading.release()

    def read_ahead(self, session: Session, picture: Picture) -> None:
        """Begin to read a photo a part of which will be restored, if that takes its time."""
        width, height = picture.size or (0, 0)
        if width * height >= _WORTH_IT and self.pixels(picture) is None:
            self._ahead.submit(self._read_ahead, session, picture)

    @staticmethod
    def pixels(picture: Picture) -> images.Photo | None:
        """The photo, if its pixels are in memory."""
        result = picture.result
        return picture.photo if result is None else result.photo

    def _read_ahead(self, session: Session, picture: Picture) -> None:
        if not picture.reading.acquire(blocking=False):
            return  # It is being read.
        try:
            wanted = picture in session.pictures and picture.region is not None
            under_way = session.job is not None and session.job.state_of(picture) is not None
            if not wanted or under_way or self.pixels(picture) is not None:
                return
            ends = time.monotonic() + (self._settings.max_seconds or float("inf"))
            photo = self._decode(
                picture, lambda: picture not in session.pictures or time.monotonic() > ends
            )
            if picture in session.pictures:
                picture.photo = photo
        except Exception:
            # Whoever restores it meets the same, and is told.
            picture.photo = None
        finally:
            picture.reading.release()

    def _decode(self, picture: Picture, must_stop: Callable[[], bool]) -> images.Photo:
        # From its content: then neither messages nor logs hold the name.
        content = picture.upload.read_bytes()
        photo = decoding.decoder().read(
            content, max_pixels=self._settings.max_pixels, must_stop=must_stop
        )
        del content
        # The result, and luminance in float32, beside the photo itself.
        self._sessions.make_room(2 * photo.rgb.nbytes + 4 * photo.height * photo.width, picture)
        return photo
