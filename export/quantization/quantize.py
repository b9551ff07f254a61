"""Quantization-aware training: a trained Keras 3 network to an int8 .tflite file.

tensorflow-model-optimization works on tf_keras, so the space's builder makes the
network again with tf_keras. The weights are copied, and the outputs of both networks
are compared before the training.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from export.conversion.saved_model import convert_saved_model, write_saved_model
from export.tflite.quiet import captured_stderr
from layernas_tf.core.errors import UserError
from layernas_tf.core.extras import needs_extra
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import default_recipe

if TYPE_CHECKING:
    import keras

    from layernas_tf.datasets.split import Dataset

TOLERANCE = 1e-4
"""Largest difference of an output between the Keras 3 and the tf_keras network."""

_COMPARED_IMAGES = 16
_LEAST_EPOCHS, _LEAST_STEPS = 3, 200


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How a trained network is fine-tuned with rounding.

    Example: `Tuning(epochs=5, learning_rate=1e-4)`.

    Attributes:
      epochs: Number of epochs; None for 3, or as many as make 200 steps.
      learning_rate: Adam's learning rate at the start; a cosine takes it to zero.
      batch_size: Images per step; None for the default of a full training.
      seed: Seed of the order of the images and of their augmentation.
    """

    epochs: int | None = None
    learning_rate: float = 2e-4
    batch_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(
                    f"quantization-aware training: {name} must be 1 or more, got "
                    f"{value}"
                )
        if not 0 < self.learning_rate < math.inf:
            raise UserError(
                "quantization-aware training: learning_rate must be greater than 0, "
                f"got {self.learning_rate}"
            )


@dataclasses.dataclass(frozen=True)
class Qat:
    """What quantization-aware training needs besides the model and the data.

    Example: `Qat(space, architecture, Tuning(epochs=5))`.

    Attributes:
      space: The model's search space.
      architecture: The model's architecture in that space.
      tuning: How the model is fine-tuned.
    """

    space: SearchSpace
    architecture: Architecture
    tuning: Tuning = Tuning()


def qat_int8(model: keras.Model, qat: Qat, dataset: Dataset, input_type: str) -> bytes:
    """Fine-tunes a network with rounding and converts it to an int8 .tflite file.

    Args:
      model: The trained Keras 3 network, which is not changed.
      qat: The network's space and architecture, and how it is fine-tuned.
      dataset: The network trains on `train`, the best epoch is chosen on `valid`, and
        `test` is not used.
      input_type: Type of input and output: one of `formats.INPUT_TYPES`.

    Raises:
      UserError: If the network cannot be made with tf_keras or cannot be rounded, its
        outputs differ, the training diverges, or the converter fails.
    """
    check_packages()
    with captured_stderr():
        # Not at the top: it imports all of tensorflow-model-optimization.
        from export.quantization.quantized_network import quantized_network

        images, _ = next(iter(dataset.train.batches(_COMPARED_IMAGES)))
        copy = tf_keras_network(model, qat.space, qat.architecture, images.numpy())
        network = quantized_network(copy)
        train_quantized(network, dataset, qat.tuning)
        return convert_quantized(network, input_type)


def check_packages() -> None:
    """Checks that the packages of quantization-aware training are installed.

    Raises:
      UserError: One is missing.
    """
    with captured_stderr(), needs_extra("qat", "format 'qat_int8'"):
        import tensorflow_model_optimization  # noqa: F401
        import tf_keras  # noqa: F401


def tf_keras_network(
    model: keras.Model,
    space: SearchSpace,
    architecture: Architecture,
    images: np.ndarray,
) -> Any:
    """The same network made with tf_keras, with the same weights.

    Args:
      model: The trained Keras 3 network.
      space: The network's search space.
      architecture: The network's architecture in that space.
      images: Images to compare both on: pixels in [0, 255], (n, h, w, c).

    Raises:
      UserError: If the space cannot build with tf_keras, the weights do not fit, or
        the outputs differ by more than `TOLERANCE`.
    """
    import tf_keras

    if space.builder is None:
        raise UserError(f"space {space.name!r} has no builder of networks")
    parameters = inspect.signature(space.builder).parameters
    if "keras_module" not in parameters:
        raise UserError(
            f"space {space.name!r}: quantization-aware training needs a builder that "
            "takes keras_module=tf_keras, as search_spaces.blocks.builder.block_space "
            "makes it"
        )
    copy = space.builder(architecture, keras_module=tf_keras)
    _carry_over(model, copy, space)
    images = np.asarray(images, np.float32)
    difference = float(
        np.max(np.abs(model.predict_on_batch(images) - copy.predict_on_batch(images)))
    )
    # Not "greater than", which is false for NaN.
    if not difference <= TOLERANCE:
        raise UserError(
            f"the tf_keras network of space {space.name!r} does not compute what the "
            f"model computes: expected outputs within {TOLERANCE:g}, got a difference "
            f"of {difference:.3g}"
        )
    return copy


