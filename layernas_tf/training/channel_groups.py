"""Which channels of a network belong together.

A channel is made by a convolution, passes through depthwise convolutions, batch
normalizations and activations, meets other channels in residual sums and in the gates
of squeeze-and-excite, and is read by further convolutions. Whoever removes, sorts or
doubles it must do so in all of these places. Such places share a *group*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Dense)
_SUMS = (keras.layers.Add, keras.layers.Subtract, keras.layers.Average)
_PASSING = (
    keras.layers.DepthwiseConv2D,
    keras.layers.BatchNormalization,
    keras.layers.ReLU,
    keras.layers.Activation,
    keras.layers.Softmax,
    keras.layers.Dropout,
    keras.layers.Rescaling,
    keras.layers.ZeroPadding2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.MaxPooling2D,
)


@dataclasses.dataclass(frozen=True)
class Site:
    """A layer with weights.

    Example: `Site("stem_conv", "conv", source=0, target=1)` reads the channels of group
    0 and makes those of group 1.

    Attributes:
      name: The layer's name.
      kind: `conv` (also a dense layer), `depthwise`, `norm`, or `other`.
      source: Group of the channels that it reads.
      target: Group of the channels that it makes; for `depthwise` and `norm`, this is
        `source`.
      gates: Convolutions whose gates its input was multiplied by since the last
        convolution made it.
    """

    name: str
    kind: str
    source: int
    target: int
    gates: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Gate:
    """The end of a squeeze-and-excite: the gates that multiply the channels.

    Example: `Gate("block1_se_expand", 0.5, np.full(16, 0.5))` is a sigmoid without a
    bias, for 16 channels.

    Attributes:
      conv: The last convolution before the multiplication.
      at_zero: The gate where that convolution gives 0.
      at_bias: (channels,) The gate where its input is 0.
    """

    conv: str
    at_zero: float
    at_bias: np.ndarray


@dataclasses.dataclass(frozen=True)
class ChannelGroups:
    """The groups of one network.

    Attributes:
      sites: Layers with weights by name, in the order of the computation.
      sizes: Number of channels of each group.
      gates: Gates by the name of their convolution.
      residual_norms: Batch normalizations that end a branch of a residual sum.
      output: Group of the network's outputs.

    Example:
      groups = channel_groups(space.build(space.default))
      groups.sizes[groups.sites["stage1_block1_project_conv"].target]
    """

    sites: Mapping[str, Site]
    sizes: Mapping[int, int]
    gates: Mapping[str, Gate]
    residual_norms: frozenset[str]
    output: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """What is known about a tensor: its group and the layers it has passed through."""

    group: int
    gates: tuple[str, ...] = ()
    conv: keras.layers.Layer | None = None
    activations: tuple[keras.layers.Layer, ...] = ()
    norm: str | None = None


class _Groups:
    """Groups that can be joined when they turn out to be the same (union-find)."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._sizes: list[int] = []

    def new(self, size: int) -> int:
        self._parents.append(len(self._parents))
        self._sizes.append(size)
        return len(self._parents) - 1

    def find(self, group: int) -> int:
        while self._parents[group] != group:
            group = self._parents[group]
        return group

    def join(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        if self._sizes[one] == self._sizes[other]:
            self._parents[max(one, other)] = min(one, other)

    def sizes(self) -> dict[int, int]:
        return {
            group: size
            for group, size in enumerate(self._sizes)
            if self._parents[group] == group
        }


def channel_groups(model: keras.Model) -> ChannelGroups:
    """Finds the groups of a functional network.

    A layer of a kind that mobile networks do not have begins a new group, and its
    channels keep their order.
    """
    groups = _Groups()
    sites: dict[str, Site] = {}
    gates: dict[str, Gate] = {}
    residual: set[str] = set()
    tensors: dict[int, _Tensor] = {}
    for layer in model.layers:
        inputs = _inputs(layer)
        known = [tensors[id(tensor)] for tensor in inputs if id(tensor) in tensors]
        channels = int(layer.output.shape[-1] or 0)
        if isinstance(layer, keras.layers.InputLayer) or len(known) != len(inputs):
            made = _Tensor(groups.new(channels))
        else:
            made = _through(layer, known, channels, groups, gates, residual)
        if layer.weights:
            source = known[0] if known else made
            sites[layer.name] = Site(
                layer.name, _kind(layer), source.group, made.group, source.gates
            )
        tensors[id(layer.output)] = made
    return ChannelGroups(
        sites={
            name: dataclasses.replace(
                site, source=groups.find(site.source), target=groups.find(site.target)
            )
            for name, site in sites.items()
        },
        sizes=groups.sizes(),
        gates=gates,
        residual_norms=frozenset(residual),
        output=groups.find(tensors[id(model.outputs[0])].group),
    )


def _inputs(layer: keras.layers.Layer) -> tuple[Any, ...]:
    if isinstance(layer, keras.layers.InputLayer):
        return ()
    inputs = layer.input
    return tuple(inputs) if isinstance(inputs, (list, tuple)) else (inputs,)


def _kind(layer: keras.layers.Layer) -> str:
    if _one_multiplier(layer):
        return "depthwise"
    if isinstance(layer, _CONVOLUTIONS) and getattr(layer, "groups", 1) == 1:
        return "conv"
    return "norm" if isinstance(layer, keras.layers.BatchNormalization) else "other"


def _one_multiplier(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.DepthwiseConv2D) and layer.depth_multiplier == 1
    )


