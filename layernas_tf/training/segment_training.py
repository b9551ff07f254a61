"""Training and inference of a network through its shared segments."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.datasets.split import Dataset, Split
from layernas_tf.training.checkpoint import Checkpoint, Epoch
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.optimizer import averaging_momentum, decays
from layernas_tf.training.progress import Laps
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.result import TrainingResult, check_finite
from layernas_tf.training.scoring import gives_logits, score
from layernas_tf.training.segment_updates import UPDATES
from layernas_tf.training.segments import (
    Piece,
    Segment,
    SegmentCache,
    assign,
    cut,
    flatten,
)
from layernas_tf.training.soft_labels import one_hot


@dataclasses.dataclass(eq=False)
class _Network:
    """A network as segments, with its weights held apart from them."""

    pieces: tuple[Piece, ...]
    segments: list[Segment]
    weights: tf.Tensor
    sizes: list[int]
    statistics: list[tf.Tensor]
    others: list[list[tf.Tensor]]


def _open(model: keras.Model, cache: SegmentCache) -> _Network | None:
    pieces = cut(model)
    if pieces is None:
        return None
    weights = [flatten(piece.trainable) for piece in pieces]
    return _Network(
        pieces,
        [cache.get(piece) for piece in pieces],
        tf.constant(np.concatenate(weights)),
        [len(vector) for vector in weights],
        [tf.constant(flatten(piece.statistics)) for piece in pieces],
        [[tf.convert_to_tensor(v) for v in piece.others] for piece in pieces],
    )


def _close(network: _Network) -> None:
    """Writes weights and statistics back into the Keras model."""
    vectors = np.split(network.weights.numpy(), np.cumsum(network.sizes)[:-1])
    for index, piece in enumerate(network.pieces):
        assign(piece.trainable, vectors[index])
        assign(piece.statistics, network.statistics[index].numpy())
        for variable, value in zip(piece.others, network.others[index]):
            variable.assign(value)


def train_segments(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    cache: SegmentCache,
    checkpoint: Checkpoint | None = None,
    until: int | None = None,
) -> TrainingResult | None:
    """Like `train.train_model`; None if the network is not a chain of segments."""
    started = time.perf_counter()
    network = _open(model, cache)
    if network is None:
        return None
    logits = gives_logits(model)
    weights = class_weights(dataset, recipe.class_weights)
    loss_of = _loss(
        dataset.classes,
        recipe.label_smoothing,
        logits,
        None if weights is None else tuple(weights.tolist()),
    )
    last = recipe.epochs if until is None else min(until, recipe.epochs)
    history = _train(network, dataset, recipe, seed, loss_of, checkpoint, last)
    _close(network)
    outputs, labels = _predict(network, dataset.valid, 256)
    scores = score(outputs, labels, logits)
    history[-1] = {
        **history[-1],
        "valid_accuracy": scores.accuracy,
        "valid_loss": scores.loss,
    }
    return TrainingResult(
        valid_accuracy=scores.accuracy,
        valid_loss=scores.loss,
        valid_balanced_accuracy=scores.balanced_accuracy,
        valid_correct=scores.correct,
        train_loss=history[-1]["loss"],
        train_seconds=time.perf_counter() - started,
        history=tuple(history),
    )


def _train(
    network: _Network,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    loss_of: tf.types.experimental.ConcreteFunction,
    checkpoint: Checkpoint | None,
    last: int,
) -> list[Epoch]:
    """Trains the network's weights up to epoch `last`; the figures of each epoch."""
    update = UPDATES[recipe.optimizer]
    per_epoch = recipe.steps_per_epoch(dataset.train.size)
    steps = per_epoch * recipe.epochs
    momentum = averaging_momentum(steps)
    momenta = [tf.constant(_momenta(piece, momentum)) for piece in network.pieces]
    decay = tf.constant(recipe.weight_decay * _decay_mask(network.pieces))
    slots = [tf.zeros_like(network.weights), tf.zeros_like(network.weights)]
    history: list[Epoch] = []
    if checkpoint is not None:
        # Its variables are not those of a training by Keras' fit.
        checkpoint = dataclasses.replace(
            checkpoint, about={**checkpoint.about, "segments": len(network.pieces)}
        )
        history, arrays = checkpoint.read(len(_state(network, slots)), last)
        if history:
            slots = _restore(network, arrays)
    clock = Laps()
    batches = iter(
        dataset.train.batches(
            recipe.batch_size,
            seed=seed,
            augment=recipe.augment,
            randaugment=recipe.randaugment,
            repeat=True,
            start=len(history) * per_epoch,
        )
    )
    for epoch in range(len(history), last):
        losses = []
        for step in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            images, labels = next(batches)
            gradient, loss = _backpropagate(network, images, labels, loss_of, momenta)
            network.weights, *slots = update(
                network.weights,
                gradient,
                *slots,
                decay,
                tf.constant(recipe.learning_rate_at(step, steps), tf.float32),
                tf.constant(step + 1, tf.float32),
            )
            losses.append(loss)
        mean = float(tf.reduce_mean(losses))
        check_finite(mean, epoch + 1)
        history.append({"loss": mean, "seconds": clock.lap()})
        if checkpoint is not None:
            checkpoint.save(history, _state(network, slots))
    return history


