"""Read a study from its file, and find its cells; every mistake is named with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from anchorbench.config import Frozen
from anchorbench.data.catalog import Catalog
from anchorbench.errors import AnchorbenchError, ConfigError, unknown
from anchorbench.methods.registry import METHODS
from anchorbench.models.registry import BUILT_IN, validate_options
from anchorbench.runs.plan import GROUPS
from anchorbench.runs.study import Cell, Exclude, Include, Study, cells_from, patched


@dataclass(frozen=True)
class StudyFile:
    """A study and where its words stand."""

    study: Study
    path: Path
    root: yaml.Node

    def mistake(self, what: str, at: Sequence[int | str], *, do: str | None = None) -> ConfigError:
        return ConfigError(f"{self.path}, line {line_of(self.root, at)}: {what}", do=do)

    def blamed(self, error: AnchorbenchError, cell: Cell) -> ConfigError:
        """The error with the line of the option that it names, else of the entry that the cell came from."""
        names = {a or b for a, b in re.findall(r"'([\w.]+)'|\b(\w+):", error.what)}
        for entry in cell.entries:
            settings = _below(self.root, (*entry, "settings"))
            named = [] if settings is None else [key for key in _keys(settings) if key[2] in names]
            if named:
                _, line, _ = max(named, key=lambda key: key[0])  # the deepest: `train: stepps:` is about stepps
                return ConfigError(f"{self.path}, line {line}: {error.what}", do=error.do)
        return self.mistake(error.what, cell.entries[0] if cell.entries else (), do=error.do)


def read_study(path: Path) -> StudyFile:
    """The study in a file.  Raises ConfigError, with file and line, where it is missing, no YAML or holds a mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"the study {path} cannot be read: {why}") from None
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        _refuse_repeated_keys(root)
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f", line {mark.line + 1}"
        raise ConfigError(f"{path}{place}: this is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: this is no YAML: {(str(error).splitlines() or [''])[0]}") from None
    if root is None or not isinstance(values, dict):
        raise ConfigError(f"{path}: a study is a group of words, of which it needs name and datasets")
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            groups: dict[str, type[Frozen]] = {"include": Include, "exclude": Exclude}
            known = groups.get(str(first["loc"][0]), Study).model_fields
            said = unknown("word of a study", str(first["loc"][-1]), known)
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{path}, line {line_of(root, first['loc'])}: {where}: {said}") from None
    return StudyFile(study, path, root)


def cells_of(file: StudyFile, catalog: Catalog) -> list[Cell]:
    """All cells of a study, in its order.

    Raises ConfigError, with file and line, for a name that there is not, a group of settings that there is not, and an
    entry that no cell matches.
    """
    _check_names(file, catalog)
    study = file.study
    cells = list(cells_from(study, Include(), ()))
    for i, entry in enumerate(study.include):
        if not entry.patch:
            cells += cells_from(study, entry, ("include", i))
    for i, entry in enumerate(study.include):
        if entry.patch:
            if not any(entry.matches(cell) for cell in cells):
                raise file.mistake("this patch matches no cell", ("include", i))
            cells = [patched(cell, entry, ("include", i)) if entry.matches(cell) else cell for cell in cells]
    for i, left_out in enumerate(study.exclude):
        if not any(left_out.matches(cell) for cell in cells):
            raise file.mistake("this exclude matches no cell", ("exclude", i))
        cells = [cell for cell in cells if not left_out.matches(cell)]
    if not cells:
        raise file.mistake("everything is excluded: there is nothing to run", ("exclude",))
    _check_named_options(file, cells)
    return cells


def _check_named_options(file: StudyFile, cells: Sequence[Cell]) -> None:
    """Options of a method or model that no cell has would be dropped without a word."""
    entries: list[tuple[tuple[int | str, ...], Mapping[str, Any]]] = [((), file.study.settings)]
    entries += [(("include", i), entry.settings) for i, entry in enumerate(file.study.include)]
    for at, settings in entries:
        for group, known in (("method", METHODS), ("model", BUILT_IN)):
            there = {getattr(cell, group) for cell in cells}
            for name in settings.get(group, {}):
                if name in known and name not in there:
                    raise file.mistake(f"no cell has the {group} '{name}'", (*at, "settings", group, name))


def _check_names(file: StudyFile, catalog: Catalog) -> None:
    study = file.study
    entries: list[tuple[tuple[int | str, ...], Any]] = [((), study)]
    entries += [(("include", i), entry) for i, entry in enumerate(study.include)]
    entries += [(("exclude", i), entry) for i, entry in enumerate(study.exclude)]
    for at, entry in entries:
        _check(file, at, "datasets", entry.datasets, catalog.dataset)
        _check(file, at, "models", entry.models, _known_model)
        _check(file, at, "methods", entry.methods, _known_method)
        for group, values in getattr(entry, "settings", {}).items():
            if group not in (*GROUPS, "data"):
                raise file.mistake(unknown("group of settings", group, (*GROUPS, "data")), (*at, "settings", group))
            if not isinstance(values, Mapping):
                raise file.mistake(f"'{group}' is a group of options, not {values!r}", (*at, "settings", group))
    if study.yardstick is not None:
        _check(file, (), "yardstick", (study.yardstick,), _known_model)


def _known_method(name: str) -> None:
    if name not in METHODS:
        raise ConfigError(unknown("method", name, METHODS))


def _known_model(name: str) -> None:
    validate_options(name, {})


def _check(
    file: StudyFile,
    at: tuple[int | str, ...],
    key: str,
    names: Iterable[str] | None,
    known: Callable[[str], object],
) -> None:
    """known: raises for a name that there is not."""
    for i, name in enumerate(names or ()):
        try:
            known(name)
        except AnchorbenchError as error:
            raise file.mistake(error.what, (*at, key, i), do=error.do) from None


def line_of(root: yaml.Node, path: Sequence[int | str]) -> int:
    """Line, from 1, of the deepest key or item on the path that the file has."""
    node, line = root, root.start_mark.line
    for part in path:
        below, at = _step(node, part)
        if below is None:
            break
        node, line = below, at
    return int(line) + 1


def _step(node: yaml.Node, part: int | str) -> tuple[yaml.Node | None, int]:
    """What lies one part further, and the line of its key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return value, key.start_mark.line
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None, 0


def _below(root: yaml.Node, path: Sequence[int | str]) -> yaml.Node | None:
    node: yaml.Node | None = root
    for part in path:
        node = None if node is None else _step(node, part)[0]
    return node


def _keys(node: yaml.Node, depth: int = 0) -> Iterator[tuple[int, int, str]]:
    """Depth, line from 1, and name of every key below a node."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield depth, int(key.start_mark.line) + 1, str(key.value)
            yield from _keys(value, depth + 1)


def _refuse_repeated_keys(node: yaml.Node | None) -> None:
    """YAML keeps the last of two equal keys without a word."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key '{key.value}' stands twice", problem_mark=key.start_mark)
            seen.add(str(key.value))
            _refuse_repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_repeated_keys(value)
