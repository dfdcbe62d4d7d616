"""Files of weights as arrays: PyTorch's two formats, safetensors, HDF5, TensorFlow checkpoints.

PyTorch is not needed and no code in a file is run: a pickle may hold tensors, dictionaries and
numbers, and one that names anything else is refused. A file has to say how much it holds, and what
it says is held against limits before memory is taken.
"""

import collections
import dataclasses
import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from keras_refocus.system.files import sha256

# The largest published restorers have 0.3 GB.
MAX_BYTES = 2 * 1024**3
# What names the tensors, beside their numbers; 2,000 tensors take 0.3 MB.
_MAX_PICKLE_BYTES = 16 * 1024**2
_MAX_TENSORS = 100_000
_MAX_DEPTH = 16

_PYTORCH = (".pth", ".pt", ".pkl", ".ckpt", ".bin")
_HDF5 = (".h5", ".hdf5")
_SAFETENSORS = ".safetensors"
_CHECKPOINT_INDEX = ".index"

# The first number in files of PyTorch before 1.6.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_OLD_PROTOCOL = 1001

_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}

# What TensorFlow's optimizers leave beside the weights.
_OPTIMIZER_ENDS = ("/Adam", "/Adam_1", "/Momentum", "/RMSProp", "/RMSProp_1")
_OPTIMIZER_NAMES = ("beta1_power", "beta2_power", "global_step", "save_counter/.ATTRIBUTES")


@dataclasses.dataclass(frozen=True)
class Source:
    """A file that was read.

    Attributes:
        name: Name of the file, without its folder.
        sha256: Of its content, in hexadecimal.
    """

    name: str
    sha256: str


@dataclasses.dataclass(frozen=True)
class Weights:
    """What files of weights hold.

    Attributes:
        tensors: From the name of a tensor to its array; floating-point ones are float32. Where
            there are several files, a name begins with that of its file: `encoder_lv1.layer1.bias`.
        sources: The files.
    """

    tensors: dict[str, np.ndarray]
    sources: tuple[Source, ...]


