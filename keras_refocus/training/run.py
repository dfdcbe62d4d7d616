"""A training run from start to end, and how it goes on after a stop."""

import contextlib
import dataclasses
import itertools
import logging
import pathlib
import sys
from typing import Any

import keras
from keras import ops
from tqdm import tqdm

from keras_refocus.system import files
from keras_refocus.training import configs, devices, gan, initial_weights, run_folder
from keras_refocus.training.job import phases
from keras_refocus.training.keeper import RunKeeper

_log = logging.getLogger(__name__)


def run(job: Any, *, resume: bool = False) -> Any:
    """Train to the end, or go on from the last whole epoch; before the first, from the start.

    Args:
        job: `TrainingJob`.
        resume: Whether to go on with the run in `job.folder`.

    Returns:
        The trained `gan.GAN`.

    Raises:
        ValueError: If the pictures or the configuration cannot be used, if the folder already
            holds a run, if another program trains in it, or if a resumed run's pictures have
            changed.
        OSError: If a file cannot be read or written; the last whole epoch stays.
    """
    configs.check_backend(keras.backend.backend())
    # Before anything else: `multi-worker` must come before TensorFlow has done any work.
    strategy = devices.open_strategy(job.strategy)
    if not resume and devices.place(strategy)[0] == 0:
        _check_new(pathlib.Path(job.folder))
    with contextlib.ExitStack() as held:
        return _run(job, strategy, held, resume=resume)


def _run(job, strategy, held, *, resume):
    """Train; `held` takes what is kept until the end."""
    config, folder = job.config, pathlib.Path(job.folder)
    index, processes = devices.place(strategy)
    if resume and index == 0 and folder.is_dir():
        held.enter_context(_alone_in(folder))
    if strategy:
        devices.check_batches(
            strategy,
            {phase.batch_size for phase in phases(config)},
            parts=config.gradient_accumulation,
        )
    pictures = job.collect()
    record = _record_to_resume(folder, pictures, config) if resume else new_record(job, pictures)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        _deterministic_kernels()
    validation = job.validation(pictures)
    model = _build(job, pictures, strategy)
    done, rows = _load_start(job, model, record, resume=resume)
    record["config"] = configs.to_json(config)
    record["validation"] = {"pictures": len(validation[0])} | job.input_scores(validation)
    record["sessions"].append(
        {"first_epoch": done + 1, "strategy": job.strategy} | run_folder.environment()
    )
    if index == 0:
        folder.mkdir(parents=True, exist_ok=True)
        if not resume:
            held.enter_context(_alone_in(folder))
        files.remove_left_overs(folder)
        run_folder.write_text(folder / run_folder.MANIFEST, pictures.manifest)
        run_folder.write_json(folder / run_folder.RECORD, record)
    keeper = RunKeeper(
        job, record, draw=lambda: job.draw(model, validation), rows=rows, write=index == 0
    )
    _log.info(
        "%d training pictures, %d validation patches whose %s side has %.2f dB",
        record["data"]["training_pictures"],
        len(validation[0]),
        job.columns[0],
        record["validation"]["psnr"],
    )
    if done == config.total_epochs or keeper.out_of_patience:
        _log.info("nothing is left to do: the run has ended after %d epochs", done)
    for phase in phases(config):
        epochs = range(max(phase.first_epoch, done), phase.last_epoch)
        if not epochs or keeper.stopped_on_nan or keeper.out_of_patience:
            continue
        model.adversarial_phase = phase.adversarial
        if phase.frozen or model.frozen:
            model.frozen = phase.frozen
        steps = {
            "first": epochs.start * config.steps_per_epoch,
            "count": len(epochs) * config.steps_per_epoch,
        }
        with job.batches(pictures, phase, part=(index, processes), **steps) as batches:
            if strategy:
                _fit_replicated(model, strategy, batches, epochs, validation, keeper)
            else:
                _fit(model, batches, epochs, validation, keeper)
    if keeper.stopped_on_nan:
        raise ValueError(
            "The loss must stay finite. Received: NaN or infinity; the files of the last good "
            f"epoch are in {folder}. Start another run with a smaller learning rate, from them "
            f"if they are good: --init-from {folder}."
        )
    return model


@contextlib.contextmanager
def _alone_in(folder):
    """Keep other programs from training in a folder: each would write over the other's state."""
    # Not the record: that is replaced by another file. It stays, since who deletes it while another
    # program opens it would let two in.
    with (folder / run_folder.LOCK).open("ab") as file:
        if not files.lock(file):
            raise ValueError(
                f"One program at a time trains in a folder. Received: {folder}, in which another "
                "is at work. Wait for it or stop it, or choose another folder."
            )
        yield


