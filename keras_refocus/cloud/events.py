"""What AWS Lambda runs when pictures arrive in a bucket: prepare them, or restore them.

    handler = events.start()     # serving/aws/app.py; settings come from variables

Events come from S3 directly, through SQS, or from EventBridge. Of a batch of SQS only what failed
is handed back. Each event ends in one of these ways:

* The result is in the target, under the picture's name. The same event again changes nothing: the
  result carries the ETag of the picture it was made of.
* What is not a picture, or not one that may be used, is copied to the place of rejected ones, with
  its reason in `<name>.reason.txt`. It is done then, and never blocks a batch.
* What fails for a while (the store, the network), and what would not be done before the function is
  stopped, is handed back to the queue, and after some attempts ends in its dead-letter queue.

Two stages: `prepare` brings pictures upright, to sRGB, to one size and format, by the code of
`refocus curate`; `restore` restores them.
"""

import dataclasses
import io
import json
import logging
import os
import pathlib
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args
from urllib.parse import unquote_plus, urlsplit

import numpy as np
from PIL import Image

from keras_refocus.cloud import restoring, retries, storage
from keras_refocus.pictures import catalogue, cleaning, images
from keras_refocus.restoration import pipeline
from keras_refocus.system import extras

logger = logging.getLogger(__name__)

Stage = Literal["prepare", "restore"]

#: What a picture's name gets behind it for the reason why it was rejected.
REASON_SUFFIX = ".reason.txt"
#: Folder, in the place of rejected pictures, of notes about pairs of which one side is there.
MISSING = "missing-partner"

# What a picture may take longer than estimated, as a factor and in seconds.
_MARGIN, _SPARE = 1.5, 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """What the function does, and where.

    Attributes:
        stage: `"prepare"` or `"restore"`.
        source: Address whose pictures are taken; others are passed by.
        target: Address of the results.
        rejected: Address of what cannot be used.
        copying: How prepared pictures look.
        settings: How pictures are restored.
        min_size: Least short side in pixels.
        drop_gray: Whether pictures without colour are rejected by `prepare`.
        pairs: Whether `prepare` notes pictures of pairs whose partner has not arrived.
        max_pixels: Most pixels of a picture.
        seconds_per_megapixel: What a picture takes, before it was measured here.
        timeout: Seconds that the function has at most, `None` if that is not told. What takes
            longer is rejected: handing it back would not help.

    Raises:
        ValueError: An output lies where it would trigger the function again, or a value is out of
            its range.
    """

    stage: Stage
    source: str
    target: str
    rejected: str
    copying: cleaning.Copying = cleaning.AS_IT_IS
    settings: restoring.Settings = dataclasses.field(default_factory=restoring.Settings)
    min_size: int = 1
    drop_gray: bool = False
    pairs: bool = False
    max_pixels: int = 100_000_000
    seconds_per_megapixel: float = 4.0
    timeout: float | None = None

    def __post_init__(self):
        if self.stage not in get_args(Stage):
            raise ValueError(
                f"The stage must be one of {', '.join(get_args(Stage))}. Received: "
                f"{self.stage!r}. Set REFOCUS_STAGE."
            )
        for name in ("target", "rejected"):
            if _overlap(self.source, getattr(self, name)):
                raise ValueError(
                    f"The {name} must lie outside the source, or each result would trigger the "
                    f"function again. Received: source={self.source}, "
                    f"{name}={getattr(self, name)}. Use another bucket."
                )
        if _overlap(self.target, self.rejected):
            raise ValueError(
                "Rejected pictures must not lie among the results. Received: "
                f"target={self.target}, rejected={self.rejected}. Use another bucket."
            )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Configuration":
        """Read the configuration from variables `REFOCUS_...`; see docs/cloud.md.

        Raises:
            ValueError: One is missing or out of its range.
        """
        missing = [
            f"REFOCUS_{name}"
            for name in ("STAGE", "SOURCE", "TARGET", "REJECTED")
            if not environment.get(f"REFOCUS_{name}")
        ]
        if missing:
            raise ValueError(
                f"The function needs {', '.join(missing)}. Received: no value. Set them as "
                "variables of the function."
            )

        def value(name, kind, default):
            text = environment.get(f"REFOCUS_{name}", "")
            if text == "":
                return default
            try:
                return kind(text)
            except ValueError:
                raise ValueError(
                    f"REFOCUS_{name} must be of the kind {kind.__name__.strip('_')}. Received: "
                    f"{text!r}. Correct the variable."
                ) from None

        given = environment.get("REFOCUS_FORMAT", "").lower().removeprefix(".")
        names = {known.lower(): known for known in images.FORMATS}
        names |= {suffix[1:]: known for known, suffix in images.FORMATS.items()}
        if given and given not in names:
            raise ValueError(
                f"REFOCUS_FORMAT must be one of {', '.join(images.FORMATS)}. Received: {given!r}."
            )
        form = names.get(given)
        quality = value("QUALITY", int, 95)
        max_pixels = round(1e6 * value("MAX_MEGAPIXELS", float, 100.0))
        return cls(
            stage=environment["REFOCUS_STAGE"],
            source=environment["REFOCUS_SOURCE"],
            target=environment["REFOCUS_TARGET"],
            rejected=environment["REFOCUS_REJECTED"],
            copying=cleaning.Copying(
                format=form or "PNG",
                size=value("SIZE", int, None),
                upscale=value("UPSCALE", _bool, False),
                quality=quality,
            ),
            settings=restoring.Settings(
                options=pipeline.RestoreOptions(
                    mode=environment.get("REFOCUS_MODE") or "restore",
                    strength=value("STRENGTH", float, 1.0),
                    blur_faces=value("BLUR_FACES", _bool, False),
                ),
                format=form,
                quality=quality,
                max_pixels=max_pixels,
            ),
            min_size=value("MIN_SIZE", int, 1),
            drop_gray=value("DROP_GRAY", _bool, False),
            pairs=value("PAIRS", _bool, False),
            max_pixels=max_pixels,
            seconds_per_megapixel=value("SECONDS_PER_MEGAPIXEL", float, 4.0),
            timeout=value("TIMEOUT", float, None),
        )


