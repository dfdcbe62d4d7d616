"""Find what must not reach training: damaged files, broken pairs, copies.

Shared by `curate` and by the builders of `tfds_builders`, so that a folder of one's own and a
public data set are judged by the same rules.

Copies are found in two ways. Byte-identical files have equal SHA-256 sums. Near-duplicates (saved
again, resized, slightly cropped or brightened) have perceptual hashes that differ in at most
`MAX_DISTANCE` of 64 bits, and thumbnails that look alike as well, because flat and misty pictures
share hashes with pictures of other things. On 5,316 varied photos the hash alone paired three that
show different things and the thumbnails none; of photos saved again as JPEG of quality 30 or
halved, all are found, and of those cropped by 2% on every side 97%.

Reference for the hash: `imagehash.phash` (discrete cosine transform, low frequencies, median).
"""

import collections
import concurrent.futures
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np
from PIL import Image

from keras_refocus.pictures import cleaning, color, grayscale, images
from keras_refocus.system import files, machine

# What can be wrong, in the words of the reports.
UNREADABLE, MISSING_PARTNER = cleaning.UNREADABLE, cleaning.MISSING_PARTNER
GRAY, SMALL = cleaning.GRAY, cleaning.SMALL
SIZE_MISMATCH = "blurred and sharp differ in size"
IDENTICAL_SIDES = "blurred and sharp are identical"
DUPLICATE = "byte-identical copy"
LEAK = "near-duplicate of a held-out image"
NEAR_DUPLICATE = "near-duplicate"

#: Bits in which the perceptual hashes of near-duplicates may differ.
MAX_DISTANCE = 8

# Least correlation of the thumbnails of near-duplicates. Where one of the two is nearly flat its
# correlation is noise, and their mean absolute difference decides.
_MIN_CORRELATION = 0.9
_FLAT, _MAX_DIFFERENCE = 3.0, 4.0

