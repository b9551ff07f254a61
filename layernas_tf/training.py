"""Training and evaluating one network.

Keras is imported when a function is called, so that recipes are cheap to handle.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.split import Dataset, Split
from layernas_tf.errors import UserError
from layernas_tf.recipe import Recipe, default_recipe

if TYPE_CHECKING:
    import keras

    from layernas_tf.segments import SegmentCache

_SEGMENTED_IMAGES = 50_000
"""Images seen in a training up to which shared pieces save more than they cost: a graph
of the whole network takes half a minute of processor time to make, and then about a
millisecond less per image."""

__all__ = [
    "Recipe",
    "Scores",
    "TrainingResult",
    "default_recipe",
    "evaluate_model",
    "precision",
    "save_model",
    "train_model",
]


@dataclasses.dataclass(frozen=True)
class TrainingResult:
    """What came of a training.

    Attributes:
      valid_accuracy: Share of the validation images classified correctly.
      valid_loss: Mean cross-entropy on them, without label smoothing.
      train_loss: Mean loss of the last epoch.
      train_seconds: Wall time, compilation and validation included.
      history: For each epoch, figures by name.
    """

    valid_accuracy: float
    valid_loss: float
    train_loss: float
    train_seconds: float
    history: tuple[Mapping[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Scores:
    """How good a network is on a split: accuracy in 0..1 and mean cross-entropy."""

    accuracy: float
    loss: float


@contextlib.contextmanager
def precision(recipe: Recipe) -> Iterator[None]:
    """Within it, networks are built for the recipe's precision."""
    import keras

    before = keras.config.dtype_policy()
    if recipe.mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def train_model(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    segments: SegmentCache | None = None,
) -> TrainingResult:
    """Trains a network on `dataset.train` and validates it on `dataset.valid`.

    Running statistics of batch normalization are averaged over the last tenth of the
    steps, or as long as the layer says where that is less: the momentum of 0.999 that
    MobileNetV3 is published with needs thousands of steps.

    Args:
      model: Takes float32 images in [0, 255], gives logits or probabilities. It ends
        with the trained weights.
      dataset: What to train on.
      recipe: How.
      seed: Of the order of the images and their augmentation; set Keras' own seed
        before the model is built.
      callbacks: For Keras' fit.
      segments: Compiled pieces from other trainings: with it and without callbacks a
        short training takes a fraction of the time (TensorFlow only); a long one
        is left to Keras' fit.

    Raises:
      FloatingPointError: The loss became NaN or infinite.
    """
    import keras

    check_shape(model, dataset)
    if (
        segments is not None
        and recipe.epochs * dataset.train.size <= _SEGMENTED_IMAGES
        and not callbacks
        and keras.backend.backend() == "tensorflow"
    ):
        from layernas_tf.segment_training import train_segments

        result = train_segments(model, dataset, recipe, seed, segments)
        if result is not None:
            _compile_for_use(model)
            return result
    result = _fit(model, dataset, recipe, seed, callbacks)
    _compile_for_use(model)
    return result


def check_shape(model: keras.Model, dataset: Dataset) -> None:
    """Raises `UserError` unless the network takes these images and has the classes."""
    expected = (*dataset.shape, dataset.classes)
    got = (*model.input_shape[1:], model.output_shape[-1])
    if any(g is not None and g != e for g, e in zip(got, expected, strict=True)):
        raise UserError(
            f"the network takes images of {got[:-1]} and has {got[-1]} classes, the "
            f"data set {dataset.name!r} has images of {expected[:-1]} and "
            f"{expected[-1]} classes"
        )


def averaging_momentum(steps: int) -> float:
    """Momentum of running statistics that look back over a tenth of the steps."""
    return math.exp(-1 / max(1.0, 0.1 * steps))


def gives_logits(model: keras.Model) -> bool:
    """Whether the network ends without a softmax."""
    import keras

    last = model.layers[-1]
    while isinstance(last, (keras.layers.Flatten, keras.layers.Reshape)):
        last = last._inbound_nodes[0].parent_nodes[0].operation
    if isinstance(last, keras.layers.Softmax):
        return False
    return getattr(last, "activation", None) is not keras.activations.softmax


