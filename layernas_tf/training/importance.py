"""Which channels of a trained network matter most, by published criteria.

| criterion | a channel's importance | source |
|---|---|---|
| `leading` | its place in the layer | none; the baseline |
| `l1` | L1 norm of the filters that make it | Li et al., arXiv 1608.08710 |
| `l2` | L2 norm of all weights that touch it | Fang et al., arXiv 2301.12900 |
| `bn_scale` | scale of its batch normalizations | Liu et al., arXiv 1708.06519 |
| `taylor` | squared first-order change of the loss without it | Molchanov, 1906.10771 |

The weights of each layer are divided by their mean first, so that all layers of a group
have the same influence.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.training.channel_groups import ChannelGroups, Site

CRITERIA = ("leading", "l1", "l2", "bn_scale", "taylor")


def channel_importance(
    groups: ChannelGroups,
    weights: Mapping[str, Mapping[str, np.ndarray]],
    criterion: str,
    taylor: Mapping[str, np.ndarray] | None = None,
) -> dict[int, np.ndarray]:
    """The importance of every channel.

    Args:
      groups: Channel groups of the network.
      weights: Weights of each layer, by the weight's name.
      criterion: One of `CRITERIA`.
      taylor: For each batch normalization, the squared change of the loss by channel
        (`observe.observe`); needed by the criterion of this name.

    Returns:
      For each group, an array (channels,); higher values are more important.

    Raises:
      UserError: There is no such criterion, or `taylor` is missing for it.
    """
    if criterion not in CRITERIA:
        raise UserError(
            f"channel importance {criterion!r}: expected one of {', '.join(CRITERIA)}"
        )
    if criterion == "taylor" and taylor is None:
        raise UserError("channel importance 'taylor': expected images to observe")
    totals = {group: np.zeros(size, np.float64) for group, size in groups.sizes.items()}
    if criterion == "leading":
        return {group: -np.arange(len(total)) for group, total in totals.items()}
    for site in groups.sites.values():
        for group, values in _of_site(
            site, weights.get(site.name, {}), criterion, taylor or {}
        ):
            if len(values) == len(totals[group]) and values.mean() > 0:
                totals[group] += values / values.mean()
    return totals


def _of_site(
    site: Site,
    weights: Mapping[str, np.ndarray],
    criterion: str,
    taylor: Mapping[str, np.ndarray],
) -> list[tuple[int, np.ndarray]]:
    kernel = weights.get("kernel")
    if site.kind == "norm":
        if criterion == "taylor" and site.name in taylor:
            return [(site.target, taylor[site.name])]
        if criterion == "bn_scale" and "gamma" in weights:
            return [(site.target, np.abs(weights["gamma"]))]
        return []
    if kernel is None or criterion not in ("l1", "l2"):
        return []
    if site.kind == "depthwise":
        if criterion == "l1":
            return []
        return [(site.target, np.sqrt((kernel**2).sum(axis=(0, 1, 3))))]
    if site.kind != "conv":
        return []
    rows = kernel.reshape(-1, *kernel.shape[-2:])
    if criterion == "l1":
        return [(site.target, np.abs(rows).sum(axis=(0, 1)))]
    return [
        (site.target, np.sqrt((rows**2).sum(axis=(0, 1)))),
        (site.source, np.sqrt((rows**2).sum(axis=(0, 2)))),
    ]