class NoTime(RuntimeError):
    """The function would be stopped before the picture is done; the message goes back."""


class HandedBack(RuntimeError):
    """A message of a queue that could not be done now, and why."""


class NotUsable(ValueError):
    """The picture is not one, or not one that may be used."""


class Handler:
    """Does what an event asks for.

    Args:
        configuration: What to do, and where.
        restorer: Restores pictures; needed for the stage `restore`.
    """

    def __init__(self, configuration: Configuration, restorer: pipeline.Restorer | None = None):
        if configuration.stage == "restore" and restorer is None:
            raise ValueError("The stage restore needs a restorer. Received: restorer=None.")
        extras.require("cloud", "The function", "aws_lambda_powertools")
        self._configuration = configuration
        self._restorer = restorer
        self._source = storage.open_place(configuration.source)
        self._target = storage.open_place(configuration.target)
        self._rejected = storage.open_place(configuration.rejected)
        self._pace = configuration.seconds_per_megapixel

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Do what an event of S3, SQS or EventBridge asks for.

        Args:
            event: As Lambda gives it.
            context: As Lambda gives it; asked for the time that is left.

        Returns:
            For SQS what Lambda wants to know: the messages that failed. Otherwise what became of
            each picture.

        Raises:
            ValueError: It is an event of another kind.
            Exception: A picture of S3 or EventBridge could not be done now; Lambda asks again.
        """
        if "Records" in event and event["Records"] and _is_sqs(event["Records"][0]):
            return self._batch(event, context)
        told, failure = [], None
        for bucket, key in _objects(event):
            try:
                told.append(self.process(bucket, key, context))
            except Exception as error:
                logger.warning("s3://%s/%s: %s", bucket, key, retries.say(error))
                failure = failure or error
        if failure is not None:
            raise failure
        return {"pictures": told}

    def _batch(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        from aws_lambda_powertools.utilities import batch

        processor = batch.BatchProcessor(
            event_type=batch.EventType.SQS, raise_on_entire_batch_failure=False, logger=logger
        )

        def done(record):
            try:
                for bucket, key in _objects(json.loads(record.body)):
                    self.process(bucket, key, context)
            except Exception as error:
                # What is raised is logged with all that led to it, addresses among them.
                raise HandedBack(retries.say(error)) from None

        return batch.process_partial_response(event, done, processor, context)

    def process(self, bucket: str, key: str, context: Any) -> dict[str, str]:
        """Prepare or restore one object, or reject it.

        Returns:
            `{"picture", "status", "reason"}`; the status is `"done"`, `"skipped"`, `"rejected"` or
            `"passed by"`.

        Raises:
            Exception: It cannot be done now.
        """
        shown = f"s3://{bucket}/{key}"
        scheme, _, root = self._configuration.source.partition("://")
        prefix = f"{root.rstrip('/')}/"
        name = f"{bucket}/{key}".removeprefix(prefix)
        if scheme == "s3" and not f"{bucket}/{key}".startswith(prefix):
            return _told(shown, "passed by", "it lies outside the source")
        if not name or name.endswith("/"):
            return _told(shown, "passed by", "it is a folder")
        entry = self._source.entry(name)
        if entry is None:
            return _told(shown, "passed by", "it is not there any more")
        if self._configuration.pairs and self._configuration.stage == "prepare":
            self._note_partner(name)
        target = self._target_name(name)
        task = restoring.Task(source=self._source, entry=entry, out=self._target, target=target)
        note = self._target.note(target)
        if note and note.get("source") == entry.tag and note.get("settings") == self._key:
            return _told(shown, "skipped", "it was done before")
        note = self._rejected.note(f"{_safe(name)}{REASON_SUFFIX}")
        if note and note.get("source") == entry.tag and note.get("settings") == self._key:
            return _told(shown, "skipped", "it was rejected before")
        content = None
        try:
            _check_name(target)
            if entry.size is not None and entry.size > storage.LARGEST:
                raise NotUsable(f"It is {entry.size:,} bytes long, more than is read.")
            content = self._source.read(name)
            megapixels = _pixels(content) / 1e6
            if megapixels * 1e6 > self._configuration.max_pixels:
                raise NotUsable(
                    f"It has {megapixels:.1f} megapixels; at most "
                    f"{self._configuration.max_pixels / 1e6:.1f} are taken."
                )
            self._check_time(megapixels, context)
            started = time.monotonic()
            if self._configuration.stage == "prepare":
                self._prepare(task, content)
            else:
                try:
                    restoring.restore_content(
                        task, content, self._restorer, self._configuration.settings
                    )
                except ValueError as error:
                    raise NotUsable(retries.say(error)) from error
            self._measure(megapixels, time.monotonic() - started)
        except (NotUsable, MemoryError) as error:
            reason = retries.say(error)
            self._reject(name, entry, content, reason)
            return _told(shown, "rejected", reason)
        return _told(shown, "done", "")

    @property
    def _key(self) -> str:
        """Stands for the settings that decide how a result looks."""
        if self._configuration.stage == "restore":
            return self._configuration.settings.key
        return json.dumps(
            [
                dataclasses.asdict(self._configuration.copying),
                self._configuration.min_size,
                self._configuration.drop_gray,
            ]
        )

    def _target_name(self, name: str) -> str:
        if self._configuration.stage == "restore":
            return self._configuration.settings.target(name)
        suffix = images.FORMATS[self._configuration.copying.format]
        return pathlib.PurePosixPath(name).with_suffix(suffix).as_posix()

    def _prepare(self, task: restoring.Task, content: bytes) -> None:
        configuration = self._configuration
        try:
            photo = restoring.decode(content, task.shown, configuration.max_pixels)
        except ValueError as error:
            raise NotUsable(retries.say(error)) from error
        fault = cleaning.fault_of_photo(
            photo, min_size=configuration.min_size, drop_gray=configuration.drop_gray
        )
        if fault is not None:
            raise NotUsable(": ".join(part for part in fault if part))
        rgb = cleaning.clean(photo, configuration.copying)
        prepared = images.encode(
            images.Photo(rgb=rgb),
            format=configuration.copying.format,
            quality=configuration.copying.quality,
        )
        note = {
            "source": task.entry.tag,
            "settings": self._key,
            "input_sha256": storage.sha256(content),
        }
        task.out.write(task.target, prepared, note)

    def _reject(self, name: str, entry: storage.Entry, content: bytes | None, reason: str) -> None:
        if content is not None:
            self._rejected.write(_safe(name), content)
        note = {"source": entry.tag, "settings": self._key}
        self._rejected.write(f"{_safe(name)}{REASON_SUFFIX}", f"{reason}\n".encode(), note)

    def _note_partner(self, name: str) -> None:
        """Note that the other side of a pair is missing, and take the note back when it comes."""
        found = catalogue.other_side(name)
        if found is None:
            return
        side, stems = found
        own = f"{MISSING}/{_safe(name)}.txt"
        there = [entry.name for stem in stems for entry in self._source.entries(start=f"{stem}.")]
        if not there:
            logger.warning("%s: no %s picture of this pair has arrived", name, side)
            self._rejected.write(own, f"no {side} picture of this pair has arrived\n".encode())
            return
        self._rejected.delete(own)
        for partner in there:
            self._rejected.delete(f"{MISSING}/{_safe(partner)}.txt")

    def _check_time(self, megapixels: float, context: Any) -> None:
        least = megapixels * self._configuration.seconds_per_megapixel
        limit = self._configuration.timeout
        if limit is not None and least > limit:
            raise NotUsable(
                f"It has {megapixels:.1f} megapixels, which need about {least:.0f} s; the function "
                f"has {limit:.0f} s."
            )
        needed = _MARGIN * megapixels * self._pace + _SPARE
        left = context.get_remaining_time_in_millis() / 1000
        if needed > left:
            raise NoTime(
                f"{megapixels:.1f} megapixels need about {needed:.0f} s, {left:.0f} s are left"
            )

    def _measure(self, megapixels: float, seconds: float) -> None:
        # Small pictures say little of large ones; a slow moment counts for a while.
        if megapixels >= 0.1:
            self._pace = max(seconds / megapixels, 0.8 * self._pace)


def start(environment: Mapping[str, str] = os.environ) -> Handler:
    """Make ready for events, as far as that can be done before the first one comes.

    Raises:
        ValueError: The configuration is wrong; nothing is taken from the queue then.
        FileNotFoundError: A model is missing.
    """
    configuration = Configuration.from_environment(environment)
    restorer = None
    if configuration.stage == "restore":
        restorer = pipeline.Restorer()
        options = configuration.settings.options
        restorer.check_models(options)
        # The first picture pays for loading; a small one does it now.
        restorer.restore(np.zeros((64, 64, 3), np.uint8), options)
    return Handler(configuration, restorer)


def _objects(event: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Bucket and key of what arrived, of an event of S3 or EventBridge."""
    from aws_lambda_powertools.utilities.data_classes import (
        S3Event,
        S3EventBridgeNotificationEvent,
    )

    if event.get("Event") == "s3:TestEvent":  # S3 asks whether it may send
        return
    if event.get("source") == "aws.s3" and "detail" in event:
        if event.get("detail-type") == "Object Created":
            detail = S3EventBridgeNotificationEvent(event).detail
            # As it is: EventBridge encodes nothing, though `detail.object.key` decodes it.
            yield detail.bucket.name, detail.object["key"]
        return
    records = event.get("Records")
    if not isinstance(records, list) or any("s3" not in record for record in records):
        raise ValueError(
            "The event must be one of S3, SQS with those of S3, or EventBridge. Received: one "
            f"with the keys {sorted(event)[:10]}. Connect the function as serving/aws does."
        )
    for record in S3Event(dict(event)).records:
        if record.event_name.removeprefix("s3:").startswith("ObjectCreated:"):
            # Encoded as in a form: a space is a plus.
            yield record.s3.bucket.name, unquote_plus(record.s3.get_object.key)


