"""NATS-Bench size: five cells of a ResNet-like network, eight widths each.

Dong, Liu, Musial, Gabrys, "NATS-Bench: Benchmarking NAS Algorithms for Architecture
Topology and Size", TPAMI 2021, arXiv 2009.00437, section 3.2. The network is the one
that the benchmark trained (`infer.shape.tiny` of the authors' AutoDL-Projects): a 3x3
stem, then cell, residual block of stride 2, cell, residual block of stride 2, cell,
and a linear classifier, each of the five with its own width. Its cell has three nodes:

    n1 = conv(x);  n2 = conv(x) + conv(n1);  n3 = skip(x) + conv(n1) + conv(n2)

where conv is ReLU, 3x3 convolution, batch normalization, and skip is the identity or,
where the width changes, a 1x1 convolution with batch normalization.

Costs are counted as in the benchmark's records: `params` are the trainable weights,
`madds` the multiply-adds of convolutions and the classifier plus one addition per class
for the classifier's bias. Batch normalization, ReLU, sums and pooling are free. Both
equal the records' `params` and `flops` for all 32,768 architectures of each dataset. A
profiler of the Keras model that does not count the bias finds `classes` fewer.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from layernas_tf.core.resolution import resolution_name
from layernas_tf.costs import operators as ops
from layernas_tf.costs.operators import Operator
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Option, State
from search_spaces.tabular.counting import benchmark_image, padded_conv, published_costs

WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)
"""The numbers of channels that every layer offers."""

_STRIDES = (1, 2, 1, 2, 1)
_BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}  # PyTorch's defaults


@functools.cache
def nats_bench_size(
    resolution: int | str = 32, classes: int = 10, channels: int = 3
) -> SearchSpace:
    """The space; its default is the widest network.

    Args:
      resolution: Rows and columns of the images, divisible by 4; the benchmark has 32,
        and 16 for ImageNet16-120.
      classes: Number of classes; the benchmark has 10, 100 and, for ImageNet16-120,
        120.
      channels: Channels of the images; the benchmark has 3.

    Raises:
      UserError: An argument is out of range.
    """
    image = benchmark_image("nats_bench_size", resolution, 4, classes, channels)
    options = tuple(Option.of(filters=width) for width in WIDTHS)
    layers = tuple(
        Layer(
            f"layer{index}",
            options,
            len(options) - 1,
            functools.partial(_transition, index, ops.elements(image), classes),
        )
        for index in range(len(_STRIDES))
    )
    return SearchSpace(
        name="nats_bench_size",
        start=image,
        layers=layers,
        builder=functools.partial(_build, image, classes),
        arguments={
            "resolution": resolution_name(image.height, image.width),
            "classes": classes,
            "channels": channels,
        },
    )


def _transition(
    index: int, image: int, classes: int, state: State, option: Option
) -> tuple[State, Mapping[str, float]]:
    """Layer `index`, with the stem before the first and the head after the last."""
    filters = option["filters"]
    operators: list[Operator] = []
    if index == 0:
        stem = ops.conv(state, filters, 3)
        operators += [ops.rescale(state), stem, ops.batch_norm(stem.target)]
        state = stem.target
    block = _cell_operators if _STRIDES[index] == 1 else _residual_operators
    operators += block(state, filters)
    state = operators[-1].target
    if index < len(_STRIDES) - 1:
        return state, published_costs(operators, image)
    pooled, logits = State(filters, 1, 1), State(classes, 1, 1)
    operators += [
        _free_batch_norm(state),
        ops.activation(state, "relu"),
        ops.global_pool(state),
        ops.dense(pooled, classes),
        ops.softmax(logits),
    ]
    return logits, published_costs(operators, image, biases=classes)


def _cell_operators(x: State, filters: int) -> list[Operator]:
    """The operators of `_cell`, in the order in which TFLite runs them.

    The ReLUs of n1 and n2 fuse into the operators that compute n1 and n2. `held` counts
    what is alive besides an operator's own tensors.
    """
    n = State(filters, x.height, x.width)
    relu = ops.elements(x)
    skip = partial_sum = to_n2 = ops.elements(n)
    norm = ops.batch_norm(n)
    projected = [ops.conv(x, filters, 1), norm] if x.channels != filters else []
    return [
        *projected,
        _free_relu(x, held=skip if projected else 0),
        *(ops.conv(x, filters, 3, held=skip), norm),  # n1
        *(ops.conv(n, filters, 3, held=skip + relu), norm),  # n1 to n2
        *(ops.conv(n, filters, 3, held=skip + relu + to_n2), norm),  # n1 to n3
        ops.add(n, held=relu + to_n2),  # that and the skip
        *(ops.conv(x, filters, 3, held=partial_sum + to_n2), norm),  # x to n2
        ops.add(n, held=partial_sum),  # n2
        *(ops.conv(n, filters, 3, held=partial_sum), norm),  # n2 to n3
        ops.add(n),  # n3
    ]


def _residual_operators(x: State, filters: int) -> list[Operator]:
    """The operators of `_residual_block`, in the order in which TFLite runs them."""
    pool = ops.average_pool(x, 2, 2)
    skip = ops.conv(pool.target, filters, 1, held=ops.elements(x))
    held = ops.elements(skip.target)
    norm = ops.batch_norm(skip.target)
    return [
        *(pool, skip, _free_relu(x, held=held)),
        *(*padded_conv(x, filters, 3, 2, held=held), norm),
        *(ops.conv(skip.target, filters, 3, held=held), norm),
        ops.add(skip.target),
    ]


def _free_relu(state: State, held: int) -> Operator:
    """A ReLU that cannot fuse, as its input is needed elsewhere without it."""
    return Operator("relu", state, state, memory=2 * ops.elements(state) + held)


def _free_batch_norm(state: State) -> Operator:
    """A batch normalization after a sum, which TFLite runs as MUL and ADD."""
    return dataclasses.replace(
        ops.batch_norm(state),
        weights=2 * state.channels,
        count=2,
        memory=2 * ops.elements(state),
    )


def _build(
    image: State,
    classes: int,
    architecture: Architecture,
    keras_module: ModuleType | None = None,
) -> Any:
    if keras_module is None:
        import keras

        keras_module = keras
    filters = [WIDTHS[index] for index in architecture]
    return network(keras_module, filters, image, classes)


def network(keras: Any, filters: Sequence[int], image: State, classes: int) -> Any:
    """The Keras model: float32 images in [0, 255] to probabilities.

    Args:
      keras: The module, or one with the same interface, such as `tf_keras`.
      filters: The five widths.
      image: Channels, height and width of the images; height and width are divisible
        by 4.
      classes: Number of classes.
    """
    layers = keras.layers
    images = layers.Input((image.height, image.width, image.channels), name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(images)
    x = _convolve(layers, x, filters[0], 3, 1, "stem")
    for index, (width, stride) in enumerate(zip(filters, _STRIDES)):
        block = _cell if stride == 1 else _residual_block
        x = block(layers, x, width, f"layer{index}")
    x = layers.BatchNormalization(**_BATCH_NORM, name="head_bn")(x)
    x = layers.ReLU(name="head_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(classes, name="logits")(x)
    # In float32 whatever the precision policy: a softmax loses small probabilities.
    x = layers.Activation("softmax", dtype="float32", name="predictions")(x)
    return keras.Model(images, x, name="nats_bench_size")


def _cell(layers: Any, x: Any, filters: int, name: str) -> Any:
    def relu(x: Any, node: int) -> Any:
        return layers.ReLU(name=f"{name}_relu{node}")(x)

    def conv(x: Any, edge: str) -> Any:
        return _convolve(layers, x, filters, 3, 1, f"{name}_{edge}")

    x0 = relu(x, 0)
    n1 = relu(conv(x0, "0to1"), 1)
    n2 = layers.Add(name=f"{name}_node2")([conv(x0, "0to2"), conv(n1, "1to2")])
    ends = [conv(n1, "1to3"), conv(relu(n2, 2), "2to3")]
    skip = x
    if x.shape[-1] != filters:
        skip = _convolve(layers, x, filters, 1, 1, f"{name}_0to3")
    return layers.Add(name=f"{name}_node3")([skip, *ends])


def _residual_block(layers: Any, x: Any, filters: int, name: str) -> Any:
    y = layers.ReLU(name=f"{name}_relu0")(x)
    y = _convolve(layers, y, filters, 3, 2, f"{name}_a")
    y = layers.ReLU(name=f"{name}_relu1")(y)
    y = _convolve(layers, y, filters, 3, 1, f"{name}_b")
    skip = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
    skip = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_skip")(skip)
    return layers.Add(name=f"{name}_add")([skip, y])


def _convolve(
    layers: Any, x: Any, filters: int, kernel: int, stride: int, name: str
) -> Any:
    if stride > 1:
        # The published network pads both sides alike; "same" would pad one.
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(**_BATCH_NORM, name=f"{name}_bn")(x)
