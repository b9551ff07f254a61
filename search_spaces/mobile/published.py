"""The layers of published networks, as keras.applications names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

OPTIONAL = frozenset({"head_widest", "head_logits"})
"""The layers that networks without a top lack."""


def layer_names(
    depths: Sequence[int],
    prefix: Callable[[int, int, int], str],
    parts: dict[str, str],
    ends: dict[str, str],
) -> dict[str, str]:
    """The published names of layers, by ours.

    Args:
      depths: Blocks of each stage.
      prefix: Makes the prefix of a block's layers from stage, block (both from 0) and
        the number of the block in the network.
      parts: Published names of a block's layers by ours, without the prefixes.
      ends: Published names of the layers of stem and head, by ours, in full.
    """
    names, number = dict(ends), 0
    for stage, depth in enumerate(depths):
        for block in range(depth):
            begin = prefix(stage, block, number)
            for ours, theirs in parts.items():
                names[f"stage{stage + 1}_block{block + 1}_{ours}"] = begin + theirs
            number += 1
    return names
