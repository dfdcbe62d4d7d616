"""The package itself: what it exports, and what importing it costs."""

import inspect
import pathlib
import subprocess
import sys

import pytest

import keras_refocus

PACKAGE = pathlib.Path(keras_refocus.__file__).parent


def test_public_names_are_sorted_and_complete():
    assert keras_refocus.__all__ == sorted(keras_refocus.__all__)
    assert set(keras_refocus.__all__) == set(keras_refocus._HOMES)
    for name in keras_refocus.__all__:
        assert getattr(keras_refocus, name).__name__ == name
        assert name in dir(keras_refocus)


def test_no_public_name_is_also_a_module():
    modules = {file.stem for file in PACKAGE.glob("*.py")}
    assert not modules & set(keras_refocus.__all__)


def test_what_is_public_is_annotated():
    """Every argument and result, as `py.typed` promises."""
    assert (PACKAGE / "py.typed").is_file()
    bare = []
    for name in keras_refocus.__all__:
        public = getattr(keras_refocus, name)
        functions = {name: public}
        if inspect.isclass(public):
            functions = {
                f"{name}.{member}": function
                for member, function in vars(public).items()
                if inspect.isfunction(function)
                and (not member.startswith("_") or member in ("__init__", "__enter__", "__exit__"))
            }
        for full, function in functions.items():
            signature = inspect.signature(function)
            parameters = [p for p in signature.parameters.values() if p.name != "self"]
            bare += [f"{full}({p.name})" for p in parameters if p.annotation is p.empty]
            if signature.return_annotation is signature.empty and not full.endswith("__init__"):
                bare.append(f"{full} ->")
    assert bare == []


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="'restorer'"):
        _ = keras_refocus.restorer


def test_importing_is_quick_and_brings_no_backend():
    program = """
import sys, time
started = time.process_time()
import keras_refocus
keras_refocus.__version__
seconds = time.process_time() - started
heavy = {"tensorflow", "keras", "numpy", "cv2"} & set(sys.modules)
print(seconds, heavy or "")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    seconds, *heavy = done.stdout.split()
    assert not heavy
    assert float(seconds) < 0.3
