import argparse
import dataclasses
import json

import pytest

from keras_refocus.training import configs, presets


def parse(*words):
    parser = argparse.ArgumentParser()
    configs.add_arguments(parser, configs.RestorerConfig)
    return configs.from_arguments(configs.RestorerConfig(), parser.parse_args(words))


def test_no_flag_changes_nothing():
    assert parse() == configs.RestorerConfig()


def test_flags_have_the_types_of_their_fields():
    parsed = parse(
        "--epochs=3",
        "--learning-rate=2e-4",
        "--deterministic",
        "--clip-norm=none",
        "--final-patch-size=192",
        "--final-epochs=1",
        "--adversarial=lsgan",
        '--content={"l1": 1.0}',
    )
    assert parsed.epochs == 3
    assert parsed.learning_rate == 2e-4
    assert parsed.deterministic is True
    assert parsed.clip_norm is None
    assert parsed.final_patch_size == 192
    assert parsed.adversarial == "lsgan"
    assert parsed.content == {"l1": 1.0}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--epochs=many", "invalid int"),
        ("--adversarial=wgan", "invalid choice"),
        ("--content=l1", "JSON object"),
        ("--content=[1]", "JSON object"),
        ("--final-patch-size=big", "invalid int"),
    ],
)
def test_bad_flags_are_refused(flag, message, capsys):
    with pytest.raises(SystemExit):
        parse(flag)
    assert message in capsys.readouterr().err


def test_json_round_trip():
    original = dataclasses.replace(presets.RESTORER_PRESETS["quick_test"], epochs=7)
    values = json.loads(json.dumps(configs.to_json(original)))
    assert configs.from_json(configs.RestorerConfig, values) == original


def test_unknown_key_is_named_with_the_nearest():
    with pytest.raises(TypeError, match="epoch_count.*"):
        configs.from_json(configs.RestorerConfig, {"epoch_count": 3})
    with pytest.raises(TypeError, match="Did you mean 'epochs'"):
        configs.from_json(configs.RestorerConfig, {"epochz": 3})


def test_unknown_preset_lists_the_valid_ones():
    with pytest.raises(ValueError, match="fast.*Did you mean 'fast'"):
        presets.preset(presets.RESTORER_PRESETS, "fsat")


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 0},
        {"epochs": -1},
        {"epochs": 0, "adversarial_epochs": 0},
        {"epochs": 2, "final_epochs": 3},
        {"pairs_share": 1.5},
        {"adversarial_epochs": 1, "adversarial": "none"},
    ],
)
def test_impossible_configurations_are_refused(values):
    with pytest.raises(ValueError, match="Received"):
        configs.RestorerConfig(**values)


def test_last_content_epochs_use_the_final_patches():
    progressive = configs.RestorerConfig(
        epochs=3, final_epochs=1, adversarial_epochs=1, final_patch_size=192, final_batch_size=6
    )
    assert [progressive.patches(epoch) for epoch in range(4)] == [
        (128, 16),
        (128, 16),
        (192, 6),
        (192, 6),
    ]


def test_every_preset_is_a_configuration_and_every_field_has_help():
    for preset in presets.RESTORER_PRESETS.values():
        assert isinstance(preset, configs.RestorerConfig)
    assert all(field.metadata["help"] for field in dataclasses.fields(configs.RestorerConfig))
