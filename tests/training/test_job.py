from tiny_training import tiny

from keras_refocus.training.job import Phase, phases


def test_phases_split_epochs_by_patches_and_game():
    config = tiny(
        epochs=5, adversarial_epochs=2, final_epochs=2, final_patch_size=48, final_batch_size=1
    )
    assert phases(config) == [
        Phase(0, 3, 32, 2, False),
        Phase(3, 5, 48, 1, False),
        Phase(5, 7, 48, 1, True),
    ]
