"""BUILD files state what the code imports: no more, no less, no folder forgotten."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("layernas_tf", "search_spaces", "export", "benchmarks", "examples")

# The package's own names (`from layernas_tf import ...`) are those of its API.
_API = "//layernas_tf:layernas_tf"

# Modules that a registry imports by a name put together while it runs.
_LOADED_BY_NAME = {
    "search_spaces/registry.py": ("search_spaces.mobile", "search_spaces.tabular"),
}


@dataclasses.dataclass(frozen=True)
class _Target:
    """A rule of a BUILD file."""

    rule: str
    label: str
    sources: tuple[str, ...]
    deps: frozenset[str]


def _targets(folder: pathlib.Path) -> list[_Target]:
    """The Python rules of a folder's BUILD file, which is Python enough to run."""
    package = folder.relative_to(_ROOT).as_posix()
    found = []

    def absolute(label: str) -> str:
        label = f"//{package}{label}" if label.startswith(":") else label
        return label if ":" in label else f"{label}:{label.rsplit('/', 1)[-1]}"

    def glob(
        include: Sequence[str], exclude: Sequence[str] = (), allow_empty: bool = True
    ) -> list[str]:
        del allow_empty
        inner = [each.parent for each in folder.rglob("BUILD") if each.parent != folder]
        paths = {
            path
            for pattern in include
            for path in folder.glob(pattern)
            if path.is_file() and not any(each in path.parents for each in inner)
        }
        for pattern in exclude:
            paths -= set(folder.glob(pattern))
        return sorted(path.relative_to(folder).as_posix() for path in paths)

    def rule(kind: str) -> Any:
        def declare(
            name: str,
            srcs: Sequence[str] = (),
            deps: Sequence[str] = (),
            **others: object,
        ) -> None:
            del others
            found.append(
                _Target(
                    kind,
                    absolute(f":{name}"),
                    tuple(f"{package}/{source}" for source in srcs),
                    frozenset(absolute(each) for each in deps),
                )
            )

        return declare

    names = {kind: rule(kind) for kind in ("py_library", "py_binary", "py_test")}
    ignored = {
        name: lambda *args, **kwargs: None
        for name in ("load", "package", "exports_files", "filegroup")
    }
    text = (folder / "BUILD").read_text(encoding="utf-8")
    exec(
        compile(text, str(folder / "BUILD"), "exec"), {"glob": glob, **names, **ignored}
    )
    return found


def _all_targets() -> list[_Target]:
    return [
        target
        for package in _PACKAGES
        for build in sorted((_ROOT / package).rglob("BUILD"))
        for target in _targets(build.parent)
    ]


def _imported_modules(path: pathlib.Path) -> Iterator[str]:
    """Every module that a file imports, lazily and for types too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
    yield from _LOADED_BY_NAME.get(path.relative_to(_ROOT).as_posix(), ())


def _source_of(module: str) -> str | None:
    """The file of a module, or of the one that a name is imported from."""
    parts = module.split(".")
    if parts[0] not in _PACKAGES:
        return None
    while parts:
        base = _ROOT.joinpath(*parts)
        if base.with_suffix(".py").is_file():
            return base.with_suffix(".py").relative_to(_ROOT).as_posix()
        if (base / "__init__.py").is_file():
            return (base / "__init__.py").relative_to(_ROOT).as_posix()
        if base.is_dir():  # benchmarks and examples are not packages
            return None
        parts.pop()
    return None


def _owners(targets: Sequence[_Target]) -> dict[str, str]:
    """The library (or, where there is none, the binary) that each file belongs to."""
    owners: dict[str, str] = {}
    for kind in ("py_binary", "py_library"):
        for target in targets:
            if target.rule == kind:
                owners.update(dict.fromkeys(target.sources, target.label))
    return owners


def _expected_deps(
    label: str, sources: Sequence[str], owners: Mapping[str, str]
) -> set[str]:
    imported = {
        source
        for path in sources
        for module in _imported_modules(_ROOT / path)
        if (source := _source_of(module)) is not None
    }
    # A module is imported through its package, whose __init__.py stands alone.
    deps = {owners.get(source, f"no target has {source}") for source in imported}
    packages = {path.split("/")[0] for path in sources}
    if "layernas_tf" not in packages and "layernas_tf/__init__.py" in imported:
        deps = deps - {owners["layernas_tf/__init__.py"]} | {_API}
    deps |= {
        init
        for package in packages
        if (init := owners.get(f"{package}/__init__.py")) is not None
    }
    return deps - {label}


class BuildFilesTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._targets = _all_targets()
        cls._owners = _owners(cls._targets)

    def test_every_file_belongs_to_one_library(self):
        libraries = [each for each in self._targets if each.rule == "py_library"]
        for package in _PACKAGES:
            for path in sorted((_ROOT / package).rglob("*.py")):
                source = path.relative_to(_ROOT).as_posix()
                having = [each.label for each in libraries if source in each.sources]
                if not having and source in self._owners:
                    continue  # only a binary has it
                with self.subTest(source):
                    self.assertLen(
                        having,
                        1,
                        f"{source}: expected one py_library that has it; a new folder "
                        "needs a BUILD file",
                    )

    def test_every_program_is_a_binary(self):
        for package in ("layernas_tf", "search_spaces", "export"):
            for path in sorted((_ROOT / package).rglob("*.py")):
                if '\nif __name__ == "__main__":' not in path.read_text("utf-8"):
                    continue
                source = path.relative_to(_ROOT).as_posix()
                with self.subTest(source):
                    self.assertTrue(
                        any(
                            target.rule == "py_binary" and source in target.sources
                            for target in self._targets
                        ),
                        f"{source} has no py_binary",
                    )

    def test_deps_are_the_imports(self):
        for target in self._targets:
            if target.label == _API:
                continue  # it has no file of its own
            if target.label.endswith(":package"):
                self.assertEmpty(target.deps)  # all that is in it depends on it
                continue
            with self.subTest(target.label):
                if target.label == _API:
                    target = dataclasses.replace(
                        target, sources=("layernas_tf/__init__.py",)
                    )
                expected = _expected_deps(target.label, target.sources, self._owners)
                self.assertEqual(sorted(expected), sorted(target.deps))

    def test_deps_of_the_tests_are_their_imports(self):
        sources = [
            path.relative_to(_ROOT).as_posix()
            for path in sorted((_ROOT / "tests").glob("*.py"))
        ]
        (testing,) = (
            target
            for target in _targets(_ROOT / "tests")
            if target.label == "//tests:testing"
        )

        expected = _expected_deps(testing.label, sources, self._owners)

        # What the tests start as a program is among their imports or in a binary.
        binaries = {each.label for each in self._targets if each.rule == "py_binary"}
        self.assertEqual(sorted(expected | binaries), sorted(testing.deps))


if __name__ == "__main__":
    absltest.main()
