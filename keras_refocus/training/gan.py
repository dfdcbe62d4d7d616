"""What every adversarial trainer here shares: gradients, averaged networks, means, exact state.

The functions `minimize` and `input_gradient` are the only places that know a backend; networks,
losses and trainers are written in `keras.ops` and train under TensorFlow and under PyTorch.
"""

import keras
import numpy as np
from keras import ops

# Distance between the seeds of two replicas; far from the small seeds that people choose.
_REPLICA_STRIDE = 1_000_003


def _unsupported_backend():
    return ValueError(
        "Training runs under the TensorFlow or the PyTorch backend of Keras. "
        f"Received: KERAS_BACKEND={keras.backend.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow or KERAS_BACKEND=torch."
    )


def minimize(loss_fn, optimizer, variables, *, clip_norm=None):
    """Take one optimizer step on a scalar loss.

    Under a `tf.distribute` strategy this is called in every replica: the step is then that of the
    mean of the replicas' losses.

    Args:
        loss_fn: Callable without arguments that returns `(loss, aux)`: a scalar tensor and any
            structure of tensors to hand back (the form of JAX's `has_aux`).
        optimizer: A `keras.optimizers.Optimizer` built on exactly `variables`.
        variables: List of `keras.Variable`; only these change.
        clip_norm: Largest global norm of the gradient; `None` does not clip. The optimizer's own
            clipping would see one replica's gradient instead of their mean.

    Returns:
        `aux`, cut off from the gradient.
    """
    values = [variable.value for variable in variables]
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # Watching only these variables keeps the other player's graph out of the tape.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss, aux = loss_fn()
            loss = optimizer.scale_loss(loss)
        gradients, replicas = _mean_over_replicas(tape.gradient(loss, values))
        gradients = _clip(gradients, clip_norm, optimizer)
        if replicas > 1:
            # Keras' optimizers add up what the replicas bring.
            gradients = [None if g is None else g / replicas for g in gradients]
        optimizer.apply(gradients, variables)
    elif backend == "torch":
        import torch

        loss, aux = loss_fn()
        gradients = torch.autograd.grad(optimizer.scale_loss(loss), values, allow_unused=True)
        with torch.no_grad():
            optimizer.apply(_clip(gradients, clip_norm, optimizer), variables)
    else:
        raise _unsupported_backend()
    return keras.tree.map_structure(ops.stop_gradient, aux)


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


