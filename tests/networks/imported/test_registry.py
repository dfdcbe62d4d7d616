"""Published weights give what the authors' networks give; what is incomplete or foreign is told.

The golden files were made by tests/golden/make_imported.py, whose networks were compared with the
authors' own code.
"""

import functools
import json

import numpy as np
import published_weights
import pytest
from tiny_networks import each

from keras_refocus import networks
from keras_refocus.networks.imported import cards, registry
from keras_refocus.networks.imported.weight_files import Source, Weights

FAMILY_OF = {
    "nafnet": "nafnet",
    "dmphn": "dmphn",
    "dmphn_stacked": "dmphn",
    "dmphn_1_2_4_8": "dmphn",
    "dncnn": "dncnn",
    "dncnn_normalized": "dncnn",
    "drunet": "drunet",
    "hinet": "hinet",
    "srn_gray": "srn",
    "srn_lstm": "srn",
    "srn_color": "srn",
    "deepdeblur": "deepdeblur",
    "eccv16": "eccv16",
    "siggraph17": "siggraph17",
    "ddcolor": "ddcolor",
}
# Of the result of a large picture every 13th row and column is kept.
STEP = 13


@functools.cache
def golden(name):
    """The weights of a file, and pairs of a picture and the luminance that it becomes."""
    source = Source("made.pth", "0" * 64)
    weights = Weights(published_weights.tensors(name), (source,))
    return weights, published_weights.pictures(name)


def settings_of(name):
    return {"noise": 25.0} if name == "drunet" else {}


@functools.cache
def imported(name):
    weights, _ = golden(name)
    family = registry.recognise(weights)
    return registry.build(family, weights, settings=settings_of(name))


def test_every_golden_file_is_tested_and_every_family_has_one():
    assert {file.stem for file in published_weights.GOLDEN.glob("*.npz")} == set(FAMILY_OF)
    assert set(FAMILY_OF.values()) == set(registry.FAMILIES)


@pytest.mark.parametrize(("name", "family"), FAMILY_OF.items())
def test_a_family_is_recognised_by_names_and_shapes(name, family):
    assert registry.recognise(golden(name)[0]).name == family


@pytest.mark.parametrize("name", each(FAMILY_OF, slow={"dmphn_stacked", "dmphn_1_2_4_8"}))
def test_the_network_gives_what_that_of_its_authors_gives(name):
    network = imported(name).model
    for picture, expected in golden(name)[1]:
        result = np.asarray(network(picture[np.newaxis, ..., np.newaxis]))[0]
        result = result[..., 0] if expected.ndim == 2 else result
        if result.shape != expected.shape:
            result = result[::STEP, ::STEP]
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_options_are_read_off_the_shapes():
    assert imported("nafnet").options == {
        "width": 2,
        "encoder_blocks": (1, 2),
        "middle_blocks": 1,
        "decoder_blocks": (2, 1),
        "local_window": 384,
        "signal": "rgb",
        "as_published": True,
    }
    stacked, deep = imported("dmphn_stacked").options, imported("dmphn_1_2_4_8").options
    assert (stacked["levels"], stacked["stacks"], stacked["widths"]) == (3, 2, (2, 2, 3))
    assert (deep["levels"], deep["stacks"]) == (4, 1)
    assert imported("dncnn_normalized").options == {"width": 6, "depth": 5, "signal": "gray"}
    assert imported("drunet").options["widths"] == (3, 4, 5, 6)
    assert imported("hinet").options["normalized"] == (0, 2)
    gray, lstm = imported("srn_gray").options, imported("srn_lstm").options
    assert (gray["depth"], gray["recurrent"], gray["signal"]) == (2, False, "gray")
    assert (lstm["depth"], lstm["recurrent"], lstm["signal"]) == (1, True, "gray")
    assert imported("srn_color").options["signal"] == "rgb"
    deep = imported("deepdeblur").options
    assert (deep["width"], deep["residual_blocks"], deep["scales"]) == (3, 2, 3)
    assert imported("eccv16").options == {"widths": (2, 3, 4, 4), "classes": 5}
    assert imported("ddcolor").options == {
        "depths": (1, 2, 1, 1),
        "widths": (2, 3, 4, 5),
        "decoder_width": 6,
        "colors": 5,
        "color_width": 16,
        "color_layers": 4,
        "feed_forward": 7,
    }


# Each family once; its other sizes, and the largest network, before a release.
@pytest.mark.parametrize(
    "name",
    each(
        FAMILY_OF,
        slow={
            *("dmphn_stacked", "dmphn_1_2_4_8", "dncnn_normalized", "srn_lstm", "srn_color"),
            "ddcolor",
        },
    ),
)
def test_no_tensor_may_be_missing_or_left_over(name):
    weights, _ = golden(name)
    family = registry.FAMILIES[FAMILY_OF[name]]
    # The last one: networks whose size is read off the names must not just become smaller.
    lost = [key for key in weights.tensors if not key.endswith("num_batches_tracked")][-1]
    fewer = {key: array for key, array in weights.tensors.items() if key != lost}
    with pytest.raises(ValueError, match="complete|fill its network|must fit"):
        registry.build(family, Weights(fewer, ()), settings=settings_of(name))
    more = weights.tensors | {"extra.weight": np.zeros((1, 1, 1, 1), np.float32)}
    with pytest.raises(ValueError, match=r"extra\.weight"):
        registry.build(family, Weights(more, ()), settings=settings_of(name))


def test_a_tensor_of_another_shape_is_refused():
    weights, _ = golden("dmphn")
    key = "decoder_lv2.layer24.weight"
    wrong = weights.tensors | {key: np.zeros((3, 5, 3, 3), np.float32)}
    with pytest.raises(ValueError, match="decoder2/residual"):
        registry.build(registry.FAMILIES["dmphn"], Weights(wrong, ()))


def test_foreign_weights_and_names_are_told():
    foreign = Weights({"layer.weight": np.zeros((2, 2), np.float32)}, ())
    with pytest.raises(ValueError, match=r"known family.*layer\.weight"):
        registry.recognise(foreign)
    with pytest.raises(ValueError, match="Did you mean 'nafnet'"):
        registry.find("nafnett")
    with pytest.raises(ValueError, match="complete"):
        registry.build(registry.FAMILIES["hinet"], foreign)
    with pytest.raises(ValueError, match="noise"):
        registry.build(registry.FAMILIES["dmphn"], golden("dmphn")[0], settings={"noise": 3.0})


def test_every_family_says_whose_it_is():
    for family in registry.FAMILIES.values():
        kinds = {"restorer": networks.GENERATORS, "colorizer": networks.COLORIZERS}
        assert family.generator in kinds[family.kind]
        assert family.address.startswith("https://")
        assert family.terms in ("permissive", "non-commercial", "unstated")
        for text in (family.paper, family.trained_on, family.verified, family.weights_licence):
            assert text and not text.endswith(".")


def test_the_card_names_source_licence_and_files():
    text = cards.card(imported("dmphn"), "mine")
    assert text.startswith("# mine\n")
    assert "none stated (unstated)" in text and "DMPHN-cvpr19" in text
    assert f"| made.pth | {'0' * 64} |" in text
    origin = cards.origin(imported("drunet"), accepted=False)
    assert origin["settings"] == {"noise": 25.0}
    assert origin["files"] == [{"name": "made.pth", "sha256": "0" * 64}]
    json.dumps(origin)
