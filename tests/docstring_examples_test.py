"""The examples in docstrings compute what they say."""

from __future__ import annotations

import doctest
import importlib
import pathlib

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("layernas_tf", "search_spaces", "export")


def modules_with_examples() -> list[str]:
    """The names of all modules that hold a `>>>`."""
    return sorted(
        ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        for package in _PACKAGES
        for path in (_ROOT / package).rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    )


class DocstringExamplesTest(parameterized.TestCase):
    def test_the_types_of_a_space_have_examples(self):
        self.assertContainsSubset(
            {"layernas_tf.space.types", "layernas_tf.space.budget"},
            modules_with_examples(),
        )

    @parameterized.parameters(modules_with_examples())
    def test_examples_are_right(self, name):
        module = importlib.import_module(name)
        outcome = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
        self.assertGreater(outcome.attempted, 0)
        self.assertEqual(outcome.failed, 0)


if __name__ == "__main__":
    absltest.main()
