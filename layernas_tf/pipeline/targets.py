"""The budgets of a search: one, or a family of them with a winner each."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.space.search_space import SearchSpace

_PARTS = re.compile(r"([^<=]*(?:<=|=))(.*)")
"""A budget's cost with its relation, and the amounts."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What one winner may cost.

    Example: `Target("winner_30pct", (Budget("madds", 0, 1e6),))`.

    Attributes:
      folder: The winner's folder in the workdir: `winner` for the largest budget.
      budgets: What it may cost; all hold together.
    """

    folder: str
    budgets: tuple[Budget, ...]

    def __str__(self) -> str:
        return " and ".join(map(str, self.budgets)) or "no budget"


def read_targets(texts: Sequence[str], space: SearchSpace) -> tuple[Target, ...]:
    """The targets of the budgets that a user writes, the largest first.

    `madds<=30%,45%,60%` is a family of three budgets; what the other texts say holds
    for each of them.

    Raises:
      UserError: As `parse_budget`, or several texts are families.
    """
    families = [text for text in texts if "," in text]
    if not families:
        return (Target("winner", tuple(parse_budget(text, space) for text in texts)),)
    if len(families) > 1:
        raise UserError(
            f"budgets {families[0]!r} and {families[1]!r}: expected several limits in "
            "one budget at most"
        )
    family = _family(families[0])
    found = []
    for text, amount in family:
        whole = [text if each is families[0] else each for each in texts]
        budgets = tuple(parse_budget(each, space) for each in whole)
        found.append((budgets[list(texts).index(families[0])], amount, budgets))
    found.sort(key=lambda entry: entry[0].high, reverse=True)
    if len({budget for budget, _, _ in found}) < len(found):
        raise UserError(f"budget {families[0]!r}: expected limits that differ")
    return tuple(
        Target("winner" if not number else f"winner_{_word(amount)}", budgets)
        for number, (_, amount, budgets) in enumerate(found)
    )


def join_family(texts: Sequence[str]) -> str:
    """One text for several budgets on the same cost.

    Example:
      >>> join_family(["madds<=30%", "madds<=60%"])
      'madds<=30%,60%'

    Raises:
      UserError: They are on different costs, or of different kinds.
    """
    parts = [_PARTS.fullmatch(text) for text in texts]
    begins = {part[1].replace(" ", "") for part in parts if part}
    if len(begins) != 1 or not all(parts):
        raise UserError(
            f"budgets {', '.join(map(repr, texts))}: expected several limits of one "
            "cost, such as 'madds<=30%' and 'madds<=60%'"
        )
    return begins.pop() + ",".join(part[2].strip() for part in parts if part)


def united(targets: Sequence[Target]) -> tuple[Budget, ...]:
    """The budgets that hold what any of the targets holds."""
    return tuple(
        Budget(
            together[0].metric,
            min(budget.low for budget in together),
            max(budget.high for budget in together),
        )
        for together in zip(*(target.budgets for target in targets))
    )


def _family(text: str) -> list[tuple[str, str]]:
    """Each budget of a family as a text, with its amount."""
    match = _PARTS.fullmatch(text)
    amounts = [part.strip() for part in match[2].split(",")] if match else []
    if match is None or not all(amounts):
        raise UserError(
            f"budget {text!r}: expected limits such as 'madds<=30%,45%,60%'"
        )
    return [(match[1] + amount, amount) for amount in amounts]


def _word(amount: str) -> str:
    """An amount as a part of a file name: `30pct`, `2.5M`, `2M-3M`."""
    word = amount.replace("%", "pct").replace("..", "-")
    return re.sub(r"[^A-Za-z0-9.+-]", "", word)
