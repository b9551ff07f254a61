"""Fitting the last layer of a network while all other layers stay as they are.

The first gradients of a fresh classifier damage pretrained features. This is avoided if
the classifier is fitted first (Kumar et al., arXiv 2202.10054, "linear probing then
fine tuning"). The fit takes a second, and its accuracy can be a candidate's reward
without any training.
"""

from __future__ import annotations

import warnings

import keras
import numpy as np

from layernas_tf.training.graph_walk import features

MOST_IMAGES = 5_000
"""The fit uses at most this many images; more would cost time and hardly improve it."""

_PENALTY = 0.1
"""Strength of the L2 penalty on standardized features, for each class and image."""


def fit_classifier(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, classes: int
) -> None:
    """Fits the last layer with weights to labelled images by logistic regression.

    Args:
      model: A network that ends with a dense layer or a 1x1 convolution and a softmax.
        This layer gets new weights.
      images: (N, H, W, C) in [0, 255]; the first `MOST_IMAGES` are used.
      labels: (N,) integers below `classes`, each of which occurs.
      classes: Number of outputs of the network.
    """
    from sklearn.linear_model import LogisticRegression

    images, labels = images[:MOST_IMAGES], labels[:MOST_IMAGES]
    present = np.unique(labels)
    if len(present) < 2:
        return
    known = np.concatenate(
        [
            features(model, images[start : start + 128])
            for start in range(0, len(images), 128)
        ]
    )
    mean, deviation = known.mean(axis=0), known.std(axis=0) + 1e-3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may stop before it has fully converged
        fit = LogisticRegression(C=_PENALTY / np.sqrt(len(labels)), max_iter=60).fit(
            (known - mean) / deviation, labels
        )
    slopes, offsets = fit.coef_, fit.intercept_
    if len(present) == 2:
        slopes, offsets = np.stack([-slopes[0], slopes[0]]) / 2, np.array([-0.5, 0.5])
        offsets = offsets * fit.intercept_[0]
    kernel = np.zeros((known.shape[1], classes))
    # A class without an image here gets a probability close to zero.
    bias = np.full(classes, offsets.min() - 5.0)
    kernel[:, present] = (slopes / deviation).T
    bias[present] = offsets - slopes @ (mean / deviation)
    layer = [layer for layer in model.layers if layer.weights][-1]
    layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    layer.bias.assign(bias)