def _is_sqs(record: Mapping[str, Any]) -> bool:
    return record.get("eventSource") == "aws:sqs"


def _told(shown: str, status: str, reason: str) -> dict[str, str]:
    logger.info("%s: %s%s", shown, status, f" ({reason})" if reason else "")
    return {"picture": shown, "status": status, "reason": reason}


def _pixels(content: bytes) -> int:
    """Pixels that a picture promises; where that is not told, as many as it has bytes."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large ones; here their size is what is asked for.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content)) as image:
                return image.width * image.height
    except Exception:
        return len(content)


def _overlap(first: str, second: str) -> bool:
    """Whether one of two addresses lies in the other."""
    one, other = (
        f"{parts.scheme}://{parts.netloc}/{parts.path.strip('/')}".rstrip("/") + "/"
        for parts in (urlsplit(first), urlsplit(second))
    )
    return one.startswith(other) or other.startswith(one)


def _check_name(name: str) -> None:
    try:
        storage.checked(name)
    except ValueError as error:
        raise NotUsable(str(error)) from None


def _safe(name: str) -> str:
    """A name under which a picture of any name can be kept."""
    parts = [part for part in name.replace("\\", "_").split("/") if part not in ("", ".", "..")]
    return "/".join(parts).replace("\0", "_") or "_"


def _bool(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(text)
    return known[text.lower()]
