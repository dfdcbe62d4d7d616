"""A collection of SavedModels whose results can be worked out by hand."""

import stand_in_models


def write_models(folder):
    """Write `restorer` 1 (gives L / 2), `restorer_gan` 3 (gives L) and `colorizer` 2.

    The colorizer gives the chroma (L / 4, -L / 8). Returns the folder.
    """
    for name, version, gain in (("restorer", "1", 0.5), ("restorer_gan", "3", 1.0)):
        stand_in_models.export_restorer(folder / name / version, gain=gain)
    stand_in_models.export_colorizer(folder / "colorizer" / "2")
    return folder
