"""Fills a network with the weights of another network of the same space.

Layers correspond by name. The channel groups decide which weights a layer takes:

- Fewer channels: the most important ones of the group, the same in every layer that
  makes, passes on or reads them.
- More channels: all, and the most important ones twice. A layer that reads a doubled
  channel splits its weights between the two copies at random, so that the sum stays the
  same and training can make the copies different (Net2WiderNet: Chen et al., arXiv
  1511.05641, section 3.1).
- Smaller kernels are cut from the centre, larger ones are padded with zeros.
- A block that the other network does not have begins as the identity, by its residual:
  the scale of its last batch normalization is zero. Where a block was dropped, only its
  residual remains.
- An expanding convolution that the other network does not have begins as the identity.
- A new squeeze-and-excite begins as a constant, by which the next convolution is
  divided. For a dropped one, the next convolution is multiplied by its mean gate.

So equal options give equal outputs, and larger options give the same outputs up to
rounding. There are two exceptions, where the outputs are only similar: the activation
of a new expansion changes its input (in MobileNetV3's first block, a part of it is
below zero), or a residual begins or ends with another number of filters (the first
block of MobileNetV3-Large).
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import keras
import numpy as np

from layernas_tf.training.channel_groups import ChannelGroups, Site, channel_groups
from layernas_tf.training.importance import channel_importance
from layernas_tf.training.layer_weights import by_name, layer_weights

Weights = Mapping[str, Mapping[str, np.ndarray]]
"""Weights of each layer, by the name of the weight (`kernel`, `gamma`, ...)."""


@dataclasses.dataclass(frozen=True)
class Donor:
    """The network whose weights are transplanted into others.

    Attributes:
      groups: Its channel groups.
      weights: Its weights.
      order: For each group its channels, the most important first.
      gates: For the last convolution of each squeeze-and-excite, its mean gates
        (channels,).

    Example:
      donor = make_donor(trained, "l2")
      transplant(donor, space.build(smaller))
    """

    groups: ChannelGroups
    weights: Weights
    order: Mapping[int, np.ndarray]
    gates: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Transplant:
    """The outcome of a transplant into one network.

    Example:
      done = transplant(donor, model)
      recalibrate(model, images, done.identities)

    Attributes:
      share: Share of its weights that came from the donor, 0..1.
      fresh: Layers that the donor does not have.
      identities: Batch normalizations that do not change their input yet; pass them to
        `recalibrate.recalibrate`.
      channels: For each convolution of the donor, the donor's channels that it makes.
    """

    share: float
    fresh: tuple[str, ...]
    identities: tuple[str, ...]
    channels: Mapping[str, np.ndarray]


def make_donor(
    model: keras.Model,
    criterion: str,
    *,
    taylor: Mapping[str, np.ndarray] | None = None,
    gates: Mapping[str, np.ndarray] | None = None,
) -> Donor:
    """Sorts the channels of a trained network.

    Args:
      model: A functional model; only its arrays are kept.
      criterion: See `importance`.
      taylor: As in `importance.channel_importance`.
      gates: Mean gates as measured (`observe.observe`); by default those of an input
        of zeros.
    """
    groups, weights = channel_groups(model), layer_weights(model)
    importance = channel_importance(groups, weights, criterion, taylor)
    return Donor(
        groups,
        weights,
        {g: np.argsort(-values, kind="stable") for g, values in importance.items()},
        {name: gate.at_bias for name, gate in groups.gates.items()} | dict(gates or {}),
    )


def transplant(donor: Donor, model: keras.Model) -> Transplant:
    """Gives a fresh network the donor's weights.

    Args:
      donor: A trained network of the same space.
      model: The fresh network, whose weights are replaced. Weights that the donor does
        not have stay as they are, except for the rules at the top of this module.
    """
    return _Surgeon(donor, model).operate()


def _chosen(order: np.ndarray, size: int) -> np.ndarray:
    """The donor's channels for a group of this size; doubled ones come last."""
    if size <= len(order):
        return np.sort(order[:size])
    return np.concatenate([np.arange(len(order)), np.resize(order, size - len(order))])


