"""Pages of the site whose text lies elsewhere in the repository, read from there.

Links between documents are written as they hold in the repository. Here they are turned to where
the site has the document; a link to a file that the site lacks (code, a configuration) becomes its
path as text. A link to what does not exist is left alone: `mkdocs build --strict` refuses it.
"""

import pathlib
import posixpath
import re

from mkdocs.structure.files import File

_ROOT = pathlib.Path(__file__).parents[1]

# Address in the site: file in the repository.
_ELSEWHERE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "code_of_conduct.md": "CODE_OF_CONDUCT.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"{folder}/README.md": f"{folder}/README.md"
        for folder in (
            "serving",
            "serving/aws",
            "saved_models/restorer",
            "saved_models/restorer_gan",
            "saved_models/colorizer",
            "tfds_builders/hide",
            "tfds_builders/deblur_pairs",
            "tfds_builders/coco_lab",
        )
    },
}
_IN_SITE = {file: address for address, file in _ELSEWHERE.items()}

_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files, config):
    """Add the pages that lie elsewhere."""
    for address, file in _ELSEWHERE.items():
        files.append(File.generated(config, address, content=(_ROOT / file).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn the links of a page to where the site has what they mean."""
    address = page.file.src_uri
    source = _ELSEWHERE.get(address, f"docs/{address}")

    def turn(link):
        image, text, target, anchor = link.groups()
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        there = _IN_SITE.get(file) or file.removeprefix("docs/")
        if files.get_file_from_path(there) and (file in _IN_SITE or file.startswith("docs/")):
            relative = posixpath.relpath(there, posixpath.dirname(address) or ".")
            return f"{image}[{text}]({relative}{anchor or ''})"
        if not image and (_ROOT / file).exists():
            return text if file in text else f"{text} (`{file}`)"
        return link[0]

    return _LINK.sub(turn, markdown)
