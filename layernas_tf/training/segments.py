"""Compiled pieces of networks, kept between trials.

A short trial on a small data set spends most of its time not on training: TensorFlow
needs seconds to trace and optimize the graph of each new network. But a candidate
differs from others in a few blocks only. So a network is cut at places where a single
tensor is alive, and each piece is compiled once, with its weights as arguments. All
candidates share the compiled pieces that are equal except for their weights. This works
with TensorFlow only; with other backends, train with Keras' fit.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.core.errors import UserError
from layernas_tf.training.quick_convolutions import quicken

_NORMALIZED = (keras.layers.BatchNormalization, keras.layers.Add)
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_LONG_PIECE = 16


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A part of a network with one input tensor and one output tensor.

    Example:
      pieces = cut(space.build(space.default))
      [layer.name for layer in pieces[0].layers]

    Attributes:
      layers: The layers in the order of the computation.
      inputs: For each layer, which tensors it takes: 0 is the piece's input, i the
        output of layer i - 1.
      start: The Keras tensor that is the piece's input.
    """

    layers: tuple[keras.layers.Layer, ...]
    inputs: tuple[tuple[int, ...], ...]
    start: Any

    @functools.cached_property
    def key(self) -> str:
        """Equal for pieces that compute the same function of input and weights."""
        configs = []
        for layer in self.layers:
            config = layer.get_config()
            config.pop("name", None)
            configs.append((type(layer).__qualname__, config))
        shape = tuple(self.start.shape[1:])
        return json.dumps(
            [shape, self.start.dtype, self.inputs, configs],
            default=lambda value: f"{type(value).__qualname__} {value!r}",
        )

    @property
    def trainable(self) -> list[keras.Variable]:
        """The weights that the optimizer changes."""
        return [v for layer in self.layers for v in layer.trainable_variables]

    @property
    def statistics(self) -> list[keras.Variable]:
        """Running means and variances of batch normalization."""
        return _statistics(self.layers)

    @property
    def others(self) -> list[keras.Variable]:
        """Other variables of the piece, such as the seeds of dropout."""
        return _others(self.layers)


