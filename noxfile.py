"""Short names for the checks: `nox -s tests`, `nox --list`."""

import pathlib

import nox

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["style", "tests"]

_PINS = pathlib.Path(__file__).parent / "requirements.txt"


@nox.session(python="3.11")
def tests(session):
    """The quick tests; arguments after `--` go to pytest."""
    session.install("-e", ".[test]", "-c", _PINS.name)
    session.run("pytest", *session.posargs)


@nox.session(python="3.11")
def slow(session):
    """The end-to-end tests."""
    session.install("-e", ".[test]", "-c", _PINS.name)
    session.run("pytest", "-m", "slow", *session.posargs)


@nox.session(python="3.11")
def mutants(session):
    """A sample of changes to pictures, restoration and metrics that tests have to notice."""
    session.install("-e", ".[test]", "-c", _PINS.name)
    session.install("cosmic-ray>=8.7,<9")
    names = session.posargs or ["pictures", "restoration", "metrics"]
    session.run("python", "tests/mutants.py", *names)


@nox.session
def style(session):
    """Lint and format; changes nothing."""
    session.install("ruff", "-c", _PINS.name)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python="3.11")
def types(session):
    """The types of what is public, strictly."""
    session.install("-e", ".[serving]", "mypy", "-c", _PINS.name)
    session.run("mypy")


@nox.session
def site(session):
    """The site, strictly, into site/."""
    session.install("mkdocs", "mkdocs-material", "mkdocstrings[python]", "-c", _PINS.name)
    session.run("mkdocs", "build", "--strict")


@nox.session
def pins(session):
    """Rewrite requirements.txt: the newest that the ranges of setup.cfg allow."""
    session.install("uv")
    comments = [line for line in _PINS.read_text("utf-8").splitlines() if line.startswith("#")]
    # fmt: off
    resolved = session.run(
        "uv", "pip", "compile", "setup.py", "--upgrade", "--extra", "test", "--extra", "docs",
        # Of 3.11, as "3.11" means 3.11.0 to uv: the first that the newest of them all take.
        "--python-version", "3.11.5", "--python-platform", "linux",
        "--no-annotate", "--no-header", "--quiet",
        silent=True,
    )
    # fmt: on
    lines = [line for line in resolved.splitlines() if line and not line.startswith("#")]
    _PINS.write_text("\n".join([*comments, *lines]) + "\n", "utf-8")
