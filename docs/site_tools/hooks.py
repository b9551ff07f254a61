"""Pages that are made while the site is built, so that they cannot be out of date."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import flags_page
import layers_picture
from mkdocs.structure.files import File, Files

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# Files of the checkout that pages link to or that are pages themselves.
_COPIED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Files, config: Any) -> Files:
    """Adds the flags, the picture of the layers, and files from outside `docs/`."""
    made = {
        "flags.md": flags_page.page(_ROOT),
        "images/layers.svg": layers_picture.picture(_ROOT),
    }
    for source, target in _COPIED.items():
        text = (_ROOT / source).read_text(encoding="utf-8")
        for path, page in {**_COPIED, "docs/": ""}.items():
            text = text.replace(f"]({path}", f"]({page}")
        made[target] = text
    for example in sorted((_ROOT / "examples").iterdir()):
        if example.suffix in (".py", ".ipynb"):
            made[f"examples/{example.name}"] = example.read_text(encoding="utf-8")
    for target, content in made.items():
        if (old := files.get_file_from_path(target)) is not None:
            files.remove(old)
        files.append(File.generated(config, target, content=content))
    return files


def on_page_markdown(markdown: str, **others: Any) -> str:
    """Points links to `../examples/` at the copies in the site."""
    del others
    return re.sub(r"\]\(\.\./examples/", "](examples/", markdown)