_THUMBNAIL = 16
# Pairs of hashes compared at once.
_BLOCK = 1 << 16
# A multiple of the 32 pixels that the hash works on.
_HASH_SOURCE = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What is known of one file without keeping its pixels.

    Attributes:
        sha256: Sum of the bytes, hexadecimal.
        bytes: Length of the file.
        problem: Why it cannot be read; `None` if it can, and only then the rest is known.
        height: Pixels, upright.
        width: Pixels, upright.
        bits: Bits per channel: 8 or 16.
        hash: Perceptual hash, 64 bits.
        thumbnail: 16 x 16 grey pixels, row by row.
        gray: Whether the picture has no colour; `None` if that was not asked.
    """

    sha256: str
    bytes: int
    problem: str | None = None
    height: int = 0
    width: int = 0
    bits: int = 0
    hash: int = 0
    thumbnail: bytes = b""
    gray: bool | None = None


def inspect(content: bytes, *, ask_gray: bool = False) -> Inspection:
    """Read a picture through and describe it.

    Args:
        content: The bytes of a file.
        ask_gray: Whether to find out if it is a grey picture.

    Returns:
        `Inspection`; a file that cannot be read is described, not raised.
    """
    return _inspect(content, ask_gray=ask_gray)[0]


def inspect_pair(blurred: bytes, sharp: bytes) -> tuple[Inspection, Inspection, str | None]:
    """Read both sides of a pair and compare them.

    Args:
        blurred: The bytes of the blurred file.
        sharp: The bytes of the sharp file.

    Returns:
        `(blurred, sharp, problem)`: two inspections, and `UNREADABLE`, `SIZE_MISMATCH`,
        `IDENTICAL_SIDES` or `None`.
    """
    blurred_inspection, blurred_rgb = _inspect(blurred)
    sharp_inspection, sharp_rgb = _inspect(sharp)
    if blurred_rgb is None or sharp_rgb is None:
        problem = UNREADABLE
    elif blurred_rgb.shape != sharp_rgb.shape:
        problem = SIZE_MISMATCH
    elif np.array_equal(blurred_rgb, sharp_rgb):
        problem = IDENTICAL_SIDES
    else:
        problem = None
    return blurred_inspection, sharp_inspection, problem


def _inspect(content, *, ask_gray=False):
    identity = {"sha256": files.sha256(content), "bytes": len(content)}
    try:
        photo = images.read(content)
    except (ValueError, ImportError) as error:
        return Inspection(**identity, problem=str(error)), None
    value, thumbnail = fingerprint(photo.rgb)
    inspection = Inspection(
        **identity,
        height=photo.height,
        width=photo.width,
        bits=photo.bits,
        hash=value,
        thumbnail=thumbnail,
        gray=bool(grayscale.is_grayscale(photo.rgb)) if ask_gray else None,
    )
    return inspection, photo.rgb


def fingerprint(rgb: np.ndarray) -> tuple[int, bytes]:
    """Perceptual hash and thumbnail of a picture.

    Args:
        rgb: uint8 or uint16 array of shape `(height, width, 3)`, sRGB.

    Returns:
        `(hash, thumbnail)`: 64 bits as an integer, and 16 x 16 grey pixels as bytes.
    """
    # Imported here: it brings SciPy, a third of a second that `--help` need not wait for.
    import imagehash

    small = cv2.resize(rgb, (_HASH_SOURCE, _HASH_SOURCE), interpolation=cv2.INTER_AREA)
    small = cv2.cvtColor(color.from_float(color.to_float(small), "uint8"), cv2.COLOR_RGB2GRAY)
    bits = imagehash.phash(Image.fromarray(small)).hash
    thumbnail = cv2.resize(small, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(bits).tobytes(), "big"), thumbnail.tobytes()


class Fingerprints:
    """Hashes and thumbnails of many pictures, compact (264 bytes each), and who resembles whom.

    Nothing here compares every picture with every other. Hashes within `MAX_DISTANCE` bits agree
    exactly in at least one of `MAX_DISTANCE + 1` pieces, so only those that share a piece are
    compared (multi-index hashing, Norouzi et al., CVPR 2012).

    Args:
        inspections: `Inspection` of readable pictures.
    """

    def __init__(self, inspections: Iterable[Inspection]):
        hashes, thumbnails = [], []
        for inspection in inspections:
            hashes.append(inspection.hash)
            thumbnails.append(np.frombuffer(inspection.thumbnail, np.uint8))
        self._hashes = np.array(hashes, np.uint64)
        self._thumbnails = np.array(thumbnails, np.uint8).reshape(-1, _THUMBNAIL**2)

    def __len__(self):
        return len(self._hashes)

    def groups(self, scenes: Iterable | None = None) -> list[list[int]]:
        """Find pictures that resemble each other.

        Args:
            scenes: A label for each picture. Frames of one video resemble each other by nature:
                pictures of equal label are not compared. Without it all are.

        Returns:
            Groups of two or more indices, each picture in at most one; a picture belongs to a group
            if it resembles any other of it. Sorted.
        """
        # Pictures of equal hash and look are one cluster and are compared once for all of them: a
        # thousand black frames cost a thousand comparisons and not half a million.
        clusters = self._clusters()
        firsts = np.array([cluster[0] for cluster in clusters], np.int64)
        # -1 where everything may be compared: no scenes were given, or the cluster has several.
        cluster_scenes = np.full(len(clusters), -1, np.int64)
        if scenes is not None:
            numbers = {}
            labels = [numbers.setdefault(scene, len(numbers)) for scene in scenes]
            for number, cluster in enumerate(clusters):
                inside = {labels[index] for index in cluster}
                cluster_scenes[number] = inside.pop() if len(inside) == 1 else -1

        parents = list(range(len(clusters)))

        def root(number):
            while parents[number] != number:
                parents[number] = parents[parents[number]]
                number = parents[number]
            return number

        for left, right in _candidates(self._hashes[firsts], self._hashes[firsts], same=True):
            allowed = cluster_scenes[left] != cluster_scenes[right]
            allowed |= cluster_scenes[left] < 0
            left, right = left[allowed], right[allowed]
            alike = self._look_alike(firsts[left], self, firsts[right])
            for one, other in zip(left[alike].tolist(), right[alike].tolist(), strict=True):
                one, other = root(one), root(other)
                parents[max(one, other)] = min(one, other)

        families = collections.defaultdict(list)
        for number in range(len(clusters)):
            families[root(number)].append(number)
        found = []
        for family in families.values():
            members = sorted(index for number in family for index in clusters[number])
            # Alone in its family, a cluster of one scene is a video that stands still.
            if len(members) > 1 and (len(family) > 1 or cluster_scenes[family[0]] < 0):
                found.append(members)
        return sorted(found)

    def _clusters(self):
        """Lists of indices that share a hash and look alike."""
        clusters = []
        order = np.argsort(self._hashes, kind="stable")
        for run in _runs(self._hashes[order]):
            here = []
            for index in order[run].tolist():
                for cluster in here:
                    if self._look_alike(np.array([index]), self, np.array([cluster[0]]))[0]:
                        cluster.append(index)
                        break
                else:
                    here.append([index])
            clusters += here
        return clusters

    def matches(self, references: "Fingerprints") -> np.ndarray:
        """Find for each picture one of another set that it resembles.

        Args:
            references: The other set.

        Returns:
            int64 array: index of the first such picture in `references`, -1 where there is none.
        """
        nothing = len(references)
        found = np.full(len(self), nothing, np.int64)
        for own, others in _candidates(self._hashes, references._hashes):
            alike = self._look_alike(own, references, others)
            np.minimum.at(found, own[alike], others[alike])
        found[found == nothing] = -1
        return found

    def _look_alike(self, own, references, others):
        """Whether the thumbnails of pairs of indices show the same."""
        left = self._thumbnails[own].astype(np.float32)
        right = references._thumbnails[others].astype(np.float32)
        close = np.abs(left - right).mean(axis=1) <= _MAX_DIFFERENCE
        spreads = left.std(axis=1), right.std(axis=1)
        left -= left.mean(axis=1, keepdims=True)
        right -= right.mean(axis=1, keepdims=True)
        correlated = (left * right).mean(axis=1) >= _MIN_CORRELATION * spreads[0] * spreads[1]
        return np.where(np.minimum(*spreads) < _FLAT, close, correlated)


def _runs(values):
    """Slices of equal neighbours."""
    if not len(values):
        return
    edges = np.flatnonzero(values[1:] != values[:-1]) + 1
    yield from itertools.starmap(slice, itertools.pairwise([0, *edges.tolist(), len(values)]))


def _pieces():
    """Shifts and masks that cut 64 bits into `MAX_DISTANCE + 1` pieces."""
    edges = np.linspace(0, 64, MAX_DISTANCE + 2).round().astype(int).tolist()
    return [(low, (1 << (high - low)) - 1) for low, high in itertools.pairwise(edges)]


def _candidates(hashes, references, *, same=False):
    """Pairs of hashes within `MAX_DISTANCE` bits; some come more than once.

    Args:
        hashes: uint64 array.
        references: uint64 array.
        same: Whether the two are one set: a pair then comes one way only, and none with itself.

    Yields:
        Two int64 arrays of equal length: indices into `hashes` and into `references`.
    """
    for shift, mask in _pieces():
        left = _buckets(hashes, shift, mask)
        right = left if same else _buckets(references, shift, mask)
        for piece in left.keys() & right.keys():
            others = right[piece]
            # Blocks of a size that stays in a core's cache.
            rows = max(1, _BLOCK // len(others))
            for start in range(0, len(left[piece]), rows):
                own = left[piece][start : start + rows]
                distances = np.bitwise_count(hashes[own][:, None] ^ references[others][None])
                row, column = np.nonzero(distances <= MAX_DISTANCE)
                row, column = own[row], others[column]
                if same:
                    row, column = row[row < column], column[row < column]
                if len(row):
                    yield row, column


def _buckets(hashes, shift, mask):
    """Indices of the hashes by the value of one piece."""
    pieces = (hashes >> np.uint64(shift)) & np.uint64(mask)
    order = np.argsort(pieces, kind="stable")
    return {int(pieces[order[run.start]]): order[run] for run in _runs(pieces[order])}


class Findings:
    """What was found wrong, by reason: how many, which, and the detail of each.

    Kept as plain names, so 100,000 of them are a few megabytes.
    """

    def __init__(self):
        self._entries: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)

    def add(self, reason: str, name: str, detail: str = "") -> None:
        """Note one file or pair."""
        self._entries[reason].append((name, detail))

    def count(self, reason: str) -> int:
        """Number of entries of a reason."""
        return len(self._entries.get(reason, ()))

    def names(self, reason: str) -> list[str]:
        """Names noted for a reason, sorted."""
        return sorted(name for name, _ in self._entries.get(reason, ()))

    def without(self, reason: str) -> tuple["Findings", list[tuple[str, str]]]:
        """The other findings, and `(name, detail)` of the entries of a reason."""
        rest = Findings()
        rest._entries.update((r, list(e)) for r, e in self._entries.items() if r != reason)
        return rest, list(self._entries.get(reason, ()))

    def __len__(self):
        return sum(map(len, self._entries.values()))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def to_json(self) -> dict:
        """`{reason: {"count": n, "names": {name: detail}}}`, ready for `json.dumps`."""
        return {
            reason: {"count": len(entries), "names": dict(sorted(entries))}
            for reason, entries in sorted(self._entries.items())
        }

    def lines(self, *, most: int = 5) -> list[str]:
        """One line for each reason, with the first `most` names."""
        result = []
        for reason in self:
            names = self.names(reason)
            shown = ", ".join(names[:most]) + (", ..." if len(names) > most else "")
            result.append(f"{len(names)} {reason}: {shown}")
        return result


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A picture or a pair, as the search for copies sees it.

    Attributes:
        name: What the report calls it.
        split: Part of the data that it is in, such as "train"; empty if there are no parts.
        content: Sums that make it a copy when equal: of the file, or of both files of a pair.
        inspection: The inspection whose fingerprint counts: of the sharp side, for a pair.
        scene: Where it was taken, such as its video; `None` if that is unknown.
    """

    name: str
    split: str
    content: str
    inspection: Inspection
    scene: str | None = None


