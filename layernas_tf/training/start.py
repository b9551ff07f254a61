"""Pretrained weights for candidates and finalists, cut from the published network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np

from layernas_tf.datasets.split import Dataset
from layernas_tf.training.classifier import MOST_IMAGES, fit_classifier
from layernas_tf.training.observe import observe
from layernas_tf.training.recalibrate import recalibrate
from layernas_tf.training.surgery import Donor, make_donor, transplant

if TYPE_CHECKING:
    from layernas_tf.training.pretrained import Pretrained

CRITERION = "taylor"
"""The criterion of channel importance; `benchmarks/pretrained.py` compares them."""


class Start:
    """Gives networks of a space the pretrained weights, ready for the user's data.

    Example:
      start = Start(load_pretrained(space, "imagenet"), dataset)
      model = space.build(architecture)
      start.prepare(model)
    """

    def __init__(
        self, pretrained: Pretrained, dataset: Dataset, criterion: str = CRITERION
    ):
        """Observes the pretrained network on the user's data.

        Args:
          pretrained: The network; its model gets a classifier for the user's data and
            their statistics.
          dataset: The user's data, of which the training images are used.
          criterion: See `importance`.
        """
        self._images, self._labels = _sample(dataset)
        self._classes = dataset.classes
        model = pretrained.model
        if model.layers and pretrained.fresh:
            fit_classifier(model, self._images, self._labels, self._classes)
        seen = observe(model, self._images, self._labels)
        self._donor: Donor = make_donor(
            model, criterion, taylor=seen.taylor, gates=seen.gates
        )

    def prepare(self, model: keras.Model) -> float:
        """Gives a fresh network its weights, statistics and classifier.

        Returns:
          The share of its weights that came from the pretrained network, 0..1.
        """
        done = transplant(self._donor, model)
        recalibrate(model, self._images, done.identities)
        fit_classifier(model, self._images, self._labels, self._classes)
        return done.share


def _sample(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for batch in dataset.train.batches(256, seed=0).as_numpy_iterator():
        images.append(np.round(batch[0]).astype(np.uint8))
        labels.append(batch[1])
        if sum(map(len, labels)) >= MOST_IMAGES:
            break
    return np.concatenate(images), np.concatenate(labels)
