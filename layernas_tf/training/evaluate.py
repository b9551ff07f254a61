"""Accuracy and loss of a Keras model on a split of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from layernas_tf.datasets.split import Split
from layernas_tf.training.devices import compiled_by_xla
from layernas_tf.training.scoring import Scores, compile_for_use, gives_logits, score

if TYPE_CHECKING:
    import keras

    from layernas_tf.training.segments import SegmentCache


def evaluate_model(
    model: keras.Model,
    split: Split,
    *,
    segments: SegmentCache | None = None,
    batch_size: int = 256,
) -> Scores:
    """Measures a network on a split.

    Args:
      model: Takes float32 images in [0, 255], gives logits or probabilities. It is
        compiled for that, and loses its optimizer.
      split: What to measure on.
      segments: As for `train_model`.
      batch_size: Images that are computed at a time.
    """
    import keras

    if segments is not None and keras.backend.backend() == "tensorflow":
        from layernas_tf.training.segment_training import predict_segments

        predicted = predict_segments(model, split, segments, batch_size)
        if predicted is not None:
            return score(*predicted, gives_logits(model))
    compile_for_use(model)
    return score(*_predict(model, split, batch_size), gives_logits(model))


def _predict(
    model: keras.Model, split: Split, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and labels, in the order of the split, on all devices.

    The labels pass through the network, as the images of a streamed split should be
    read only once.
    """
    import keras

    images = keras.Input(model.input_shape[1:])
    label = keras.Input((), dtype="int32")
    both = keras.Model([images, label], [model(images), keras.layers.Identity()(label)])
    both.compile(jit_compile=compiled_by_xla())
    batches = split.batches(batch_size).map(lambda x, y: ((x, y),))
    outputs, labels = both.predict(batches, verbose=0)
    return np.asarray(outputs, np.float32), np.asarray(labels)
