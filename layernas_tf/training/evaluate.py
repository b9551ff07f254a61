"""Accuracy and loss of a Keras model on a split of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.split import Split
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
    counter = _confusion_counter(model.output_shape[-1])
    compile_for_use(model, [counter])
    figures = model.evaluate(split.batches(batch_size), return_dict=True, verbose=0)
    counts = np.rint(keras.ops.convert_to_numpy(counter.counts)).astype(np.int64)
    compile_for_use(model)
    return Scores(counts, float(figures["loss"]))


def _confusion_counter(classes: int) -> Any:
    """A metric that counts images by true and predicted class, on all devices."""
    import keras

    class ConfusionCounter(keras.metrics.Metric):
        def __init__(self) -> None:
            super().__init__(name="confusion")
            self.counts = self.add_variable(
                (classes, classes), initializer="zeros", name="counts"
            )

        def update_state(
            self, y_true: Any, y_pred: Any, sample_weight: Any = None
        ) -> None:
            del sample_weight
            true = keras.ops.reshape(keras.ops.cast(y_true, "int32"), (-1,))
            said = keras.ops.argmax(y_pred, axis=-1)
            rows = keras.ops.one_hot(true, classes, dtype="float32")
            columns = keras.ops.one_hot(said, classes, dtype="float32")
            self.counts.assign_add(keras.ops.matmul(keras.ops.transpose(rows), columns))

        def result(self) -> Any:
            right = keras.ops.sum(keras.ops.diagonal(self.counts))
            return right / keras.ops.maximum(keras.ops.sum(self.counts), 1.0)

    return ConfusionCounter()