def _carry_over(model: keras.Model, copy: Any, space: SearchSpace) -> None:
    sources = {layer.name: layer for layer in model.layers if layer.get_weights()}
    targets = {layer.name: layer for layer in copy.layers if layer.get_weights()}
    if set(sources) != set(targets) and len(sources) == len(targets):
        # Layers without names of their own: Keras numbers them again in each process.
        targets = dict(zip(sources, targets.values()))
    shapes = [
        {name: [weight.shape for weight in layer.get_weights()] for name, layer in one}
        for one in (sources.items(), targets.items())
    ]
    if shapes[0] != shapes[1]:
        wrong = next(
            name
            for name in {**shapes[1], **shapes[0]}
            if shapes[0].get(name) != shapes[1].get(name)
        )
        raise UserError(
            f"the model is not the architecture's network of space {space.name!r}: "
            f"layer {wrong!r} should have weights {shapes[1].get(wrong)}, got "
            f"{shapes[0].get(wrong)}"
        )
    for name, layer in targets.items():
        layer.set_weights(sources[name].get_weights())


def train_quantized(network: Any, dataset: Dataset, tuning: Tuning) -> list[float]:
    """Trains a network of `quantized_network` on the training images.

    The network ends with the weights of the epoch that was best on validation images.

    Returns:
      Validation accuracy after each epoch.

    Raises:
      UserError: If the loss stops being a number.
    """
    import tensorflow as tf
    import tf_keras

    recipe = default_recipe(dataset, proxy=False)
    batch_size = tuning.batch_size or recipe.batch_size
    steps = max(1, dataset.train.size // batch_size)
    epochs = tuning.epochs or max(_LEAST_EPOCHS, math.ceil(_LEAST_STEPS / steps))
    tf.random.set_seed(tuning.seed)
    network.compile(
        tf_keras.optimizers.Adam(
            tf_keras.optimizers.schedules.CosineDecay(
                tuning.learning_rate, steps * epochs
            )
        ),
        loss=_loss(network),
        metrics=["accuracy"],
    )
    train = dataset.train.batches(
        batch_size, seed=tuning.seed, augment=recipe.augment, repeat=True
    )
    images = iter(train)
    best: tuple[tuple[float, float], list[np.ndarray]] | None = None
    accuracies: list[float] = []
    for epoch in range(epochs):
        history = network.fit(
            images, steps_per_epoch=steps, epochs=1, verbose=0
        ).history
        if not math.isfinite(history["loss"][0]):
            raise UserError(
                "quantization-aware training: the loss became "
                f"{history['loss'][0]} in epoch {epoch + 1}; lower the learning rate "
                f"({tuning.learning_rate:g})"
            )
        loss, accuracy = network.evaluate(dataset.valid.batches(256), verbose=0)
        accuracies.append(accuracy)
        if best is None or (accuracy, -loss) >= best[0]:
            best = (accuracy, -loss), network.get_weights()
    assert best is not None  # there is at least one epoch
    network.set_weights(best[1])
    return accuracies


def _loss(network: Any) -> Any:
    import tf_keras

    last = network.layers[-1]
    logits = getattr(last, "activation", None) is None or (
        last.activation.__name__ != "softmax_v2"
    )
    return tf_keras.losses.SparseCategoricalCrossentropy(from_logits=logits)


def convert_quantized(network: Any, input_type: str) -> bytes:
    """The int8 .tflite file of a trained network of `quantized_network`.

    Args:
      network: The network, whose ranges have been set by training.
      input_type: Type of input and output: one of `formats.INPUT_TYPES`.

    Raises:
      UserError: If the converter cannot convert it.
    """
    import tensorflow as tf

    def configure(converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.dtypes.as_dtype(input_type)
        converter.inference_output_type = tf.dtypes.as_dtype(input_type)

    shape = tuple(network.inputs[0].shape[1:])
    with tempfile.TemporaryDirectory(prefix="saved_model_") as path:
        write_saved_model(
            lambda image: network(image, training=False), network.variables, shape, path
        )
        return convert_saved_model(path, configure, "qat_int8")