def _through(
    layer: keras.layers.Layer,
    inputs: list[_Tensor],
    channels: int,
    groups: _Groups,
    gates: dict[str, Gate],
    residual: set[str],
) -> _Tensor:
    first = inputs[0]
    if isinstance(layer, keras.layers.Multiply) and len(inputs) == 2:
        groups.join(first.group, inputs[1].group)
        conv = inputs[1].conv
        if conv is None or not conv.use_bias:
            return _Tensor(first.group)
        gates[conv.name] = _gate(conv, inputs[1].activations)
        return _Tensor(first.group, (*first.gates, conv.name))
    if isinstance(layer, (*_SUMS, keras.layers.Multiply)):
        for other in inputs[1:]:
            groups.join(first.group, other.group)
        if isinstance(layer, keras.layers.Add):
            residual.update(tensor.norm for tensor in inputs if tensor.norm)
        return _Tensor(first.group)
    if isinstance(layer, keras.layers.DepthwiseConv2D) and not _one_multiplier(layer):
        return _Tensor(groups.new(channels))
    if isinstance(layer, _CONVOLUTIONS):
        return _Tensor(groups.new(channels), conv=layer)
    same_size = groups.sizes()[groups.find(first.group)] == channels
    if len(inputs) == 1 and same_size and isinstance(layer, _PASSING):
        if isinstance(layer, keras.layers.BatchNormalization):
            return _Tensor(first.group, norm=layer.name)
        if isinstance(layer, keras.layers.Dropout):
            return first
        applied = (*first.activations, layer)
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            return _Tensor(first.group, first.gates)
        linear = isinstance(
            layer, (keras.layers.GlobalAveragePooling2D, keras.layers.AveragePooling2D)
        )
        return _Tensor(first.group, first.gates if linear else (), first.conv, applied)
    return _Tensor(groups.new(channels))


def _gate(
    conv: keras.layers.Layer, activations: tuple[keras.layers.Layer, ...]
) -> Gate:
    bias = np.asarray(conv.bias.numpy(), np.float32)

    def gate(values: np.ndarray) -> np.ndarray:
        x = keras.ops.convert_to_tensor(values.reshape(1, 1, 1, -1))
        for layer in activations:
            x = layer(x)
        return keras.ops.convert_to_numpy(x).reshape(-1)

    at_zero = float(gate(np.zeros_like(bias))[0])
    return Gate(conv.name, at_zero, gate(bias))
