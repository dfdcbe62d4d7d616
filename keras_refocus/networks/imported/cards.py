"""Model cards of published weights: whose they are, under which licence, what was verified."""

from keras_refocus.networks.imported.registry import Imported


def origin(imported: Imported, *, accepted: bool) -> dict:
    """What is written beside a SavedModel; the fields of `engines.installed.Origin`.

    Args:
        imported: The network.
        accepted: Whether the user accepted terms that are not permissive.
    """
    family = imported.family
    names = "title purpose trained_on paper address code_licence weights_licence terms kind".split()
    return {
        "family": family.name,
        **{name: getattr(family, name) for name in names},
        "accepted": accepted,
        "settings": imported.settings,
        "files": [{"name": file.name, "sha256": file.sha256} for file in imported.sources],
    }


def card(imported: Imported, name: str) -> str:
    """Text of the model card.

    Args:
        imported: The network.
        name: Of the servable.
    """
    family = imported.family
    what = (
        "Luminance in, restored luminance out; the picture's colours stay."
        if family.kind == "restorer"
        else "Luminance in, a guess of the chroma out."
    )
    licence = (
        f"{family.weights_licence}."
        if family.terms == "permissive"
        else f"{family.weights_licence} ({family.terms}); whoever imported them accepted that. Do "
        "not pass this folder on without the authors' leave."
    )
    lines = [
        f"# {name}",
        "",
        f"{family.title}, for {family.purpose}: the weights of its authors in a network of this "
        f"project. {what}",
        "",
        f"{imported.model.count_params():,} parameters. Made by `refocus import`.",
        "",
        f"- Paper: {family.paper}.",
        f"- Weights from: {family.address}",
        f"- Trained on: {family.trained_on}.",
        f"- Licence of the weights: {licence}",
        f"- Licence of the authors' code, of which nothing is used here: {family.code_licence}.",
        f"- Verified: {family.verified}.",
        *(f"- Chosen: {key} = {value:g}." for key, value in imported.settings.items()),
        "",
        "## Files",
        "",
        "| file | SHA-256 |",
        "|---|---|",
        *(f"| {file.name} | {file.sha256} |" for file in imported.sources),
        "",
        "## Network",
        "",
        f"`{family.generator}` with "
        + ", ".join(f"`{key}={value!r}`" for key, value in imported.options.items())
        + ".",
    ]
    return "\n".join(lines) + "\n"