def _state(network: _Network, slots: list[tf.Tensor]) -> list[tf.Tensor]:
    """All that changes in a training."""
    others = itertools.chain.from_iterable(network.others)
    return [network.weights, *slots, *network.statistics, *others]


def _restore(network: _Network, arrays: list[np.ndarray]) -> list[tf.Tensor]:
    """Puts the values of `_state` back; returns the slots."""
    tensors = iter([tf.constant(array) for array in arrays])
    network.weights = next(tensors)
    slots = [next(tensors), next(tensors)]
    network.statistics = [next(tensors) for _ in network.statistics]
    network.others = [[next(tensors) for _ in group] for group in network.others]
    return slots


def predict_segments(
    model: keras.Model, split: Split, cache: SegmentCache, batch_size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Outputs and labels of a split; None if the network is not a chain of segments."""
    network = _open(model, cache)
    return None if network is None else _predict(network, split, batch_size)


def _predict(
    network: _Network, split: Split, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
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


def _backpropagate(
    network: _Network,
    images: tf.Tensor,
    labels: tf.Tensor,
    loss_of: tf.types.experimental.ConcreteFunction,
    momenta: list[tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """One forward and backward pass, which also updates the running statistics."""
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
    network.statistics = [
        new + momentum * (old - new)
        for old, new, momentum in zip(network.statistics, batch_statistics, momenta)
    ]
    return tf.concat(gradients, 0), loss


def _momenta(piece: Piece, momentum: float) -> np.ndarray:
    # Moving mean and variance of each layer, in the order of `piece.statistics`.
    values = [np.zeros(0, np.float32)]
    for layer in piece.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            count = 2 * layer.moving_mean.shape[0]
            values.append(np.full(count, min(momentum, layer.momentum), np.float32))
    return np.concatenate(values)


def _decay_mask(pieces: tuple[Piece, ...]) -> np.ndarray:
    return np.concatenate(
        [
            np.full(int(np.prod(v.shape)), decays(v), np.float32)
            for piece in pieces
            for v in piece.trainable
        ]
    )


@functools.lru_cache(maxsize=8)
def _loss(
    classes: int, smoothing: float, logits: bool, weights: tuple[float, ...] | None
) -> tf.types.experimental.ConcreteFunction:
    crossentropy = keras.losses.CategoricalCrossentropy(
        from_logits=logits, label_smoothing=smoothing
    )

    def loss(outputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        true = one_hot(labels, classes)
        counted = None if weights is None else tf.linalg.matvec(true, weights)
        return crossentropy(true, outputs, sample_weight=counted)

    return tf.function(loss, autograph=False, reduce_retracing=True)