def _check_new(folder):
    if (folder / run_folder.RECORD).exists():
        raise ValueError(
            f"A new run needs a folder without one. Received: {folder}, which holds a run. Choose "
            "another folder, or go on with --resume."
        )


def _load_start(job, model, record, *, resume):
    """Load what a training begins with; returns the epochs it has had, and their rows."""
    folder, config = pathlib.Path(job.folder), job.config
    if resume and (folder / run_folder.STATE).is_file():
        model.load_weights(folder / run_folder.STATE)
        done = int(ops.convert_to_numpy(model.steps)) // config.steps_per_epoch
        _check_length(config, record, done)
        rows = run_folder.read_log(folder / run_folder.LOG)
        return done, [row for row in rows if row["epoch"] <= done]
    if job.init_from:
        initial_weights.load(
            model.generator,
            job.init_from,
            initial_weights.network_of_config(dataclasses.asdict(config)),
        )
        gan.update_average(model.averaged_generator, model.generator, 0.0)
    return 0, []


def _record_to_resume(folder, pictures, config):
    record = run_folder.read_record(folder)
    before = record["config"]["adversarial_epochs"]
    if bool(before) != bool(config.adversarial_epochs):
        raise ValueError(
            "A resumed run keeps its networks, of which the discriminator is one. Received: "
            f"adversarial_epochs={config.adversarial_epochs} for a run that has {before}. Start "
            f"another run with --init-from {folder}."
        )
    if record["data"]["manifest_sha256"] != _digest(pictures):
        raise ValueError(
            "A resumed run needs the pictures that it began with. Received: a folder whose "
            f"list of files differs from {folder / run_folder.MANIFEST}. Restore the pictures, or "
            f"start another run with --init-from {folder}."
        )
    return record


def _check_length(config, record, done):
    """Refuse a length that a resumed run cannot have."""
    before = configs.from_json(type(config), record["config"])
    if done > config.total_epochs:
        raise ValueError(
            f"A run can become no shorter than it is. Received: epochs={config.epochs}, "
            f"adversarial_epochs={config.adversarial_epochs} for {done} epochs that it has. Ask "
            "for more, or take what it gave: --init-from."
        )
    if config.epochs != before.epochs and done > min(before.epochs, config.epochs):
        raise ValueError(
            "Content epochs come before the adversarial ones. Received: "
            f"epochs={config.epochs} for a run that had epochs={before.epochs} and is in epoch "
            f"{done}. Give --adversarial-epochs, or start another run with --init-from."
        )


def new_record(job: Any, pictures: Any) -> dict[str, Any]:
    """Record of a run that begins: a JSON-ready dict of its configuration and its pictures."""
    return {
        "stage": job.stage,
        "config": configs.to_json(job.config),
        "data": job.data_record()
        | {
            "files": pictures.manifest.count("\n"),
            "training_pictures": sum(len(source) for source in pictures.sources),
            "manifest_sha256": _digest(pictures),
            "notes": list(pictures.notes),
            "data_set": pictures.data_set,
        },
        "init_from": [str(pathlib.Path(path).resolve()) for path in job.init_from] or None,
        "sessions": [],
    }


def _digest(pictures):
    return files.sha256(pictures.manifest.encode())


def _deterministic_kernels():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    else:
        import torch

        torch.use_deterministic_algorithms(True)


def _build(job, pictures, strategy):
    """Build the model under the strategy and the precision of a job."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(job.config.precision)
    try:
        with strategy.scope() if strategy else contextlib.nullcontext():
            return job.build(pictures)
    finally:
        keras.config.set_dtype_policy(policy)


def _fit(model, batches, epochs, validation, keeper):
    model.fit(
        iter(batches),
        steps_per_epoch=len(batches) // len(epochs),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        shuffle=False,  # The sampler shuffles, as a function of the batch number.
        validation_data=validation,
        validation_batch_size=8,
        callbacks=[keeper],
        verbose=1 if sys.stderr.isatty() else 0,
    )


def _fit_replicated(model, strategy, batches, epochs, validation, keeper):
    """What `_fit` does, on every replica of a strategy."""
    trainer = devices.Trainer(model, strategy)
    keeper.set_model(model)
    model.stop_training = False
    stream = iter(batches)
    for epoch in epochs:
        keeper.on_epoch_begin(epoch)
        steps = tqdm(
            itertools.islice(stream, len(batches) // len(epochs)),
            total=len(batches) // len(epochs),
            desc=f"epoch {epoch + 1}",
            disable=not (keeper.writes and sys.stderr.isatty()),
        )
        logs = trainer.train_epoch(steps, after_step=keeper.on_train_batch_end)
        if not keeper.stopped_on_nan:
            logs |= devices.validate(model, *validation)
        keeper.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
