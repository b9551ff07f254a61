"""A flag of whole numbers with commas between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags


class _WholeNumbers(flags.ArgumentParser):
    syntactic_help = "whole numbers with commas between them"

    def parse(self, argument: Any) -> list[int]:
        if not isinstance(argument, str):
            return list(argument)
        texts = [text.strip() for text in argument.split(",")] if argument else []
        for text in texts:
            if not text.isdecimal() or not int(text):
                raise ValueError(f"expected {self.syntactic_help}, got {argument!r}")
        return [int(text) for text in texts]


def define_numbers(name: str, default: Sequence[int], text: str) -> None:
    """Defines a flag such as `--steps=18,60,120`; its value is a list of ints above 0.

    Args:
      name: Of the flag.
      default: Its value where the command line says nothing.
      text: What `--help` says of it.
    """
    serializer = flags.ListSerializer(",")
    flags.DEFINE(_WholeNumbers(), name, list(default), text, serializer=serializer)