def find_copies(
    subjects: list[Subject],
    *,
    left_out: Findings,
    kept: Findings,
    splits: tuple[str, ...] = ("",),
    protected: tuple[str, ...] = (),
) -> set[int]:
    """Decide which copies must go.

    * Of byte-identical subjects the first stays: that of the earlier split, then of the earlier
      name.
    * A near-duplicate of a subject in an earlier split goes: it would let a model learn what it is
      tested on.
    * Near-duplicates inside a split are named and stay: frames of a video, or of a burst, resemble
      each other and are still worth training on. Those of one scene are not even named.

    Args:
        subjects: Readable pictures or pairs.
        left_out: Takes the names of what goes.
        kept: Takes the names of what stays though it is a copy.
        splits: All splits, the one to be guarded best first, as in `("test", "validation",
            "train")`.
        protected: Splits out of which nothing goes, because published results depend on them.

    Returns:
        Indices of the subjects that go.
    """
    rank = {split: position for position, split in enumerate(splits)}
    order = sorted(range(len(subjects)), key=lambda i: (rank[subjects[i].split], subjects[i].name))
    gone = set()

    def drop(index, reason, other):
        subject = subjects[index]
        detail = f"of {other.name}" + (f" in {other.split}" if other.split else "")
        if subject.split in protected:
            kept.add(reason, subject.name, detail)
        else:
            left_out.add(reason, subject.name, detail)
            gone.add(index)

    firsts = {}
    identical = set()
    for index in order:
        first = firsts.setdefault(subjects[index].content, index)
        if first != index:
            identical.add(index)
            drop(index, DUPLICATE, subjects[first])

    guarded = []
    for split in splits:
        own = [i for i in order if subjects[i].split == split and i not in identical]
        prints = Fingerprints(subjects[i].inspection for i in own)
        if guarded and own:
            references = Fingerprints(subjects[i].inspection for i in guarded)
            for index, match in zip(own, prints.matches(references).tolist(), strict=True):
                if match >= 0:
                    drop(index, LEAK, subjects[guarded[match]])
        scenes = [_scene(subjects[i], i) for i in own]
        for group in prints.groups(scenes):
            members = [subjects[own[i]].name for i in group if own[i] not in gone]
            for name in members[1:]:
                kept.add(NEAR_DUPLICATE, name, f"of {members[0]}")
        guarded += own
    return gone


def _scene(subject, index):
    # Without a scene a picture is a scene of its own, and compared with every other.
    return index if subject.scene is None else subject.scene


def default_threads() -> int:
    """Number of cores that this process may use, at most 16."""
    return min(16, machine.usable_cores())


def map_in_threads(function: Callable, items: Iterable, *, threads: int | None = None) -> Iterator:
    """Apply a function in threads and give the results in order, a bounded number ahead.

    Decoders, encoders and numpy let go of Python's lock, so threads do here what processes would,
    without a copy of every library for each.

    Args:
        function: Applied to each item.
        items: Read only as far as results are taken.
        threads: Default `default_threads()`; 1 works in the calling thread.

    Yields:
        Results in the order of `items`.
    """
    threads = default_threads() if threads is None else threads
    if threads <= 1:
        yield from map(function, items)
        return
    items = iter(items)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        pending = collections.deque(
            pool.submit(function, item) for item in itertools.islice(items, 4 * threads)
        )
        try:
            while pending:
                result = pending.popleft().result()
                for item in itertools.islice(items, 1):
                    pending.append(pool.submit(function, item))
                yield result
        finally:
            for future in pending:
                future.cancel()