class _Surgeon:
    """One operation: the correspondence of groups, then layer by layer."""

    def __init__(self, donor: Donor, model: keras.Model):
        self._donor = donor
        self._model = model
        self._groups = channel_groups(model)
        self._sources = self._corresponding()
        self._made: dict[str, np.ndarray] = {}
        self._chosen = {
            group: _chosen(donor.order[source], self._groups.sizes[group])
            for group, source in self._sources.items()
        }

    def _corresponding(self) -> dict[int, int]:
        """The donor's group of each group: that of the layer that makes it."""
        found: dict[int, int] = {}
        known = self._donor.groups.sites
        sites = [site for site in self._groups.sites.values() if site.name in known]
        for kinds in (("conv", "other"), ("depthwise",), ("norm",)):
            for site in sites:
                if site.kind in kinds:
                    found.setdefault(site.target, known[site.name].target)
        for site in sites:
            found.setdefault(site.source, known[site.name].source)
        return found

    def _channels(self, group: int, source: int) -> np.ndarray:
        """The donor's channels of a group, as a layer that is in both sees it."""
        if self._sources.get(group) == source:
            return self._chosen[group]
        return _chosen(self._donor.order[source], self._groups.sizes[group])

    def operate(self) -> Transplant:
        total = taken = 0
        fresh, identities = [], []
        for layer in self._model.layers:
            if not layer.weights:
                continue
            site = self._groups.sites[layer.name]
            size = sum(int(np.prod(v.shape)) for v in layer.weights)
            total += size
            before = self._donor.groups.sites.get(layer.name)
            if before is None:
                fresh.append(layer.name)
                if self._begin(layer, site):
                    identities.append(layer.name)
            elif self._take(layer, site, before):
                taken += size
            else:
                fresh.append(layer.name)
        share = taken / max(1, total)
        return Transplant(share, tuple(fresh), tuple(identities), self._made)

    def _take(self, layer: keras.layers.Layer, site: Site, before: Site) -> bool:
        weights = self._donor.weights[layer.name]
        changes_classes = (
            site.target == self._groups.output
            and self._groups.sizes[site.target]
            != self._donor.groups.sizes[before.target]
        )
        if site.kind != before.kind or changes_classes:
            return False
        if site.kind == "other":
            same = 0
            for name, variable in by_name(layer).items():
                weight = weights.get(name)
                if weight is not None and weight.shape == tuple(variable.shape):
                    variable.assign(weight)
                    same += 1
            return same == len(layer.weights)
        made = self._channels(site.target, before.target)
        if site.kind == "conv":
            self._made[layer.name] = made
        for variable in layer.weights:
            weight = weights[variable.name]
            if variable.name != "kernel":
                variable.assign(weight[made])
            elif site.kind == "depthwise":
                variable.assign(_centred(weight, variable.shape[:2])[:, :, made])
            else:
                variable.assign(self._kernel(weight, variable.shape, site, before))
        return True

    def _kernel(
        self, kernel: np.ndarray, shape: tuple[int, ...], site: Site, before: Site
    ) -> np.ndarray:
        if len(shape) == 4:
            kernel = _centred(kernel, shape[:2])
        for gate in before.gates:
            if gate not in site.gates:
                kernel = kernel * self._donor.gates[gate][:, None]
        read = self._channels(site.source, before.source)
        made = self._channels(site.target, before.target)
        kernel = kernel[..., read, :][..., made]
        kernel = kernel * _shares(read, len(made), site.name)
        for gate in site.gates:
            if gate not in before.gates:
                kernel = kernel / self._groups.gates[gate].at_zero
        return kernel.astype(np.float32)

    def _begin(self, layer: keras.layers.Layer, site: Site) -> bool:
        """Begins a layer that the donor does not have; True if as an identity."""
        if site.kind == "norm":
            if site.name in self._groups.residual_norms:
                layer.gamma.assign(np.zeros(layer.gamma.shape))
                return False
            conv = site.name.removesuffix("_bn") + "_conv"
            if self._is_identity(self._groups.sites.get(conv)):
                layer.gamma.assign(
                    np.full(layer.gamma.shape, np.sqrt(1 + layer.epsilon))
                )
                return True
        elif site.name in self._groups.gates:
            for variable in layer.weights:
                variable.assign(np.zeros(variable.shape))
        elif self._is_identity(site):
            layer.kernel.assign(self._identity(site)[None, None])
        return False

    def _is_identity(self, site: Site | None) -> bool:
        """Whether a new convolution leads from a donor's group to the same one."""
        return (
            site is not None
            and site.kind == "conv"
            and site.name not in self._donor.groups.sites
            and site.source in self._sources
            and self._sources[site.source] == self._sources.get(site.target)
        )

    def _identity(self, site: Site) -> np.ndarray:
        read, made = self._chosen[site.source], self._chosen[site.target]
        return (read[:, None] == made) * _shares(read, len(made), site.name)


def _shares(read: np.ndarray, made: int, name: str) -> np.ndarray:
    """(channels read, channels made): how doubled channels share a weight."""
    values, counts = np.unique(read, return_counts=True)
    if counts.max() == 1:
        return np.ones((len(read), 1), np.float32)
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    parts = generator.uniform(0.5, 1.5, (len(read), made))
    sums = np.zeros((int(values.max()) + 1, made))
    np.add.at(sums, read, parts)
    return parts / sums[read]


def _centred(kernel: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A kernel of another height and width, with the same centre."""
    for axis, wanted in enumerate(size):
        more = wanted - kernel.shape[axis]
        if more < 0:
            first = -more // 2
            kernel = np.take(kernel, range(first, first + wanted), axis)
        elif more:
            widths = [(0, 0)] * kernel.ndim
            widths[axis] = (more // 2, more - more // 2)
            kernel = np.pad(kernel, widths)
    return kernel
