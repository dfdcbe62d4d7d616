"""Files of weights: every format, exact numbers, and nothing that runs code or swells.

`old.pth` and `new.pth` were written by PyTorch, see tests/golden/make_imported.py.
"""

import collections
import hashlib
import io
import pathlib
import pickle
import struct
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from keras_refocus.networks.imported import weight_files

GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "imported"
BASE = np.arange(24, dtype="float32").reshape(2, 3, 4)
EXPECTED = {
    "weight": BASE,
    "transposed": BASE.transpose(2, 0, 1),
    "part": BASE[1, 1:, :3],
    "half": np.array([0.5, -2.0], "float32"),
    "rough": np.array([1.5, -3.0], "float32"),
    "double": np.array([0.1], "float32"),
    "count": np.array(7, "int64"),
    "parameter": np.array([[1.0], [2.0]], "float32"),
}


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("file", ["old.pth", "new.pth"])
def test_both_formats_of_pytorch(file):
    weights = weight_files.read([GOLDEN / file])
    # Neither the optimizer nor what several cards put before the names.
    assert_equal(weights.tensors, EXPECTED)
    content = (GOLDEN / file).read_bytes()
    assert weights.sources == (weight_files.Source(file, hashlib.sha256(content).hexdigest()),)


def test_several_files_and_a_folder_have_their_names_before_the_tensors(tmp_path):
    for name in ("encoder.pth", "decoder.pkl"):
        (tmp_path / name).write_bytes((GOLDEN / "old.pth").read_bytes())
    (tmp_path / "notes.txt").write_text("not weights")
    for paths in ([tmp_path], [tmp_path / "encoder.pth", tmp_path / "decoder.pkl"]):
        names = set(weight_files.read(paths).tensors)
        assert names == {f"{part}.{key}" for part in ("encoder", "decoder") for key in EXPECTED}


