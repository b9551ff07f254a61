"""Fitting the last layer of a network while all other layers stay as they are.

The first gradients of a fresh classifier damage pretrained features. This is avoided if
the classifier is fitted first (Kumar et al., arXiv 2202.10054, "linear probing then
fine tuning"). The fit takes a second, and its accuracy can be a candidate's reward
without any training.
"""

from __future__ import annotations

import dataclasses
import warnings

import keras
import numpy as np

from layernas_tf.core.threads import one_thread
from layernas_tf.training.graph_walk import classifier_of, features

_BATCH = 128
_PARTS = 4
_INVERSE_PENALTY = 0.1
"""Scikit-learn's `C`, the inverse of the strength of the L2 penalty on standardized
features, times the square root of the number of images."""


def image_features(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """The input of the network's last layer with weights: (N, features).

    Args:
      model: A functional network.
      images: (N, H, W, C) in [0, 255].
    """
    parts = [
        features(model, np.asarray(images[start : start + _BATCH], np.float32))
        for start in range(0, len(images), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A linear classifier of features.

    Example: `fitted(known, labels, classes=10).outputs(known)`.

    Attributes:
      kernel: (features, classes).
      bias: (classes,).
    """

    kernel: np.ndarray
    bias: np.ndarray

    def outputs(self, known: np.ndarray) -> np.ndarray:
        """Probabilities, (N, classes), of features, (N, features)."""
        logits = known @ self.kernel + self.bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def fitted(known: np.ndarray, labels: np.ndarray, classes: int) -> Classifier | None:
    """Fits a classifier by logistic regression; None if there is a single class.

    Args:
      known: (N, features).
      labels: (N,) integers below `classes`.
      classes: Number of outputs.
    """
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    if len(present) < 2:
        return None
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may stop before it has fully converged
        fit = LogisticRegression(
            C=_INVERSE_PENALTY / np.sqrt(len(labels)), max_iter=60
        ).fit((known - mean) / deviation, labels)
    slopes, offsets = fit.coef_, fit.intercept_
    if len(present) == 2:
        slopes, offsets = np.stack([-slopes[0], slopes[0]]) / 2, np.array([-0.5, 0.5])
        offsets = offsets * fit.intercept_[0]
    kernel = np.zeros((known.shape[1], classes))
    # A class without an image here gets a probability close to zero.
    bias = np.full(classes, offsets.min() - 5.0)
    kernel[:, present] = (slopes / deviation).T
    bias[present] = offsets - slopes @ (mean / deviation)
    return Classifier(kernel, bias)


def fit_classifier(
    model: keras.Model, known: np.ndarray, labels: np.ndarray, classes: int
) -> None:
    """Fits the last layer with weights to labelled images by logistic regression.

    Args:
      model: A network that ends with a dense layer or a 1x1 convolution and a softmax.
        This layer gets new weights.
      known: (N, features): `image_features` of the images.
      labels: (N,) integers below `classes`.
      classes: Number of outputs of the network.
    """
    found = fitted(known, labels, classes)
    if found is not None:
        layer = classifier_of(model)
        layer.kernel.assign(found.kernel.reshape(layer.kernel.shape))
        layer.bias.assign(found.bias)


def cross_fitted(known: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """What classifiers say of images that they were not fitted to.

    The images are divided into four parts, and each part is classified by what was
    fitted to the other three.

    Args:
      known: (N, features), shuffled.
      labels: (N,) integers below `classes`.
      classes: Number of outputs.

    Returns:
      (N, classes) probabilities.
    """
    outputs = np.full((len(labels), classes), 1 / classes)
    for part in range(_PARTS):
        held = np.arange(len(labels)) % _PARTS == part
        found = fitted(known[~held], labels[~held], classes)
        if found is not None and held.any():
            outputs[held] = found.outputs(known[held])
    return outputs