def read(paths: Iterable[str | Path], *, max_bytes: int = MAX_BYTES) -> Weights:
    """Read the weights of one network.

    Args:
        paths: One or several files, or a folder of them. A checkpoint of TensorFlow is named by its
            `.index` file, by its path without that ending, or by its folder.
        max_bytes: Limit of what the tensors may take, and of each file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is of another kind, damaged, above a limit, or would run code.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise FileNotFoundError("There must be a file of weights. Received: none. Name one.")
    tensors: dict[str, np.ndarray] = {}
    sources: list[Source] = []
    left = max_bytes
    for file in files:
        parts = _parts(file)
        for part in parts:
            if part.stat().st_size > max_bytes:
                raise ValueError(
                    f"A file of weights may have {max_bytes} bytes. Received: '{part}' of "
                    f"{part.stat().st_size}."
                )
        found = _read_file(file, left)
        left -= sum(array.nbytes for array in found.values())
        prefix = f"{_stem(file)}." if len(files) > 1 else ""
        for name, array in found.items():
            if prefix + name in tensors:
                raise ValueError(
                    "The files must have different names, which tell their tensors apart. "
                    f"Received: '{file.name}' twice."
                )
            tensors[prefix + name] = array
        sources += [Source(part.name, sha256(part)) for part in parts]
    return Weights(tensors, tuple(sources))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        known = (*_PYTORCH, *_HDF5, _SAFETENSORS, _CHECKPOINT_INDEX)
        files = sorted(
            file for file in path.iterdir() if file.is_file() and file.suffix.lower() in known
        )
        if not files:
            raise FileNotFoundError(
                f"A folder of weights must hold files ending in {', '.join(known)}. "
                f"Received: '{path}'."
            )
        return files
    if path.is_file():
        return [path]
    index = path.with_name(path.name + _CHECKPOINT_INDEX)
    if index.is_file():
        return [index]
    raise FileNotFoundError(f"The file of weights must exist. Received: '{path}'.")


def _parts(file: Path) -> list[Path]:
    """The file, and those that belong to it."""
    if file.suffix != _CHECKPOINT_INDEX:
        return [file]
    return [file, *sorted(file.parent.glob(f"{file.stem}.data-*"))]


def _stem(file: Path) -> str:
    return file.name.removesuffix(file.suffix)


def _read_file(file: Path, max_bytes: int) -> dict[str, np.ndarray]:
    suffix = file.suffix.lower()
    if suffix == _CHECKPOINT_INDEX:
        return _read_checkpoint(file, max_bytes)
    if suffix == _SAFETENSORS:
        return _read_safetensors(file, max_bytes)
    if suffix in _HDF5:
        return _read_hdf5(file, max_bytes)
    if suffix not in _PYTORCH:
        known = (*_PYTORCH, *_HDF5, _SAFETENSORS, _CHECKPOINT_INDEX)
        raise ValueError(f"A file of weights must end in {', '.join(known)}. Received: '{file}'.")
    try:
        if zipfile.is_zipfile(file):
            return _flatten(_read_zip(file, max_bytes), file)
        return _flatten(_read_old(file, max_bytes), file)
    except _ERRORS as error:
        raise ValueError(
            f"A file of PyTorch must be whole. Received: '{file}', which is damaged or of another "
            f"kind ({type(error).__name__}). Download it again."
        ) from error


# What a damaged file can make the readers raise. ValueErrors have a message of ours.
_ERRORS = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
    NotImplementedError,
)


@dataclasses.dataclass(frozen=True)
class _Storage:
    """Numbers that tensors are views of; in old files they come after the pickle."""

    key: str
    kind: str
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def reads(self) -> int:
        """How many numbers of the storage the view reaches over."""
        if 0 in self.shape:
            return 0
        return (
            self.offset
            + 1
            + sum(
                (side - 1) * stride for side, stride in zip(self.shape, self.strides, strict=True)
            )
        )


def _tensor(storage, offset, shape, strides, *_) -> _Tensor:
    """Stands for `torch._utils._rebuild_tensor_v2`, and for the older `_rebuild_tensor`."""
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or any(
        isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in numbers
    ):
        raise pickle.UnpicklingError("not a tensor")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _parameter(tensor, *_) -> _Tensor:
    """Stands for `torch._utils._rebuild_parameter`."""
    return tensor


class _StorageKind(str):
    """Stands for a class of storages."""


# All that a pickle may name.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    **{("torch", name): _StorageKind(name) for name in _STORAGES},
}


class _Unpickler(pickle.Unpickler):
    """Admits tensors, dictionaries and numbers, and nothing that could run code."""

    def __init__(self, file: BinaryIO, path: Path):
        super().__init__(file, encoding="utf-8")
        self._path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise ValueError(
                "A file of weights may hold tensors and nothing else: what a pickle names is run "
                f"when it is read. Received: '{self._path}', which names {module}.{name}. If you "
                "trust where it is from, load it in PyTorch and save the state_dict alone."
            )
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        tag, kind, key, _, count, *view = pid
        if tag != "storage" or not isinstance(kind, _StorageKind) or (view and view[0]):
            raise pickle.UnpicklingError("not a storage")
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("not a size")
        storage = _Storage(str(key), str(kind), count)
        if self.storages.setdefault(storage.key, storage) != storage:
            raise pickle.UnpicklingError("two storages of one name")
        return storage


def _unpickle(data: bytes, path: Path) -> tuple[Any, dict[str, _Storage], int]:
    """Read one pickle: the object, its storages, and how many bytes it took."""
    length = _check_opcodes(data, path)
    unpickler = _Unpickler(io.BytesIO(data[:length]), path)
    return unpickler.load(), unpickler.storages, length


def _check_opcodes(data: bytes, path: Path) -> int:
    """Refuse a pickle that takes more memory than its size tells; returns its length."""
    try:
        for opcode, argument, position in pickletools.genops(data):
            # The table of remembered objects grows to the number that is asked for.
            if "PUT" in opcode.name and int(argument) > len(data):
                raise pickle.UnpicklingError("a number beyond the file")
            if opcode.name == "STOP":
                return position + 1
    except ValueError as error:
        raise pickle.UnpicklingError(f"'{path}': {error}") from error
    raise EOFError


def _read_zip(file: Path, max_bytes: int) -> Any:
    """The format of PyTorch since 1.6: a pickle, and each storage in an entry of its own."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        # PyTorch does not compress; a small entry that swells would get round the limits.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise ValueError(
                f"Entries of a file of PyTorch are stored as they are. Received: '{file}', which "
                "is compressed. Unpack it first."
            )
        names = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(names) != 1:
            raise KeyError("data.pkl")
        root = names[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in entries and archive.read(order).strip() != b"little":
            raise NotImplementedError("big endian")
        if entries[names[0]].file_size > _MAX_PICKLE_BYTES:
            raise ValueError(_too_large(file, _MAX_PICKLE_BYTES))
        found, storages, _ = _unpickle(archive.read(names[0]), file)
        _check_sizes(found, storages, file, max_bytes)
        arrays = {}
        for key, storage in storages.items():
            entry = entries[f"{root}data/{key}"]
            if entry.file_size != storage.count * _item_bytes(storage.kind):
                raise pickle.UnpicklingError("a storage of another size")
            arrays[key] = _numbers(archive.read(entry), storage.kind)
        return _materialise(found, arrays)


def _read_old(file: Path, max_bytes: int) -> Any:
    """The format of PyTorch before 1.6: four pickles, the list of storages, their numbers."""
    with file.open("rb") as opened:
        head = opened.read(_MAX_PICKLE_BYTES)
        position = 0

        def load() -> tuple[Any, dict[str, _Storage]]:
            nonlocal position
            found, storages, length = _unpickle(head[position:], file)
            position += length
            return found, storages

        if load()[0] != _OLD_MAGIC or load()[0] != _OLD_PROTOCOL:
            raise pickle.UnpicklingError("not a file of PyTorch")
        if not load()[0].get("little_endian", True):
            raise NotImplementedError("big endian")
        found, storages = load()
        keys = load()[0]
        _check_sizes(found, storages, file, max_bytes)
        opened.seek(position)
        arrays = {}
        for key in keys:
            storage = storages[str(key)]
            (count,) = struct.unpack("<q", opened.read(8))
            if count != storage.count:
                raise pickle.UnpicklingError("a storage of another size")
            size = count * _item_bytes(storage.kind)
            data = opened.read(size)
            if len(data) != size:
                raise EOFError
            arrays[storage.key] = _numbers(data, storage.kind)
        return _materialise(found, arrays)


def _item_bytes(kind: str) -> int:
    return 2 if _STORAGES[kind] == "bfloat16" else np.dtype(_STORAGES[kind]).itemsize


def _numbers(data: bytes, kind: str) -> np.ndarray:
    if _STORAGES[kind] == "bfloat16":
        # The upper half of a float32.
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    numbers = np.frombuffer(data, _STORAGES[kind])
    return _plain(numbers)


def _plain(array: np.ndarray) -> np.ndarray:
    """Floating-point numbers as float32; others as they are."""
    if not np.issubdtype(array.dtype, np.floating):
        return array
    with np.errstate(over="ignore"):  # The export refuses what is not finite.
        return array.astype(np.float32, copy=False)


def _check_sizes(found: Any, storages: Mapping[str, _Storage], file: Path, max_bytes: int) -> None:
    """Hold what the pickle announces against the limits, before memory is taken."""
    tensors = [leaf for _, leaf in _leaves(found) if isinstance(leaf, _Tensor)]
    announced = 4 * max(
        sum(storage.count for storage in storages.values()),
        sum(math.prod(tensor.shape) for tensor in tensors),
    )
    if announced > max_bytes:
        raise ValueError(_too_large(file, max_bytes))
    for tensor in tensors:
        if len(tensor.shape) != len(tensor.strides) or tensor.reads() > tensor.storage.count:
            raise pickle.UnpicklingError("a tensor beyond its storage")


def _too_large(file: Path, max_bytes: int) -> str:
    return f"The weights may take {max_bytes} bytes. Received: '{file}', which announces more."


def _materialise(found: Any, arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    result = {}
    for name, leaf in _leaves(found):
        if isinstance(leaf, _Tensor):
            numbers = arrays[leaf.storage.key]
            leaf = np.ascontiguousarray(
                np.lib.stride_tricks.as_strided(
                    numbers[leaf.offset :],
                    leaf.shape,
                    [stride * numbers.itemsize for stride in leaf.strides],
                    writeable=False,
                )
            ).reshape(leaf.shape)
        result[name] = leaf
    return result


def _leaves(found: Any) -> list[tuple[tuple[str, ...], Any]]:
    """What nested dictionaries hold, with the keys that lead there."""
    result: list[tuple[tuple[str, ...], Any]] = []

    def walk(part: Any, keys: tuple[str, ...]) -> None:
        if len(keys) > _MAX_DEPTH or len(result) > _MAX_TENSORS:
            raise RecursionError
        if isinstance(part, Mapping):
            for key, value in part.items():
                walk(value, (*keys, str(key)))
        else:
            result.append((keys, part))

    walk(found, ())
    return result


# Under these names trainers keep the state of a network beside that of an optimizer. Averaged
# weights come first: they are what the authors measure.
_STATES = (
    "params_ema",
    "params",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "G",
    "generator",
)


def _flatten(found: Mapping[tuple[str, ...], Any], file: Path) -> dict[str, np.ndarray]:
    """The tensors of the network alone, by names joined with dots."""
    tensors = {keys: leaf for keys, leaf in found.items() if isinstance(leaf, np.ndarray) and keys}
    while True:
        roots = {keys[0] for keys in tensors if len(keys) > 1}
        state = next((name for name in _STATES if name in roots), None)
        if state is None:
            break
        tensors = {keys[1:]: leaf for keys, leaf in tensors.items() if keys[0] == state}
    if not tensors:
        raise ValueError(
            f"A file of weights must hold named tensors. Received: '{file}' without any."
        )
    result = {".".join(keys): leaf for keys, leaf in tensors.items()}
    # What a network was wrapped into that ran on several cards.
    if all(name.startswith("module.") for name in result):
        result = {name.removeprefix("module."): leaf for name, leaf in result.items()}
    return result


def _read_safetensors(file: Path, max_bytes: int) -> dict[str, np.ndarray]:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            'This file needs the package safetensors: pip install "keras_refocus[import]". '
            f"Received: '{file}'."
        ) from error
    # Weights are stored as they are, so that they fit where the file fitted, twice as float32.
    if 2 * file.stat().st_size > max_bytes:
        raise ValueError(_too_large(file, max_bytes))
    try:
        with file.open("rb") as opened:
            parts = safetensors.deserialize(opened.read())
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"A safetensors file must be whole. Received: '{file}' ({error}). Download it again."
        ) from error
    kinds = {
        "F64": "DoubleStorage",
        "F32": "FloatStorage",
        "F16": "HalfStorage",
        "BF16": "BFloat16Storage",
        "I64": "LongStorage",
        "I32": "IntStorage",
        "I16": "ShortStorage",
        "I8": "CharStorage",
        "U8": "ByteStorage",
        "BOOL": "BoolStorage",
    }
    result = {}
    for name, part in parts:
        if part["dtype"] not in kinds:
            raise ValueError(
                f"Tensors must be of {', '.join(kinds)}. Received: {name} of {part['dtype']} in "
                f"'{file}'."
            )
        result[name] = _numbers(bytes(part["data"]), kinds[part["dtype"]]).reshape(part["shape"])
    return _flatten({tuple(name.split(".")): array for name, array in result.items()}, file)


