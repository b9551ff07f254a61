"""A benchmark table that the user has named as `path/to/file.py:function`."""

from __future__ import annotations

from collections.abc import Collection

from layernas_tf.core.errors import UserError
from layernas_tf.core.user_code import check_arguments, parse_reference
from layernas_tf.tabular.table import Table

_MEMBERS = ("benchmark", "dataset", "space", "metric", "query", "best")


def load_user_table(
    reference: str,
    path: str | None = None,
    dataset: str | None = None,
    names: Collection[str] = (),
) -> Table:
    """Calls the user's function, which makes the table.

    Args:
      reference: The file, which is run (only name files that you trust), and the name
        of a function that returns a `Table`, such as `table_of_rows` makes.
      path: Path of a file of results; passed to the function as `path` if given.
      dataset: Name of a data set; passed to the function as `dataset` if given.
      names: Known names that could be given instead, for the error message.

    Raises:
      UserError: There is no such file or function, it does not take what is given,
        it failed, or it does not return a table.
    """
    code = parse_reference("benchmark", reference, names)
    given = {"path": path, "dataset": dataset}
    given = {name: value for name, value in given.items() if value}
    function = code.load_callable()
    check_arguments(code.subject, function, given)
    table = code.call(function, **given)
    missing = [name for name in _MEMBERS if not hasattr(table, name)]
    if missing:
        raise UserError(
            f"{code.subject}: {code.attribute}() must return a layernas_tf.tabular."
            f"table.Table, got {type(table).__name__} without {missing[0]!r}"
        )
    return table
