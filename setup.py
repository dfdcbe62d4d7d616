"""What setup.cfg cannot say: the description for the package index, with pictures that show there.

The index shows pictures with an absolute address only. README.md has relative ones, which are
right wherever the repository lies; where it lies is known to whoever releases, not to the
repository. The environment variables of GitHub's workflows say it, or

    KERAS_REFOCUS_FILES=https://host/owner/name/raw/TAG python -m build

Without an address, pictures leave the description and links become text: nothing broken, nothing
invented.
"""

import os
import pathlib
import re

import setuptools

README = pathlib.Path(__file__).with_name("README.md")


def files_address(environment: dict[str, str]) -> str | None:
    """The address under which the files of this very version can be read, if there is one."""
    if address := environment.get("KERAS_REFOCUS_FILES"):
        return address.rstrip("/")
    parts = [environment.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    return "{}/{}/raw/{}".format(*parts) if all(parts) else None


def description(markdown: str, address: str | None) -> str:
    """README.md for a reader who does not have the repository around it."""
    if address is None:
        # A picture, the line under it that says what it shows, and the tables of pictures.
        markdown = re.sub(r"^!\[[^\n]*\n(\n\*[^\n]*\*\n)?\n", "", markdown, flags=re.MULTILINE)
        return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", markdown)
    return re.sub(r"(\]\()(?!https?:|#)([^)]*\))", rf"\1{address}/\2", markdown)


if __name__ == "__main__":
    setuptools.setup(
        long_description=description(README.read_text("utf-8"), files_address(dict(os.environ))),
        long_description_content_type="text/markdown",
    )
