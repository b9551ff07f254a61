"""Opens a study, or makes it; refuses the study of another search."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.study.open_storage import OBJECTIVE, open_storage
from layernas_tf.study.storage import Storage
from layernas_tf.study.study import Study


def open_study(
    url: str,
    name: str,
    space: SearchSpace,
    budgets: Sequence[Budget],
    make_algorithm: Callable[[], Algorithm],
    *,
    driver: str = "",
    settings: Mapping[str, Any] | None = None,
    objective: str = OBJECTIVE,
    fingerprint: Mapping[str, str] | None = None,
    accept_changes: bool = False,
) -> Study:
    """Loads a study and rebuilds its algorithm, or makes the study.

    Args:
      url: URL of the storage; `sqlite_url` makes that of a file.
      name: Name of the study in the storage.
      space: The search space; a study of another space is refused.
      budgets: The limits on the costs.
      make_algorithm: Makes the algorithm in its initial state.
      driver: If other drivers may work on the study at the same time, a name for this
        driver, which stays the same when it is started again.
      settings: By flag name, the settings that all drivers must agree on.
      objective: The name of the rewards, shown by dashboards.
      fingerprint: Digests of what the rewards depend on, by name. A study that was made
        before there were such digests adopts the present ones.
      accept_changes: Whether to go on where a digest differs: the trials so far stay
        on record, but neither the algorithm nor the finals believe them.

    Raises:
      UserError: The storage cannot be reached, read or written, or is of another
        space or other settings.
    """
    storage = open_storage(url, name, shared=bool(driver), objective=objective)
    given = json.loads(json.dumps(settings or {}))
    about = {"space": space.name, "budgets": list(map(str, budgets)), **given}
    noted = storage.settle(about)
    different = [
        f"`{key}` is {noted[key]!r} there, {value!r} here"
        for key, value in given.items()
        if noted[key] != value
    ]
    if different:
        raise UserError(
            f"study {name!r} is another search: {'; '.join(different)}. Give the same "
            "flags to join it, or another `study`"
        )
    believed_from, renewed = _believed_from(
        storage, name, dict(fingerprint or {}), accept_changes
    )
    study = Study(storage, space, budgets, make_algorithm, driver, believed_from)
    study.renewed = renewed
    return study


def _believed_from(
    storage: Storage, name: str, present: dict[str, str], accept_changes: bool
) -> tuple[int, bool]:
    """The first trial of the present search, and whether it begins only now."""
    noted = storage.settle({"fingerprint": present, "believed_from": 0})
    changed = [
        part
        for part, digest in present.items()
        if noted["fingerprint"].get(part, digest) != digest
    ]
    if not changed:
        return noted["believed_from"], False
    if not accept_changes:
        raise UserError(
            f"study {name!r}: {' and '.join(changed)} changed since its trials were "
            "evaluated, so their rewards are of another search. Undo the change to "
            "resume, give `accept_changes` to go on without believing them, or start "
            "again in another `workdir`"
        )
    count = storage.trial_count()
    storage.revise({"fingerprint": present, "believed_from": count})
    return count, True
