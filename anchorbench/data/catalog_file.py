"""Find and read `datasets.yaml`, every mistake in it named with its line.

It is found, in this order: the path that is given, the environment variable ANCHORBENCH_DATASETS, the copy inside the
installed package, the file beside the package in a checkout.  Never the current folder.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from anchorbench.data.catalog import Catalog
from anchorbench.errors import CatalogError

ENVIRONMENT = "ANCHORBENCH_DATASETS"
#: libyaml's where PyYAML was built with it: the catalogue is read by every command, and this is ten times faster.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_catalog(path: Path | str | None = None) -> Catalog:
    """Read and validate the catalogue.

    Raises CatalogError, with file and line, where it is missing, no YAML, or holds a mistake.
    """
    if path is not None:
        return read_catalog(Path(path))
    if named := os.environ.get(ENVIRONMENT):
        if not Path(named).is_file():
            raise CatalogError(f"{ENVIRONMENT} names {named}, where there is no file", do="unset it, or mend it")
        return read_catalog(Path(named))
    packaged = files("anchorbench") / "datasets.yaml"
    if packaged.is_file():
        with as_file(packaged) as file:
            return read_catalog(file)
    return read_catalog(Path(__file__).resolve().parents[2] / "datasets.yaml")


def read_catalog(path: Path) -> Catalog:
    """The catalogue in one file.  Raises CatalogError, with file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CatalogError(f"the catalogue {path} cannot be read: {why}") from None
    return _parsed(text, path)


@lru_cache(maxsize=8)
def _parsed(text: str, path: Path) -> Catalog:
    """The catalogue in a text; kept, for it is frozen, and one command asks for it several times."""
    try:
        loader = LOADER(text)
        root = loader.get_single_node()
        if root is not None:
            _refuse_repeated_keys(root)
        values = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        raise CatalogError(f"{path}{place}: this is no YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise CatalogError(f"{path}, line {line}: this is no YAML: {error.reason}") from None
    except ValueError as error:  # a date that cannot be, which YAML tries to read
        raise CatalogError(f"{path}: this is no YAML: {error}") from None
    try:
        return Catalog.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        line = 1 if root is None else _line_of(root, first["loc"])
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CatalogError(f"{path}, line {line}: {where}: {_in_words(first['type'], first['msg'])}") from None


def _in_words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind == "missing":
        return "this key is missing"
    return message.removeprefix("Value error, ")


def _line_of(root: yaml.Node, path: tuple[int | str, ...]) -> int:
    """Line, from 1, of the deepest key on the path that the file has."""
    node, line = root, root.start_mark.line
    for part in path:
        below: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    below, line = value, key.start_mark.line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            below = node.value[part]
            line = below.start_mark.line
        if below is None:
            break
        node = below
    return int(line) + 1


def _refuse_repeated_keys(node: yaml.Node) -> None:
    """YAML keeps the last of two equal keys without a word: an edited catalogue would lose the first."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark
                    )
                seen.add(key.value)
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value)
