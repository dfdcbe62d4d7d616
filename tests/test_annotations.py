"""Whoever calls a public function is told what it takes and gives."""

import ast
from pathlib import Path

import pytest

import keras_refocus

PACKAGE = Path(keras_refocus.__file__).parent


def public_functions(tree):
    """Functions of a module and methods of its classes whose names are public, `__init__` too."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
            yield node.name, node, False
        elif isinstance(node, ast.ClassDef) and node.name[0] != "_":
            for inner in node.body:
                if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                if inner.name[0] != "_" or inner.name == "__init__":
                    decorators = {ast.unparse(found) for found in inner.decorator_list}
                    yield f"{node.name}.{inner.name}", inner, "staticmethod" not in decorators


def lacking(function, *, is_method):
    """Names of what is not annotated."""
    given = function.args
    arguments = [*given.posonlyargs, *given.args][is_method:] + given.kwonlyargs
    arguments += [found for found in (given.vararg, given.kwarg) if found is not None]
    names = [found.arg for found in arguments if found.annotation is None]
    if function.returns is None and function.name != "__init__":
        names.append("what it returns")
    return names


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix()
)
def test_public_functions_are_annotated(path):
    found = {
        name: names
        for name, function, is_method in public_functions(ast.parse(path.read_text("utf-8")))
        if (names := lacking(function, is_method=is_method))
    }
    assert not found


def test_what_is_not_annotated_is_found():
    tree = ast.parse("class A:\n    def f(self, a, *, b: int, **c): pass\ndef _g(x): pass\n")
    ((name, function, is_method),) = public_functions(tree)
    assert name == "A.f"
    assert lacking(function, is_method=is_method) == ["a", "c", "what it returns"]
