"""Spaces by name, and from a user's file."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from search_spaces import registry

OWN = '''
from __future__ import annotations

import dataclasses

from layernas_tf.space import Option, State
from search_spaces.blocks import (
    BlockLayer,
    ConvBlock,
    ConvHead,
    InvertedBottleneck,
    Rescale,
    Stem,
    block_space,
    fixed,
)


@dataclasses.dataclass
class Mine:  # dataclasses look their module up
    depth: int = 2


def tiny(resolution=32, classes=10, channels=3, depth=2):
    """A few inverted bottlenecks."""
    options = tuple(Option.of(kernel=k, expansion=e) for k in (3, 5) for e in (2, 4))

    def block(option):
        return InvertedBottleneck(16, option["kernel"], option["expansion"])

    return block_space(
        "tiny",
        State(channels, resolution, resolution),
        [
            fixed("stem", Stem(Rescale(), ConvBlock(16, 3, 2))),
            *(BlockLayer(f"block{i}", options, 0, block) for i in range(depth)),
            fixed("head", ConvHead(ConvBlock(64), classes)),
        ],
        {},
    )


def nothing():
    return None


def raises():
    return {}["missing"]


def bad_space():
    return block_space("bad", State(1, 8, 8), [], {})


number = 3
'''


class RegistryTest(parameterized.TestCase):
    def _folder(self) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        return folder.name

    def _file(self, text: str) -> str:
        path = pathlib.Path(self._folder()) / "own_space.py"
        path.write_text(text, encoding="utf-8")
        return str(path)

    @parameterized.parameters(*registry.names())
    def test_every_name_is_a_space_of_that_name(self, name):
        registry.check_name(name)
        space = registry.get_space(name)
        self.assertIsInstance(space, SearchSpace)
        self.assertEqual(space.name, name)
        self.assertEqual(space.check(space.default), space.default)

    def test_spaces_are_imported_when_asked_for(self):
        code = (
            "import sys; import search_spaces.registry as r; r.names();"
            "r.check_name('burger');"
            "print([m for m in sys.modules if m.startswith(('search_spaces.', 'keras',"
            " 'tensorflow'))])"
        )
        result = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        self.assertEqual(result.stdout.strip(), "['search_spaces.registry']")

    @parameterized.parameters("", "mobilenet", "mobilenet_v4", "space.txt:f", "a.py:1f")
    def test_unknown_name(self, name):
        for ask in (registry.check_name, registry.get_space):
            with self.assertRaisesRegex(UserError, "expected one of mobilenet_v2, "):
                ask(name)

    def test_argument_that_the_space_does_not_take(self):
        for name, argument in (("burger", "width"), ("mobilenet_v2", "depth")):
            with self.assertRaisesRegex(UserError, f"takes no argument '{argument}'"):
                registry.get_space(name, **{argument: 2})

    def test_own_space(self):
        name = self._file(OWN) + ":tiny"
        registry.check_name(name)
        space = registry.get_space(name, classes=4, channels=1, depth=3)
        self.assertLen(space.layers, 5)
        self.assertEqual(space.start.channels, 1)
        self.assertEqual(space.size, 4**3)
        written = space.to_json((0, 1, 2, 3, 0))
        self.assertEqual(written["space"], name)
        again = registry.get_space(written["space"], **written["arguments"])
        self.assertEqual(again.from_json(written), (0, 1, 2, 3, 0))

    @parameterized.parameters(
        (
            "nothing",
            "must return a layernas_tf.space.search_space.SearchSpace, got NoneType",
        ),
        ("raises", r"raises\(\) raised KeyError: 'missing' .*line \d+"),
        ("bad_space", "space 'bad': expected at least one layer"),
        ("absent", "has no function 'absent'"),
        ("number", "has no function 'number'"),
    )
    def test_own_space_that_is_none(self, function, message):
        with self.assertRaisesRegex(UserError, message) as caught:
            registry.get_space(f"{self._file(OWN)}:{function}")
        self.assertNotIn("\n", str(caught.exception))

    def test_own_space_that_does_not_take_an_argument(self):
        with self.assertRaisesRegex(
            UserError,
            "no argument 'width': expected resolution, classes, channels, depth",
        ):
            registry.get_space(self._file(OWN) + ":tiny", width=2.0)

    @parameterized.parameters(
        ("x = 1\nraise RuntimeError('two\\nlines')", "RuntimeError: two lines.*line 2"),
        ("def f(:\n", "SyntaxError: .*line 1"),
        ("import no_such_module_at_all", "ModuleNotFoundError: .*line 1"),
        ("import sys\nsys.exit(3)", "SystemExit: 3.*line 2"),
        ("x = '\0'", "(ValueError|SyntaxError)"),
    )
    def test_file_that_raises(self, text, message):
        name = self._file(text) + ":f"
        with self.assertRaisesRegex(UserError, f"running the file raised {message}"):
            registry.get_space(name)
        try:
            registry.get_space(name)
        except UserError as error:
            self.assertNotIn("\n", str(error))

    def test_file_that_is_not_there(self):
        folder = self._folder()
        for name in (f"{folder}/none.py:f", f"{folder}:f"):
            for ask in (registry.check_name, registry.get_space):
                with self.assertRaisesRegex(
                    UserError, "there is no file|expected one of"
                ):
                    ask(name)


if __name__ == "__main__":
    absltest.main()