def cut(model: keras.Model) -> tuple[Piece, ...] | None:
    """Cuts a network into pieces; None if it is not a chain of pieces.

    The network is cut where a single tensor is alive, between a batch normalization or
    a residual sum and a convolution after it. In a MobileNet, this is between blocks.
    A network with a frozen batch normalization is not cut.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1 or model.losses:
        return None
    steps = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Model) or len(layer._inbound_nodes) != 1:
            return None
        # In training, a piece has the statistics of the batch and no others.
        if isinstance(layer, keras.layers.BatchNormalization) and not layer.trainable:
            return None
        inputs, output = layer.input, layer.output
        if isinstance(output, (list, tuple, dict)) or isinstance(inputs, dict):
            return None
        inputs = tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)
        steps.append((layer, inputs, output))
    uses = collections.Counter(id(t) for _, inputs, _ in steps for t in set(inputs))
    alive = {id(model.inputs[0])}
    pieces, start, layers, numbers, known = [], model.inputs[0], [], [], {}
    known = {id(start): 0}
    for position, (layer, inputs, output) in enumerate(steps):
        if any(id(tensor) not in known for tensor in inputs):
            return None
        layers.append(layer)
        numbers.append(tuple(known[id(tensor)] for tensor in inputs))
        known[id(output)] = len(layers)
        for tensor in set(inputs):
            uses[id(tensor)] -= 1
            if not uses[id(tensor)]:
                alive.discard(id(tensor))
        alive.add(id(output))
        last = position + 1 == len(steps)
        if len(alive) == 1 and (last or _is_border(layers, steps[position + 1][0])):
            pieces.append(Piece(tuple(layers), tuple(numbers), start))
            start, layers, numbers, known = output, [], [], {id(output): 0}
    if layers or start is not model.outputs[0]:
        return None
    return tuple(pieces)


def _is_border(layers: list, following: Any) -> bool:
    if not isinstance(following, _CONVOLUTIONS):
        return False
    return isinstance(layers[-1], _NORMALIZED) or len(layers) >= _LONG_PIECE


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """The compiled form of a piece.

    Example:
      segment = SegmentCache().get(piece)
      y, statistics, others = segment.train(x, flatten(piece.trainable), others)

    Attributes:
      train: (x, trainable, others) -> (y, batch statistics, others); `trainable` and
        the statistics are flat float32 vectors.
      infer: (x, trainable, statistics, others) -> y.
    """

    train: Any
    infer: Any


class SegmentCache:
    """The compiled segments that were used last.

    Example:
      segments = SegmentCache()
      train_model(model, dataset, recipe, seed=0, segments=segments)

    Args:
      size: Number of segments that are kept; the least recently used one is removed
        first.
    """

    def __init__(self, size: int = 32):
        if size < 1:
            raise UserError(f"segment cache: expected a size of 1 or more, got {size}")
        self._size = size
        self._segments: collections.OrderedDict[str, Segment] = (
            collections.OrderedDict()
        )
        self.hits = 0
        self.misses = 0

    def get(self, piece: Piece) -> Segment:
        """The segment of a piece, compiled if it is not in the cache."""
        if piece.key in self._segments:
            self.hits += 1
            self._segments.move_to_end(piece.key)
        else:
            self.misses += 1
            self._segments[piece.key] = _compile(piece)
            while len(self._segments) > self._size:
                self._segments.popitem(last=False)
        return self._segments[piece.key]


class _FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with TensorFlow's fused kernel: 2.5 times as fast on CPU.

    In training, the moving statistics are set to those of the batch; the caller
    averages them.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None
    ) -> tf.Tensor:
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        ones = tf.ones_like(self.moving_mean)
        gamma = self.gamma if self.scale else ones
        beta = self.beta if self.center else tf.zeros_like(ones)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(gamma),
            tf.convert_to_tensor(beta),
            epsilon=self.epsilon,
        )
        # The kernel gives the unbiased variance, but Keras averages the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance * (count - 1) / count)
        return outputs


def _copy(layer: keras.layers.Layer) -> keras.layers.Layer:
    config = layer.get_config()
    if type(layer) is keras.layers.BatchNormalization:
        images = len(layer.input.shape) == 4  # the kernel takes nothing else
        last = layer.axis in (-1, 3)
        if images and last and not (layer.renorm or layer.synchronized):
            return _FusedBatchNormalization.from_config(config)
    copied = type(layer).from_config(config)
    quicken(copied)
    return copied


def _compile(piece: Piece) -> Segment:
    # Copies, because the piece's own layers keep their whole network in memory.
    layers = [_copy(layer) for layer in piece.layers]
    for layer in layers:
        if type(layer) is keras.layers.BatchNormalization:
            layer.momentum = 0.0
    tensors = [keras.Input(batch_shape=piece.start.shape, dtype=piece.start.dtype)]
    for layer, inputs in zip(layers, piece.inputs):
        chosen = [tensors[number] for number in inputs]
        tensors.append(layer(chosen[0] if len(chosen) == 1 else chosen))
    network = keras.Model(tensors[0], tensors[-1])
    trainable = [v for layer in layers for v in layer.trainable_variables]
    statistics, others = _statistics(layers), _others(layers)

    def run(
        x: tf.Tensor,
        weights: tf.Tensor,
        averages: tf.Tensor,
        seeds: list[tf.Tensor],
        training: bool,
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        mapping = [
            *zip(trainable, _unflatten(weights, trainable)),
            *zip(statistics, _unflatten(averages, statistics)),
            *zip(others, seeds),
        ]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            y = network(x, training=training)
            return (
                y,
                _flatten([scope.get_current_value(v) for v in statistics]),
                [scope.get_current_value(v) for v in others],
            )

    blank = tf.constant(flatten(statistics))

    def train(
        x: tf.Tensor, weights: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        return run(x, weights, blank, seeds, True)

    def infer(
        x: tf.Tensor, weights: tf.Tensor, averages: tf.Tensor, seeds: list[tf.Tensor]
    ) -> tf.Tensor:
        return run(x, weights, averages, seeds, False)[0]

    x = tf.TensorSpec((None, *piece.start.shape[1:]), piece.start.dtype)
    weights = tf.TensorSpec((_length(trainable),), tf.float32)
    averages = tf.TensorSpec((_length(statistics),), tf.float32)
    seeds = [tf.TensorSpec(v.shape, v.dtype) for v in others]
    compiled = functools.partial(tf.function, autograph=False)
    return Segment(
        compiled(train).get_concrete_function(x, weights, seeds),
        compiled(infer).get_concrete_function(x, weights, averages, seeds),
    )


def flatten(variables: list[keras.Variable]) -> np.ndarray:
    """The values of float variables as one vector."""
    if not variables:
        return np.zeros(0, np.float32)
    return np.concatenate(
        [np.asarray(v.numpy(), np.float32).reshape(-1) for v in variables]
    )


def assign(variables: list[keras.Variable], vector: np.ndarray) -> None:
    """Writes a vector that `flatten` could have made back into the variables."""
    start = 0
    for variable in variables:
        size = int(np.prod(variable.shape))
        variable.assign(vector[start : start + size].reshape(variable.shape))
        start += size


def _statistics(layers: Any) -> list[keras.Variable]:
    return [
        variable
        for layer in layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.non_trainable_variables
        if variable is layer.moving_mean or variable is layer.moving_variance
    ]


def _others(layers: Any) -> list[keras.Variable]:
    known = {id(variable) for variable in _statistics(layers)}
    return [
        variable
        for layer in layers
        for variable in layer.non_trainable_variables
        if id(variable) not in known
    ]


def _length(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def _unflatten(vector: tf.Tensor, variables: list[keras.Variable]) -> list[tf.Tensor]:
    if not variables:
        return []
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    return [
        tf.cast(tf.reshape(part, variable.shape), variable.dtype)
        for part, variable in zip(tf.split(vector, sizes), variables)
    ]


def _flatten(values: list[tf.Tensor]) -> tf.Tensor:
    if not values:
        return tf.zeros((0,), tf.float32)
    return tf.concat(
        [tf.reshape(tf.cast(value, tf.float32), (-1,)) for value in values], 0
    )