def _fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> TrainingResult:
    import keras

    started = time.perf_counter()
    per_epoch = recipe.steps_per_epoch(dataset.train.size)
    steps = per_epoch * recipe.epochs
    optimizer = make_optimizer(model, recipe, steps)
    # Slots made inside the first step would make TensorFlow trace it twice.
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=gives_logits(model), label_smoothing=recipe.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=_has_accelerator(),
    )
    one_hot = _one_hot(dataset.classes)
    with _statistics_momentum(model, averaging_momentum(steps)):
        history = model.fit(
            dataset.train.batches(
                recipe.batch_size, seed=seed, augment=recipe.augment, repeat=True
            ).map(one_hot),
            epochs=recipe.epochs,
            steps_per_epoch=per_epoch,
            validation_data=dataset.valid.batches(256).map(one_hot),
            callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
            shuffle=False,
            verbose=0,
        ).history
    rows = tuple(
        {
            name.replace("val_", "valid_"): float(values[epoch])
            for name, values in history.items()
        }
        for epoch in range(len(history["loss"]))
    )
    check_finite(rows[-1]["loss"], len(rows))
    scores = evaluate_model(model, dataset.valid)
    return TrainingResult(
        valid_accuracy=scores.accuracy,
        valid_loss=scores.loss,
        train_loss=rows[-1]["loss"],
        train_seconds=time.perf_counter() - started,
        history=rows,
    )


def make_optimizer(
    model: keras.Model, recipe: Recipe, steps: int
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer for a training of so many steps."""
    import keras

    warmup = recipe.warmup_steps(steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.first_rate(steps) if warmup else recipe.learning_rate,
        decay_steps=max(1, steps - warmup),
        alpha=1.0 if recipe.schedule == "constant" else 0.0,
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    decay = recipe.weight_decay or None
    if recipe.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            schedule, momentum=0.9, nesterov=True, weight_decay=decay
        )
    elif recipe.optimizer == "rmsprop":
        optimizer = keras.optimizers.RMSprop(
            schedule, rho=0.9, momentum=0.9, epsilon=1e-3, weight_decay=decay
        )
    else:
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=decay)
    optimizer.exclude_from_weight_decay(
        var_list=[v for v in model.trainable_variables if not decays(v)]
    )
    return optimizer


def decays(variable: keras.Variable) -> bool:
    """Whether weight decay acts on a weight: kernels yes, biases and scales no."""
    return len(variable.shape) > 1


def evaluate_model(
    model: keras.Model,
    split: Split,
    *,
    segments: SegmentCache | None = None,
    batch_size: int = 256,
) -> Scores:
    """Measures a network on a split.

    Args:
      model: Takes float32 images in [0, 255], gives logits or probabilities.
      split: What to measure on.
      segments: As for `train_model`.
      batch_size: Images that are computed at a time.
    """
    import keras

    outputs = labels = None
    if segments is not None and keras.backend.backend() == "tensorflow":
        from layernas_tf.segment_training import predict_segments

        outputs, labels = predict_segments(model, split, segments, batch_size)
    if outputs is None:
        labels = np.concatenate(
            [label.numpy() for _, label in split.batches(batch_size)]
        )
        outputs = model.predict(
            split.batches(batch_size).map(lambda images, _: images), verbose=0
        )
    return score(outputs, labels, gives_logits(model))


def score(outputs: np.ndarray, labels: np.ndarray, logits: bool) -> Scores:
    """Accuracy and mean cross-entropy of logits or probabilities.

    Args:
      outputs: (N, classes).
      labels: (N,) integers.
      logits: Whether the outputs are logits.
    """
    outputs = np.asarray(outputs, np.float64)
    if logits:
        outputs = outputs - outputs.max(axis=1, keepdims=True)
        log = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    else:
        log = np.log(np.clip(outputs, 1e-7, 1))
    loss = -log[np.arange(len(labels)), labels].mean()
    return Scores(float((outputs.argmax(axis=1) == labels).mean()), float(loss))


def check_finite(loss: float, epoch: int) -> None:
    """Raises `FloatingPointError` when the loss is NaN or infinite."""
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in epoch {epoch}")


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes `.keras`, whole or not at all, without the optimizer's state."""
    path = pathlib.Path(path)
    partial = path.with_name(f".partial-{path.name}")
    model.save(partial)
    os.replace(partial, path)


def _compile_for_use(model: keras.Model) -> None:
    # For `evaluate` on integer labels, and without the slots of the optimizer, which
    # would make a saved file two or three times as large.
    import keras

    model.compile(
        keras.optimizers.SGD(),
        loss=keras.losses.SparseCategoricalCrossentropy(
            from_logits=gives_logits(model)
        ),
        metrics=["accuracy"],
    )


def _one_hot(classes: int) -> Any:
    import tensorflow as tf

    return lambda images, labels: (images, tf.one_hot(labels, classes))


def _has_accelerator() -> bool:
    # XLA pays on accelerators; on CPU it only makes compilation longer.
    import keras

    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@contextlib.contextmanager
def _statistics_momentum(model: keras.Model, momentum: float) -> Iterator[None]:
    import keras

    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = min(layer.momentum, momentum)
    try:
        yield
    finally:
        for layer, value in zip(layers, before):
            layer.momentum = value