def input_gradient(function, inputs):
    """Differentiate the sum of `function(inputs)` with respect to `inputs`.

    The result can be differentiated again with respect to the variables inside `function`, which
    is what a gradient penalty needs.

    Args:
        function: Callable from a tensor to a tensor in which examples do not mix.
        inputs: Float tensor of shape `(batch, ...)`.

    Returns:
        Tensor of the shape of `inputs`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        inputs = tf.convert_to_tensor(inputs)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            total = ops.sum(ops.cast(function(inputs), "float32"))
        return tape.gradient(total, inputs)
    if backend == "torch":
        import torch

        inputs = ops.convert_to_tensor(inputs).detach().requires_grad_(True)
        total = ops.sum(ops.cast(function(inputs), "float32"))
        return torch.autograd.grad(total, inputs, create_graph=True)[0]
    raise _unsupported_backend()


def _update_average(averaged, network, decay):
    """Move every variable of `averaged` towards `network` by `1 - decay`."""
    for mean, variable in zip(averaged.variables, network.variables, strict=True):
        step = ops.cast(1.0 - decay, mean.dtype)
        mean.assign(mean + step * (ops.cast(variable, mean.dtype) - mean))


def update_average(averaged, network, decay):
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


def averaged_copy(network):
    """Clone a network, weights included, as the holder of its moving average."""
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    copy.trainable = False
    return copy


def prepare_optimizer(optimizer, *networks):
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

    def next(self, ordered=True):
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


class GAN(keras.Model):
    """Base of the adversarial trainers: random stream, step count, averages, means.

    A subclass names its losses and metrics and writes

    - `network_names`: those of the arguments of `__init__` that are networks;
    - `players`: lists of the generators and of the discriminators; each list has one optimizer;
    - `update_networks(data)` with `minimize`: what a replica does with its share of a batch;
      returns a dict from metric name to a scalar;
    - `averages`: list of `(averaged, network)`, the moving averages and what they follow;
    - `measure(*data)`: scores of the averaged network, a dict from metric name to one value for
      each picture.

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

    def __init__(self, *, metric_names, average_decay, seed, name=None):
        super().__init__(name=name)
        if not 0.0 <= average_decay < 1.0:
            raise ValueError(
                f"`average_decay` must be in [0, 1). Received: average_decay={average_decay}."
            )
        self.average_decay = average_decay
        self.seed = seed
        self.seed_generator = ReplicaSeedGenerator(seed)
        self._means = {name: keras.metrics.Mean(name=name) for name in metric_names}
        self.steps = self.add_weight(
            name="steps", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    def compile(
        self,
        *,
        generator_optimizer,
        discriminator_optimizer=None,
        clip_norm=None,
        jit_compile=False,
    ):
        """Set the optimizers, each built on the variables of its own networks.

        Args:
            generator_optimizer: `keras.optimizers.Optimizer`.
            discriminator_optimizer: Another one, when there are discriminators.
            clip_norm: Largest global norm of the generators' gradient; `None` does not clip.
            jit_compile: See `keras.Model.compile`. XLA made these networks several times slower on
                CPUs, so it is off unless asked for.
        """
        generators, discriminators = self.players
        if bool(discriminators) != (discriminator_optimizer is not None):
            raise ValueError(
                "Discriminators and their optimizer come together. Received: "
                f"discriminators={[network.name for network in discriminators]}, "
                f"discriminator_optimizer={discriminator_optimizer}."
            )
        super().compile(optimizer=None, jit_compile=jit_compile)
        self.clip_norm = clip_norm
        self.generator_optimizer = prepare_optimizer(generator_optimizer, *generators)
        self.discriminator_optimizer = None
        if discriminators:
            self.discriminator_optimizer = prepare_optimizer(
                discriminator_optimizer, *discriminators
            )

    def get_compile_config(self):
        serialize = keras.saving.serialize_keras_object
        return {
            "generator_optimizer": serialize(self.generator_optimizer),
            "discriminator_optimizer": serialize(self.discriminator_optimizer),
            "clip_norm": self.clip_norm,
            "jit_compile": self.jit_compile,
        }

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    @property
    def metrics(self):
        return list(self._means.values())

    def report(self, values, *, batch_size=None):
        """Update the means named in `values` and return them, and only them.

        Args:
            values: Dict from metric name to a scalar, or to a tensor of one value per example.
            batch_size: Number of examples that a scalar stands for, so that a short last batch
                counts by its size; `None` counts every scalar once.
        """
        for name, value in values.items():
            self._means[name].update_state(value, sample_weight=batch_size)
        return {name: self._means[name].result() for name in values}

    def train_step(self, data):
        values = self.update_networks(data)
        self.finish_step(self.averages)
        return self.report(values)

    def test_step(self, data):
        return self.report(self.measure(*data))

    def finish_step(self, pairs):
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
    def from_config(cls, config):
        networks = {
            name: keras.saving.deserialize_keras_object(config[name]) for name in cls.network_names
        }
        return cls(**config | networks)

    def save_own_variables(self, store):
        super().save_own_variables(store)
        # Keras leaves the random state out of its files; without it a resumed run draws other
        # numbers than an uninterrupted one.
        store["seed_generator_state"] = np.asarray(
            ops.convert_to_numpy(self.seed_generator.state.value)
        )

    def load_own_variables(self, store):
        self.seed_generator.state.assign(store["seed_generator_state"][()])
        own = {key: store[key][()] for key in store.keys() if key != "seed_generator_state"}
        super().load_own_variables(own)
