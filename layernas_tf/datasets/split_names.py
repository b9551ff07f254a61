"""The usual names of the splits of a data set."""

from __future__ import annotations

import re

_NAMES = {
    "train": "train training trn tr learn",
    "valid": "val valid validate validation validating dev devel development",
    "test": "test testing tst holdout",
    "eval": "eval evaluate evaluation",
}
_SPLITS = {word: split for split, words in _NAMES.items() for word in words.split()}
_AROUND = re.compile(
    r"^(?:images?|pictures?|data|set|split)[ _.-]+"
    r"|[ _.-]?(?:images?|pictures?|data|dataset|set|split|\d+)$"
)


def split_of(name: str) -> str | None:
    """The split that the name of a folder or an array stands for, in any letter case.

    Some people call the validation images `eval`, others the test images.

    Example: `split_of("Validation")` is `"valid"`, `split_of("train_set")` is
    `"train"`, `split_of("cat")` is None.

    Returns:
      `train`, `valid`, `test`, `eval` or None.
    """
    word = name.casefold().strip()
    while True:
        if word in _SPLITS:
            return _SPLITS[word]
        shorter = _AROUND.sub("", word)
        if shorter == word:
            return None
        word = shorter
