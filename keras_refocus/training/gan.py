"""What every adversarial trainer here shares: gradients, averaged networks, means, exact state.

The functions `minimize` and `input_gradient` are the only places that know a backend; networks,
losses and trainers are written in `keras.ops` and train under TensorFlow and under PyTorch.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_refocus.pictures.color import Tensor
from keras_refocus.training import configs

# Distance between the seeds of two replicas; far from the small seeds that people choose.
_REPLICA_STRIDE = 1_000_003


def minimize(
    loss_fn: Callable[..., tuple[Tensor, Any]],
    optimizer: Any,
    variables: Sequence[Any],
    *,
    clip_norm: float | None = None,
    parts: Sequence[Any] = ((),),
) -> Any:
    """Take one optimizer step on the mean of a scalar loss over the parts of a batch.

    Under a `tf.distribute` strategy this is called in every replica: the step is then that of the
    mean of the replicas' losses.

    Args:
        loss_fn: Callable that returns `(loss, aux)` of a part: a scalar tensor and any structure of
            tensors to hand back (the form of JAX's `has_aux`).
        optimizer: A `keras.optimizers.Optimizer` built on `variables`, and possibly on more.
        variables: List of `keras.Variable`; only these change.
        clip_norm: Largest global norm of the gradient; `None` does not clip. The optimizer's own
            clipping would see one replica's gradient instead of their mean.
        parts: List of tuples of arguments of `loss_fn`: parts of a batch of equal size. They are
            computed one after the other, so that no more memory is needed than for one.

    Returns:
        List of `aux` of the parts, cut off from the gradient.
    """
    backend = keras.backend.backend()
    configs.check_backend(backend)
    gradients, found = None, []
    for part in parts:
        # TensorFlow would compute parts that do not depend on each other at once.
        with _after(gradients):
            more, aux = _gradients(loss_fn, part, optimizer, variables, len(parts))
            gradients = more if gradients is None else _sums(gradients, more)
        found.append(keras.tree.map_structure(ops.stop_gradient, aux))
    if backend == "tensorflow":
        gradients, replicas = _mean_over_replicas(gradients)
        gradients = _clip(gradients, clip_norm, optimizer)
        if replicas > 1:
            # Keras' optimizers add up what the replicas bring.
            gradients = [None if g is None else g / replicas for g in gradients]
        optimizer.apply(gradients, variables)
    else:
        import torch

        with torch.no_grad():
            optimizer.apply(_clip(gradients, clip_norm, optimizer), variables)
    return found


def _gradients(loss_fn, part, optimizer, variables, count):
    """Gradients of one part's share of the loss, scaled as the optimizer wants it, and `aux`."""
    values = [variable.value for variable in variables]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # Watching only these variables keeps the other player's graph out of the tape.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, aux = loss_fn(*part)
            loss = optimizer.scale_loss(loss) / count
        return tape.gradient(loss, values), aux
    import torch

    loss, aux = loss_fn(*part)
    loss = optimizer.scale_loss(loss) / count
    return torch.autograd.grad(loss, values, allow_unused=True), aux


def _after(gradients):
    """Context in which TensorFlow waits for gradients before it computes."""
    if gradients is None or keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies([gradient for gradient in gradients if gradient is not None])


def _sums(gradients, more):
    return [
        one if other is None else other if one is None else one + other
        for one, other in zip(gradients, more, strict=True)
    ]


def split_batch(tensors: Sequence[Tensor], count: int) -> list[tuple[Tensor, ...]]:
    """Split the tensors of a batch into parts of equal size.

    Args:
        tensors: Tuple of tensors of shape `(batch, ...)`.
        count: Number of parts.

    Returns:
        List of `count` tuples.

    Raises:
        ValueError: If the batch does not split so.
    """
    if count == 1:
        return [tuple(tensors)]
    size = tensors[0].shape[0]
    if size is not None and size % count:
        raise ValueError(
            "A batch must split into `gradient_accumulation` equal parts. Received: a batch of "
            f"{size}, gradient_accumulation={count}. Leave an incomplete last batch out, as "
            "`tf.data.Dataset.batch(..., drop_remainder=True)` does."
        )
    return list(zip(*(ops.split(tensor, count) for tensor in tensors), strict=True))


def means(dicts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of each value over dicts with the same keys, one for each part of a batch."""
    return {name: sum(one[name] for one in dicts) / len(dicts) for name in dicts[0]}


def _mean_over_replicas(gradients):
    """Mean of each gradient over the replicas of this step, and their number."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return gradients, 1
    present = [gradient for gradient in gradients if gradient is not None]
    means = iter(context.all_reduce(tf.distribute.ReduceOp.MEAN, present))
    return [None if gradient is None else next(means) for gradient in gradients], replicas


def _clip(gradients, clip_norm, optimizer):
    """Scale gradients down to a global norm (Pascanu et al. 2013)."""
    if clip_norm is None:
        return list(gradients)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # The gradients still carry the scale of the loss.
        clip_norm = clip_norm * optimizer.dynamic_scale
    squares = [
        ops.sum(ops.square(ops.cast(gradient, "float32")))
        for gradient in gradients
        if gradient is not None
    ]
    norm = ops.sqrt(sum(squares))
    factor = clip_norm / ops.maximum(norm, clip_norm)
    return [
        None if gradient is None else gradient * ops.cast(factor, gradient.dtype)
        for gradient in gradients
    ]


def input_gradient(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    """Differentiate the sum of `function(inputs)` with respect to `inputs`.

    The result can be differentiated again with respect to the variables inside `function`, which
    is what a gradient penalty needs.

    Args:
        function: Callable from a tensor to a tensor in which examples do not mix.
        inputs: Float tensor of shape `(batch, ...)`.

    Returns:
        Tensor of the shape of `inputs`.
    """
    configs.check_backend(keras.backend.backend())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        inputs = tf.convert_to_tensor(inputs)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            total = ops.sum(ops.cast(function(inputs), "float32"))
        return tape.gradient(total, inputs)
    import torch

    inputs = ops.convert_to_tensor(inputs).detach().requires_grad_(True)
    total = ops.sum(ops.cast(function(inputs), "float32"))
    return torch.autograd.grad(total, inputs, create_graph=True)[0]


def _update_average(averaged, network, decay):
    """Move every variable of `averaged` towards `network` by `1 - decay`."""
    for mean, variable in zip(averaged.variables, network.variables, strict=True):
        step = ops.cast(1.0 - decay, mean.dtype)
        mean.assign(mean + step * (ops.cast(variable, mean.dtype) - mean))


def update_average(averaged: keras.Model, network: keras.Model, decay: float) -> None:
    """Exponential moving average of a network's variables, outside any gradient.

    Args:
        averaged: Network with the architecture of `network`; changed in place.
        network: Network being trained.
        decay: Scalar in [0, 1); 0 copies.
    """
    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            _update_average(averaged, network, decay)
    else:
        _update_average(averaged, network, decay)


def averaged_copy(network: keras.Model) -> keras.Model:
    """Clone a network, weights included, as the holder of its moving average."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def prepare_optimizer(optimizer: Any, *networks: Sequence[keras.Model]) -> Any:
    """Build an optimizer on networks' variables, with loss scaling where float16 needs it.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        *networks: Models whose trainable variables it will update.

    Returns:
        The optimizer, or a `LossScaleOptimizer` around it.
    """
    # Keras scales the loss of `self.optimizer` only, and asks the shell's policy, not the
    # network's.
    half = any(network.dtype_policy.compute_dtype == "float16" for network in networks)
    if half and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build([variable for network in networks for variable in network.trainable_variables])
    return optimizer


class ReplicaSeedGenerator(keras.random.SeedGenerator):
    """Random stream of which every replica of a `tf.distribute` strategy draws its own numbers.

    Keras' own keeps one state for all replicas, which they may not change from within a step.
    """

    def next(self, ordered: bool = True) -> Tensor:
        if keras.backend.backend() != "tensorflow":
            return super().next(ordered)
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return super().next(ordered)
        seed = self.state.value * 1

        def advance(strategy):
            strategy.extended.update(
                self.state.value, lambda state: state.assign_add(tf.constant([0, 1], state.dtype))
            )

        context.merge_call(advance)
        replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
        return seed + tf.stack([replica * _REPLICA_STRIDE, tf.zeros_like(replica)])


class _Optimizers:
    """Several optimizers as one, as far as callbacks and `fit` of Keras ask."""

    built = True

    def __init__(self, *optimizers):
        self.optimizers = list(optimizers)

    @property
    def iterations(self):
        return self.optimizers[0].iterations

    @property
    def variables(self):
        return [variable for optimizer in self.optimizers for variable in optimizer.variables]


class GAN(keras.Model):
    """Base of the adversarial trainers: random stream, step count, averages, means.

    A subclass names its losses and metrics and writes

    - `network_names`: those of the arguments of `__init__` that are networks;
    - `pair_names`: what the two sides of a batch are;
    - `players`: lists of the generators and of the discriminators; each list has one optimizer;
    - `update_networks(data)` with `minimize`: what a replica does with its share of a batch;
      returns a dict from metric name to a scalar;
    - `averages`: list of `(averaged, network)`, the moving averages and what they follow;
    - `validation_metrics(*data)`: those of the averaged network, a dict from metric name to one
      value for each picture; `loss` among them, which callbacks of Keras watch.

    Networks that are shipped are the averaged copies.

    The averages are explicit networks and not `use_ema=True` of an optimizer: on a model with
    several networks Keras zips that optimizer's averages against all trainable weights in order of
    creation, which can put one network's average into another.

    Args:
        metric_names: Names of the means that `train_step` and `test_step` report.
        average_decay: Decay of the moving averages per step; the first steps use the smaller
            `(1 + step) / (10 + step)`, so that an average of a short run is not its random start.
        seed: Seed of every random number drawn inside a step.
    """

    def __init__(
        self,
        *,
        metric_names: Sequence[str],
        average_decay: float,
        seed: int,
        name: str | None = None,
    ):
        super().__init__(name=name)
        if not 0.0 <= average_decay < 1.0:
            raise ValueError(
                f"`average_decay` must be in [0, 1). Received: average_decay={average_decay}."
            )
        self.average_decay = average_decay
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)
        self._frozen = False
        self._means = {name: keras.metrics.Mean(name=name) for name in metric_names}
        self.steps = self.add_weight(
            name="steps", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    @property
    def frozen(self) -> bool:
        """Whether the pretrained backbone of a generator that has one stays as it is."""
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> bool:
        self._frozen = value
        # The step is traced once; with other variables it is another graph.
        self.train_function = None

    def compile(
        self,
        optimizer: Any = None,
        loss: Any = None,
        *,
        generator_optimizer: Any = None,
        discriminator_optimizer: Any = None,
        clip_norm: float | None = None,
        jit_compile: bool = False,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
    ) -> None:
        """Set the optimizers, each built on the variables of its own networks.

        Args:
            optimizer: `keras.optimizers.Optimizer` or its name, for the generators; the
                discriminators, where there are any, get one of the same kind unless they have
                their own.
            loss: Not used: the losses are arguments of the model. Neither are `loss_weights`,
                `metrics` and `weighted_metrics`.
            generator_optimizer: The same as `optimizer`; then the discriminators need their own.
            discriminator_optimizer: That of the discriminators.
            clip_norm: Largest global norm of the generators' gradient; `None` does not clip.
            jit_compile: See `keras.Model.compile`. XLA made these networks several times slower on
                CPUs, so it is off unless asked for.
            run_eagerly: See `keras.Model.compile`.
            steps_per_execution: See `keras.Model.compile`.

        Raises:
            ValueError: If optimizers are missing, too many, or keep an average of their own; or if
                a loss or a metric is given.
        """
        refused = {
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        given = [name for name, value in refused.items() if value is not None]
        if given:
            raise ValueError(
                "Losses are arguments of the model, and its metrics are its own. Received: "
                f"{', '.join(given)} for {type(self).__name__}.compile. Leave them out; choose "
                f"losses with {self._loss_argument}, and measure more in a callback."
            )
        if (optimizer is None) == (generator_optimizer is None):
            raise ValueError(
                "There must be one optimizer of the generators. Received: "
                f"optimizer={optimizer}, generator_optimizer={generator_optimizer}. Give one of "
                "them, such as optimizer='adam'."
            )
        generators, discriminators = self.players
        ours = keras.optimizers.get(generator_optimizer if optimizer is None else optimizer)
        theirs = keras.optimizers.get(discriminator_optimizer)
        if theirs is None and discriminators and optimizer is not None:
            theirs = type(ours).from_config(ours.get_config() | {"name": "discriminator_optimizer"})
        if bool(discriminators) != (theirs is not None):
            raise ValueError(
                "Discriminators and their optimizer come together. Received: "
                f"discriminators={[network.name for network in discriminators]}, "
                f"discriminator_optimizer={discriminator_optimizer}."
            )
        if any(getattr(one, "use_ema", False) for one in (ours, theirs)):
            raise ValueError(
                "The average is the model's own: averaged_generator, with average_decay. Received: "
                "an optimizer with use_ema=True. Leave it out."
            )
        super().compile(
            optimizer=None,
            jit_compile=jit_compile,
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
        )
        self.clip_norm = clip_norm
        self.generator_optimizer = prepare_optimizer(ours, *generators)
        self.discriminator_optimizer = None
        if discriminators:
            self.discriminator_optimizer = prepare_optimizer(theirs, *discriminators)

    @property
    def optimizer(self) -> Any:
        """What callbacks of Keras that change learning rates find: every optimizer, or `None`."""
        ours = getattr(self, "generator_optimizer", None)
        theirs = getattr(self, "discriminator_optimizer", None)
        return ours if theirs is None else _Optimizers(ours, theirs)

    @optimizer.setter
    def optimizer(self, value: Any) -> Any:
        if value is not None:
            raise AttributeError(
                "The optimizers are set by `compile`. Received: an assignment to `optimizer`."
            )

    def export(self, filepath: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Export the averaged generator; see `keras.Model.export`.

        What `refocus restore --models` and TensorFlow Serving read is written by
        `deployment.saved_model.export_model(model.averaged_generator, folder)`.
        """
        return self.averaged_generator.export(filepath, *args, **kwargs)

    def get_compile_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.generator_optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
            "clip_norm": self.clip_norm,
            "jit_compile": self.jit_compile,
            "run_eagerly": self.run_eagerly,
            "steps_per_execution": self.steps_per_execution,
        }

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def report(
        self, values: Mapping[str, Tensor], *, batch_size: int | None = None
    ) -> dict[str, Tensor]:
        """Update the means named in `values` and return them, and only them.

        Args:
            values: Dict from metric name to a scalar, or to a tensor of one value per example.
            batch_size: Number of examples that a scalar stands for, so that a short last batch
                counts by its size; `None` counts every scalar once.
        """
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight=batch_size)
        return {name: self._means[name].result() for name in values}

    def train_step(self, data: Any) -> dict[str, Tensor]:
        values = self.update_networks(self._sides(data))
        self.finish_step(self.averages)
        return self.report(values)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        return self.report(self.validation_metrics(*self._sides(data)))

    def _sides(self, data):
        """The two sides of a batch out of what Keras hands to a step, checked."""
        first, second, weights = keras.utils.unpack_x_y_sample_weight(data)
        if second is None or weights is not None:
            raise ValueError(
                f"Data must be pairs {self.pair_names}, without sample weights. Received: "
                + ("one side." if second is None else "weights.")
            )
        for name, side in zip(self.pair_names, (first, second), strict=True):
            kind = keras.backend.standardize_dtype(side.dtype)
            if "float" not in kind or len(side.shape) != 4:
                raise ValueError(
                    f"`{name}` must be a float tensor of shape (batch, height, width, channels). "
                    f"Received: {name} of type {kind} and shape {tuple(side.shape)}. "
                    "`keras_refocus.pictures.color` makes luminance and chroma of RGB."
                )
        self.check_channels(first, second)
        return first, second

    def check_channels(self, first: Tensor, second: Tensor) -> None:
        """Refuse a batch whose numbers of channels are not those of the networks."""
        expected = self.averaged_generator.input_shape[-1]
        if first.shape[-1] != expected:
            raise ValueError(
                f"`{self.pair_names[0]}` must have {expected} channel. Received: shape "
                f"{tuple(first.shape)}. Of RGB `keras_refocus.pictures.color.rgb_to_luminance` "
                "makes it."
            )

    def finish_step(self, pairs: Sequence[tuple[keras.Model, keras.Model]]) -> None:
        """Count the step and update the averages.

        Args:
            pairs: List of `(averaged, network)`.
        """
        step = ops.cast(self.steps, "float32")
        decay = ops.minimum(self.average_decay, (1.0 + step) / (10.0 + step))
        for averaged, network in pairs:
            update_average(averaged, network, decay)
        self.steps.assign_add(1)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        networks = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in cls.network_names
        }
        return cls(**config | networks)

    def save_own_variables(self, store: Any) -> None:
        super().save_own_variables(store)
        # Keras leaves the random state out of its files; without it a resumed run draws other
        # numbers than an uninterrupted one.
        store["seed_generator_state"] = np.asarray(
            ops.convert_to_numpy(self.seed_generator.state.value)
        )

    def load_own_variables(self, store: Any) -> None:
        self.seed_generator.state.assign(store["seed_generator_state"][()])
        own = {key: store[key][()] for key in store.keys() if key != "seed_generator_state"}
        super().load_own_variables(own)
