"""The building blocks of networks: blocks, heads and the Keras builder."""

from search_spaces.blocks.blocks import Block, ConvBlock, Identity, Rescale
from search_spaces.blocks.bottleneck import InvertedBottleneck
from search_spaces.blocks.builder import BlockLayer, block_space, fixed
from search_spaces.blocks.heads import ConvHead, Stem

__all__ = [
    "Block",
    "BlockLayer",
    "ConvBlock",
    "ConvHead",
    "Identity",
    "InvertedBottleneck",
    "Rescale",
    "Stem",
    "block_space",
    "fixed",
]
