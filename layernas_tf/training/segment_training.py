"""Training and inference of a network through its shared segments."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.datasets.split import Dataset, Split
from layernas_tf.training.checkpoint import Checkpoint, Epoch
from layernas_tf.training.class_weights import class_weights
from layernas_tf.training.hints import image_losses, with_hints
from layernas_tf.training.optimizer import statistics_momentum
from layernas_tf.training.progress import Laps
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.result import TrainingResult, check_finite
from layernas_tf.training.scoring import Scores, gives_logits, score
from layernas_tf.training.segment_network import (
    Network,
    backpropagate,
    close_network,
    decay_mask,
    momenta,
    open_network,
    predict,
)
from layernas_tf.training.segment_updates import UPDATES
from layernas_tf.training.segments import SegmentCache
from layernas_tf.training.soft_labels import hints_of, one_hot


class SegmentTraining:
    """A training of one network, step by step.

    Example:
      training = SegmentTraining.start(model, dataset, recipe, 0, SegmentCache())
      losses = [float(training.step()) for _ in range(training.steps)]
      training.validate().accuracy

    Attributes:
      steps: The steps that the recipe has.
      steps_per_epoch: Of them, in an epoch.
      batch_statistics: Means and variances in the last batch, one vector per piece.
    """

    def __init__(
        self,
        network: Network,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        logits: bool,
    ):
        self._network = network
        self._dataset = dataset
        self._recipe = recipe
        self._logits = logits
        counted = class_weights(dataset, recipe.class_weights)
        self._loss = _loss(
            dataset.classes,
            len(hints_of(dataset)),
            recipe.label_smoothing,
            logits,
            None if counted is None else tuple(counted.tolist()),
        )
        self.steps_per_epoch = recipe.steps_per_epoch(dataset.train.size)
        self.steps = self.steps_per_epoch * recipe.epochs
        self._momenta = self.momenta(self.steps)
        self._decay = tf.constant(recipe.weight_decay * decay_mask(network.pieces))
        zeros = tf.zeros_like(network.weights)
        self._slots = (zeros, zeros)
        self._done = 0
        self._seed = seed
        self._batches: Iterator[tuple[tf.Tensor, tf.Tensor]] | None = None
        self.batch_statistics: list[tf.Tensor] = []

    @classmethod
    def start(
        cls,
        model: keras.Model,
        dataset: Dataset,
        recipe: Recipe,
        seed: int,
        cache: SegmentCache,
    ) -> SegmentTraining | None:
        """A training that begins; None if the network is not a chain of segments."""
        network = open_network(with_hints(model, hints_of(dataset)), cache)
        if network is None:
            return None
        return cls(network, dataset, recipe, seed, gives_logits(model))

    @property
    def weights(self) -> tf.Tensor:
        """All trained weights as one vector."""
        return self._network.weights

    @property
    def variables(self) -> list[keras.Variable]:
        """The Keras variables of these weights, in their order."""
        return [v for piece in self._network.pieces for v in piece.trainable]

    @property
    def statistics(self) -> list[tf.Tensor]:
        """Running means and variances, one vector per piece."""
        return self._network.statistics

    def momenta(self, steps: int) -> list[tf.Tensor]:
        """Momenta of the running statistics in a training of this number of steps."""
        momentum = statistics_momentum(steps)
        return [tf.constant(momenta(piece, momentum)) for piece in self._network.pieces]

    def gradient(self) -> tf.Tensor:
        """The gradient on the next batch, with which nothing is done."""
        return self._backpropagate()[0]

    def step(self) -> tf.Tensor:
        """Trains on the next batch; returns its mean loss, a scalar."""
        network, recipe = self._network, self._recipe
        gradient, loss = self._backpropagate()
        network.statistics = averaged(
            network.statistics, self.batch_statistics, self._momenta
        )
        network.weights, *slots = UPDATES[recipe.optimizer](
            network.weights,
            gradient,
            *self._slots,
            self._decay,
            tf.constant(recipe.learning_rate_at(self._done, self.steps), tf.float32),
            tf.constant(self._done + 1, tf.float32),
        )
        self._slots = tuple(slots)
        self._done += 1
        return loss

    def validate(
        self,
        weights: tf.Tensor | None = None,
        statistics: list[tf.Tensor] | None = None,
    ) -> Scores:
        """Scores on the validation images, by default of the present weights."""
        return self._scores(self._dataset.valid, weights, statistics)

    def test(self, statistics: list[tf.Tensor] | None = None) -> Scores:
        """Scores on the test images."""
        return self._scores(self._dataset.test, None, statistics)

    def state(self) -> list[tf.Tensor]:
        """All that changes in a training."""
        others = itertools.chain.from_iterable(self._network.others)
        return [self.weights, *self._slots, *self.statistics, *others]

    def restore(self, arrays: list[np.ndarray], epochs: int) -> None:
        """Goes on from what `state` gave after a number of epochs."""
        network = self._network
        tensors = iter([tf.constant(array) for array in arrays])
        network.weights = next(tensors)
        self._slots = (next(tensors), next(tensors))
        network.statistics = [next(tensors) for _ in network.statistics]
        network.others = [[next(tensors) for _ in group] for group in network.others]
        self._done = epochs * self.steps_per_epoch
        self._batches = None

    def close(self) -> None:
        """Writes weights and statistics back into the Keras model."""
        close_network(self._network)

    def _scores(
        self,
        split: Split,
        weights: tf.Tensor | None,
        statistics: list[tf.Tensor] | None,
    ) -> Scores:
        network = dataclasses.replace(
            self._network,
            weights=self.weights if weights is None else weights,
            statistics=self.statistics if statistics is None else statistics,
        )
        outputs, labels = predict(network, split, 256)
        return score(outputs[:, : self._dataset.classes], labels, self._logits)

    def _batches_from(self, start: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        recipe = self._recipe
        return iter(
            self._dataset.train.batches(
                recipe.batch_size,
                seed=self._seed,
                augment=recipe.augment,
                randaugment=recipe.randaugment,
                repeat=True,
                start=start,
            )
        )

    def _backpropagate(self) -> tuple[tf.Tensor, tf.Tensor]:
        if self._batches is None:
            self._batches = self._batches_from(self._done)
        images, labels = next(self._batches)
        gradient, loss, self.batch_statistics = backpropagate(
            self._network, images, labels, self._loss
        )
        return gradient, loss


def averaged(
    statistics: list[tf.Tensor], news: list[tf.Tensor], momenta: list[tf.Tensor]
) -> list[tf.Tensor]:
    """Running statistics after a batch; all one vector per piece."""
    return [
        new + momentum * (old - new)
        for old, new, momentum in zip(statistics, news, momenta, strict=True)
    ]


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
    training = SegmentTraining.start(model, dataset, recipe, seed, cache)
    if training is None:
        return None
    last = recipe.epochs if until is None else min(until, recipe.epochs)
    history = _train(training, checkpoint, last)
    training.close()
    scores = training.validate()
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
    training: SegmentTraining, checkpoint: Checkpoint | None, last: int
) -> list[Epoch]:
    """Trains up to epoch `last`; the figures of each epoch."""
    history: list[Epoch] = []
    if checkpoint is not None:
        # Its variables are not those of a training by Keras' fit.
        checkpoint = dataclasses.replace(
            checkpoint, about={**checkpoint.about, "segments": len(training.statistics)}
        )
        history, arrays = checkpoint.read(len(training.state()), last)
        if history:
            training.restore(arrays, len(history))
    clock = Laps()
    for epoch in range(len(history), last):
        losses = [training.step() for _ in range(training.steps_per_epoch)]
        mean = float(tf.reduce_mean(losses))
        check_finite(mean, epoch + 1)
        history.append({"loss": mean, "seconds": clock.lap()})
        if checkpoint is not None:
            checkpoint.save(history, training.state())
    return history


def predict_segments(
    model: keras.Model, split: Split, cache: SegmentCache, batch_size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Outputs and labels of a split; None if the network is not a chain of segments."""
    network = open_network(model, cache)
    return None if network is None else predict(network, split, batch_size)


@functools.lru_cache(maxsize=8)
def _loss(
    classes: int,
    hints: int,
    smoothing: float,
    logits: bool,
    weights: tuple[float, ...] | None,
) -> tf.types.experimental.ConcreteFunction:
    losses = image_losses(classes, hints, label_smoothing=smoothing, logits=logits)

    def loss(outputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        true = one_hot(labels, classes)
        each = losses(true, outputs)
        if weights is not None:
            each *= tf.linalg.matvec(true[:, :classes], weights)
        return tf.reduce_mean(each)

    return tf.function(loss, autograph=False, reduce_retracing=True)
