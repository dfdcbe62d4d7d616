"""Training on several devices or machines at once, through `tf.distribute`.

Every replica holds the same weights, takes its share of each batch, and steps along the mean of
all gradients: the result is that of one device with the whole batch. `keras.Model.fit` cannot do
this for several machines (Keras 3.15), so the loop here is our own, for both kinds.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

STRATEGIES = ("mirrored", "multi-worker")


def open_strategy(name: str | None) -> Any:
    """Open a `tf.distribute` strategy.

    `"mirrored"` takes every GPU of this machine, or its logical CPUs where it has none.
    `"multi-worker"` reads `TF_CONFIG`, as TensorFlow describes it, and must come before anything
    else that TensorFlow does.

    Args:
        name: One of `STRATEGIES`, or `None`.

    Returns:
        `tf.distribute.Strategy`, or `None`.

    Raises:
        ValueError: If the backend is another than TensorFlow.
    """
    if name is None:
        return None
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. Received: strategy={name!r}."
        )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A strategy needs TensorFlow. Received: "
            f"strategy={name!r}, KERAS_BACKEND={keras.backend.backend()!r}. Train without one, or "
            "with KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    if name == "multi-worker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def place(strategy: Any) -> tuple[int, int]:
    """Tell where this process stands among those that train together.

    Args:
        strategy: `tf.distribute.Strategy`, or `None`.

    Returns:
        Tuple `(index, count)` of this process. Number 0 keeps the run folder.
    """
    resolver = strategy and strategy.cluster_resolver
    if not resolver or not resolver.cluster_spec():
        return 0, 1
    spec = resolver.cluster_spec()
    chiefs = len(spec.job_tasks("chief")) if "chief" in spec.jobs else 0
    workers = len(spec.job_tasks("worker")) if "worker" in spec.jobs else 0
    offset = 0 if resolver.task_type == "chief" else chiefs
    return offset + resolver.task_id, chiefs + workers


def check_batches(strategy: Any, batch_sizes: Iterable[int], *, parts: int = 1) -> None:
    """Refuse batches that cannot be shared equally, by replicas that compute them in parts.

    Raises:
        ValueError: If one cannot.
    """
    replicas = strategy.num_replicas_in_sync
    for size in batch_sizes:
        if size % (replicas * parts):
            raise ValueError(
                "Every replica must get the same share of a batch, in equal parts. Received: "
                f"batch_size={size} for {replicas} replicas, gradient_accumulation={parts}. "
                "Choose a multiple."
            )


class Trainer:
    """Run the steps of a GAN on every replica of a strategy.

    Args:
        model: `gan.GAN` that was built and compiled in the strategy's scope.
        strategy: `tf.distribute.Strategy`.
    """

    def __init__(self, model: Any, strategy: Any):
        self._model = model
        self._strategy = strategy
        self.retrace()

    def retrace(self) -> None:
        """Forget the traced step; needed after the phase of the model has changed."""
        import tensorflow as tf

        model, strategy = self._model, self._strategy

        @tf.function
        def step(batch):
            values = strategy.run(model.update_networks, args=(batch,))
            values = {
                name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None)
                for name, value in values.items()
            }
            # Once for all replicas, whose networks are equal.
            model.finish_step(model.averages)
            return values

        self._step = step

    def _share(self, batch):
        """Give each replica of this process its share of the process's batch."""
        import tensorflow as tf

        replicas = self._strategy.extended.worker_devices
        first = self._first_replica()
        parts = [np.array_split(side, len(replicas)) for side in batch]

        def value(context):
            index = context.replica_id_in_sync_group - first
            return tuple(tf.constant(side[index]) for side in parts)

        return self._strategy.experimental_distribute_values_from_function(value)

    def _first_replica(self):
        return place(self._strategy)[0] * len(self._strategy.extended.worker_devices)

    def train_epoch(
        self, batches: Iterable[Any], *, after_step: Callable[..., Any] | None = None
    ) -> dict[str, float]:
        """Train on every batch of an epoch.

        Args:
            batches: Iterable of this process's share of each batch, arrays.
            after_step: Callable that is called with the number of each step and its losses. When
                it sets `stop_training` of the model, the epoch ends there, in every process alike.

        Returns:
            Dict from metric name to its mean over the epoch.
        """
        sums, count = {}, 0
        for step, batch in enumerate(batches):
            values = {name: float(value) for name, value in self._step(self._share(batch)).items()}
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value
            count += 1
            if after_step:
                after_step(step, values)
                if self._model.stop_training:
                    break
        return {name: value / count for name, value in sums.items()}


def validate(
    model: Any, blurred: np.ndarray, sharp: np.ndarray, *, batch_size: int = 8
) -> dict[str, float]:
    """Score the averaged generator; every process does it alike, on all pictures.

    Args:
        model: `deblur_gan.DeblurGAN`.
        blurred: float32 array of shape `(count, height, width, 1)` in [0, 1].
        sharp: Array of the same shape.
        batch_size: Pictures at once.

    Returns:
        Dict from metric name to its mean over the pictures.
    """
    scores = {}
    for start in range(0, len(blurred), batch_size):
        part = slice(start, start + batch_size)
        values = model.validation_metrics(ops.convert_to_tensor(blurred[part]), sharp[part])
        for name, value in values.items():
            scores.setdefault(name, []).append(ops.convert_to_numpy(value))
    return {f"val_{name}": float(np.concatenate(value).mean()) for name, value in scores.items()}