class Runs:
    """An object whose pickle calls a function when it is read."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def old_file(found, path):
    """A file as PyTorch before 1.6 wrote them, of any object."""
    numbers = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, found, [])
    path.write_bytes(b"".join(pickle.dumps(number, protocol=2) for number in numbers))
    return path


def zip_file(found, path, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(found, protocol=2))
    return path


@pytest.mark.parametrize("write", [old_file, zip_file])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(write, tmp_path):
    for function, argument in ((pathlib.Path.touch, tmp_path / "ran"), (eval, "1 + 1")):
        file = write({"weight": Runs(function, argument)}, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match="tensors and nothing else"):
            weight_files.read([file])
    assert not (tmp_path / "ran").exists()


def test_a_class_or_number_of_numpy_is_refused_too(tmp_path):
    for found in (np.float64(1.0), np.zeros(3), collections.Counter("aa"), pathlib.Path("x")):
        file = zip_file({"weight": found}, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match="tensors and nothing else"):
            weight_files.read([file])


class Tensor:
    """What a tensor of PyTorch is pickled as, of any shape."""

    def __init__(self, count, shape, strides):
        self.storage = Storage(count)
        self.shape, self.strides = shape, strides


class Storage:
    def __init__(self, count):
        self.count = count


class TensorPickler(pickle._Pickler):
    """Writes the names of PyTorch without it."""

    def persistent_id(self, found):
        if isinstance(found, Storage):
            return ("storage", Name("torch", "FloatStorage"), "0", "cpu", found.count)
        return None

    def save(self, found, save_persistent_id=True):
        if isinstance(found, Name):
            self.write(f"c{found.module}\n{found.name}\n".encode())
        elif isinstance(found, Tensor):
            self.save(Name("torch._utils", "_rebuild_tensor_v2"))
            self.save((found.storage, 0, found.shape, found.strides, False, None))
            self.write(pickle.REDUCE)
        else:
            super().save(found, save_persistent_id)


class Name:
    def __init__(self, module, name):
        self.module, self.name = module, name


def tensor_file(path, tensor, numbers):
    buffer = io.BytesIO()
    TensorPickler(buffer, protocol=2).dump({"weight": tensor})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/data/0", np.asarray(numbers, "<f4").tobytes())
    return path


def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path):
    file = tensor_file(tmp_path / "good.pth", Tensor(6, (2, 3), (3, 1)), range(6))
    expected = np.arange(6, dtype="float32").reshape(2, 3)
    np.testing.assert_array_equal(weight_files.read([file]).tensors["weight"], expected)
    for tensor in (
        Tensor(6, (2, 4), (3, 1)),
        Tensor(6, (2, 3), (9, 1)),
        Tensor(6, (2, 3), (-3, 1)),
        Tensor(6, (2,), (3, 1)),
        Tensor(7, (2, 3), (3, 1)),
    ):
        file = tensor_file(tmp_path / "bad.pth", tensor, range(6))
        with pytest.raises(ValueError, match="damaged"):
            weight_files.read([file])


def test_what_announces_too_much_is_refused_before_it_takes_memory(tmp_path):
    # One number, repeated a million million times.
    file = tensor_file(tmp_path / "swells.pth", Tensor(1, (10**6, 10**6), (0, 0)), [1.0])
    with pytest.raises(ValueError, match="announces more"):
        weight_files.read([file])
    # 25,000 numbers in a file of 100 kB are at its limit, as float32 of two views beyond it.
    numbers = np.zeros(25_000)
    file = tensor_file(tmp_path / "views.pth", Tensor(25_000, (25_000, 2), (1, 0)), numbers)
    with pytest.raises(ValueError, match="announces more"):
        weight_files.read([file], max_bytes=150_000)
    packed = zip_file({"a": "b" * 10**6}, tmp_path / "p.pth", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        weight_files.read([packed])
    with pytest.raises(ValueError, match="may have 100 bytes"):
        weight_files.read([GOLDEN / "old.pth"], max_bytes=100)
    # A place in the table of remembered objects for which there is no memory.
    opcode = b"\x80\x02}r" + struct.pack("<I", 2**31) + b"."
    (tmp_path / "put.pth").write_bytes(opcode)
    with pytest.raises(ValueError, match="damaged"):
        weight_files.read([tmp_path / "put.pth"])


@pytest.mark.parametrize("file", ["old.pth", "new.pth"])
def test_a_file_that_breaks_off_is_told(file, tmp_path):
    content = (GOLDEN / file).read_bytes()
    for length in range(0, len(content), 97):
        (tmp_path / "part.pth").write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"damaged|hold named tensors"):
            weight_files.read([tmp_path / "part.pth"])


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = {"a.weight": BASE, "a.half": np.array([0.5], "float16"), "n": np.array([3])}
    safetensors.save_file(tensors, tmp_path / "weights.safetensors")
    found = weight_files.read([tmp_path / "weights.safetensors"]).tensors
    assert_equal(found, tensors | {"a.half": np.array([0.5], "float32")})
    with pytest.raises(ValueError, match="announces more"):
        weight_files.read([tmp_path / "weights.safetensors"], max_bytes=400)
    content = (tmp_path / "weights.safetensors").read_bytes()
    (tmp_path / "weights.safetensors").write_bytes(content[:-5])
    with pytest.raises(ValueError, match="must be whole"):
        weight_files.read([tmp_path / "weights.safetensors"])


def test_hdf5(tmp_path):
    file = tmp_path / "weights.h5"
    with h5py.File(file, "w") as opened:
        opened["layer/kernel"] = BASE
        opened["layer/half"] = np.array([0.5], "float16")
    expected = {"layer/kernel": BASE, "layer/half": np.array([0.5], "float32")}
    assert_equal(weight_files.read([file]).tensors, expected)
    with pytest.raises(ValueError, match="announces more|may have"):
        weight_files.read([file], max_bytes=60)
    for link in (h5py.ExternalLink("other.h5", "/secret"), h5py.SoftLink("/layer/kernel")):
        with h5py.File(file, "w") as opened:
            opened["layer/kernel"] = link
        with pytest.raises(ValueError, match="its own numbers"):
            weight_files.read([file])
    file.write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match="must be whole"):
        weight_files.read([file])


def test_hdf5_may_not_swell(tmp_path):
    file = tmp_path / "weights.h5"
    with h5py.File(file, "w") as opened:
        # Nothing is written: a file of a few kilobytes that announces 4 terabytes.
        opened.create_dataset("kernel", (10**6, 10**6), "f4", chunks=(1000, 1000))
    with pytest.raises(ValueError, match="announces more"):
        weight_files.read([file])


def test_checkpoints_of_tensorflow_without_what_the_optimizer_left(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        for name, value in (
            ("g_net/enc/weights", BASE),
            ("g_net/enc/weights/Adam", BASE),
            ("beta1_power", 0.9),
            ("global_step", 3),
        ):
            tf.compat.v1.get_variable(name, initializer=tf.constant(value))
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "deblur.model-5"))
    for path in (prefix, f"{prefix}.index", tmp_path):
        weights = weight_files.read([path])
        assert_equal(weights.tensors, {"g_net/enc/weights": BASE})
        names = [source.name for source in weights.sources]
        assert names == ["deblur.model-5.index", "deblur.model-5.data-00000-of-00001"]
    with pytest.raises(ValueError, match="announces more|may have"):
        weight_files.read([prefix], max_bytes=80)
    (tmp_path / "deblur.model-5.data-00000-of-00001").unlink()
    with pytest.raises(ValueError, match="must be whole"):
        weight_files.read([prefix])


def test_what_is_not_there_or_of_another_kind(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        weight_files.read([tmp_path / "missing.pth"])
    with pytest.raises(FileNotFoundError, match="A folder of weights"):
        weight_files.read([tmp_path])
    with pytest.raises(FileNotFoundError, match="none"):
        weight_files.read([])
    (tmp_path / "weights.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match="must end in"):
        weight_files.read([tmp_path / "weights.txt"])
    with pytest.raises(ValueError, match="hold named tensors"):
        weight_files.read([zip_file({"epoch": 3}, tmp_path / "empty.pth")])