def _read_hdf5(file: Path, max_bytes: int) -> dict[str, np.ndarray]:
    import h5py

    result: dict[str, np.ndarray] = {}
    left = max_bytes

    def walk(group: Any, prefix: str, depth: int) -> None:
        nonlocal left
        for name in group:
            # A link may lead to any other file of this machine.
            if not isinstance(group.get(name, getlink=True), h5py.HardLink) or depth > _MAX_DEPTH:
                raise ValueError(
                    f"A file of weights must hold its own numbers. Received: '{file}', whose "
                    f"{prefix}{name} is a link or too deep."
                )
            part = group[name]
            if isinstance(part, h5py.Group):
                walk(part, f"{prefix}{name}/", depth + 1)
                continue
            if part.external or part.is_virtual or part.dtype.kind not in "fiub":
                raise ValueError(
                    f"A file of weights must hold its own numbers. Received: '{file}', whose "
                    f"{prefix}{name} lies elsewhere or is none."
                )
            left -= 4 * part.size
            if left < 0 or len(result) >= _MAX_TENSORS:
                raise ValueError(_too_large(file, max_bytes))
            result[f"{prefix}{name}"] = _plain(part[()])

    try:
        with h5py.File(file, "r") as opened:
            walk(opened, "", 0)
    except OSError as error:
        raise ValueError(
            f"An HDF5 file must be whole. Received: '{file}' ({error}). Download it again."
        ) from error
    return result


def _read_checkpoint(index: Path, max_bytes: int) -> dict[str, np.ndarray]:
    import tensorflow as tf

    try:
        reader = tf.train.load_checkpoint(str(index.with_suffix("")))
        shapes = reader.get_variable_to_shape_map()
        if 4 * sum(math.prod(shape) for shape in shapes.values()) > max_bytes:
            raise ValueError(_too_large(index, max_bytes))
        return {
            name: _plain(np.asarray(reader.get_tensor(name)))
            for name in sorted(shapes)
            if not name.endswith(_OPTIMIZER_ENDS) and not name.startswith(_OPTIMIZER_NAMES)
        }
    except (tf.errors.OpError, RuntimeError) as error:
        raise ValueError(
            f"A checkpoint must be whole. Received: '{index}' ({error}). Download it again, with "
            "its .data files."
        ) from error
