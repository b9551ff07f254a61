"""A network as segments, with its weights held apart from them."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.datasets.split import Split
from layernas_tf.training.optimizer import decays
from layernas_tf.training.segments import (
    Piece,
    Segment,
    SegmentCache,
    assign,
    cut,
    flatten,
)


@dataclasses.dataclass(eq=False)
class Network:
    """A network as segments, with its weights held apart from them.

    Attributes:
      pieces: Of the Keras model, in the order of the computation.
      segments: Their compiled forms.
      weights: All trained weights as one vector.
      sizes: How many of them each piece has.
      statistics: Running means and variances, one vector per piece.
      others: Other variables of each piece.
    """

    pieces: tuple[Piece, ...]
    segments: list[Segment]
    weights: tf.Tensor
    sizes: list[int]
    statistics: list[tf.Tensor]
    others: list[list[tf.Tensor]]


def open_network(model: keras.Model, cache: SegmentCache) -> Network | None:
    """The segments and weights of a Keras model; None if it is not a chain."""
    pieces = cut(model)
    if pieces is None:
        return None
    weights = [flatten(piece.trainable) for piece in pieces]
    return Network(
        pieces,
        [cache.get(piece) for piece in pieces],
        tf.constant(np.concatenate(weights)),
        [len(vector) for vector in weights],
        [tf.constant(flatten(piece.statistics)) for piece in pieces],
        [[tf.convert_to_tensor(v) for v in piece.others] for piece in pieces],
    )


def close_network(network: Network) -> None:
    """Writes weights and statistics back into the Keras model."""
    vectors = np.split(network.weights.numpy(), np.cumsum(network.sizes)[:-1])
    for index, piece in enumerate(network.pieces):
        assign(piece.trainable, vectors[index])
        assign(piece.statistics, network.statistics[index].numpy())
        for variable, value in zip(piece.others, network.others[index]):
            variable.assign(value)


def predict(
    network: Network, split: Split, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (N, classes) and labels (N,) of a split."""
    outputs, labels = [], []
    parts = tf.split(network.weights, network.sizes)
    for x, label in split.batches(batch_size):
        for segment, part, statistics, others in zip(
            network.segments, parts, network.statistics, network.others
        ):
            x = segment.infer(x, part, statistics, others)
        outputs.append(x.numpy())
        labels.append(label.numpy())
    return np.concatenate(outputs), np.concatenate(labels)


def backpropagate(
    network: Network,
    images: tf.Tensor,
    labels: tf.Tensor,
    loss_of: tf.types.experimental.ConcreteFunction,
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """One forward and backward pass: gradient, loss, statistics of the batch."""
    parts = tf.split(network.weights, network.sizes)
    x, batch_statistics = images, []
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(parts)
        for index, segment in enumerate(network.segments):
            x, statistics, network.others[index] = segment.train(
                x, parts[index], network.others[index]
            )
            batch_statistics.append(statistics)
        loss = loss_of(x, labels)
    gradients = tape.gradient(
        loss, parts, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return tf.concat(gradients, 0), loss, batch_statistics


def momenta(piece: Piece, momentum: float) -> np.ndarray:
    """The momentum of each moving mean and variance, as `piece.statistics` has them."""
    values = [np.zeros(0, np.float32)]
    for layer in piece.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = 2 * layer.moving_mean.shape[0]
            values.append(np.full(count, min(momentum, layer.momentum), np.float32))
    return np.concatenate(values)


def decay_mask(pieces: tuple[Piece, ...]) -> np.ndarray:
    """1 for the weights that weight decay acts on, else 0; one vector."""
    return np.concatenate(
        [
            np.full(int(np.prod(v.shape)), decays(v), np.float32)
            for piece in pieces
            for v in piece.trainable
        ]
    )
