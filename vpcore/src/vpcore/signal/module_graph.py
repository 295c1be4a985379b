"""The import graph of Python source, read from text alone.

A module reaches the modules of its import statements, inside functions too, and the ``__init__`` of every package on
the way. Imports under ``if TYPE_CHECKING`` are left out, with one exception: a package with a module-level
``__getattr__`` exports lazily, and these imports give the homes of its names. A module that takes a name from such a
package reaches the home of this name only. Imports of computed names are invisible.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from vpcore.errors import SignalError
from vpcore.kernels.cache_folder import writable_cache

DATA_FILES = "data_files"
"""Class attribute that names the data files of a signal."""

_KEPT_MODULES = 4000
_ALL = "*"


class Import(NamedTuple):
    """One import statement.

    Attributes
    ----------
    level : int
        Number of leading dots.
    module : str
        Name behind ``import`` or ``from``.
    names : list of [str, str] or None
        Pairs of imported and bound names; null for ``import module``.
    typing : bool
        True under ``if TYPE_CHECKING``.
    """

    level: int
    module: str
    names: list[list[str]] | None
    typing: bool


@dataclass(slots=True)
class ModuleSource:
    """Facts of one source file, wherever it lies.

    Attributes
    ----------
    digest : str
        sha256 of the syntax tree less comments, docstrings and line numbers, 64 hex digits.
    imports : list of Import
    names : list of str
        Names bound by the module at its top level.
    classes : list of str
        Its top-level classes.
    data_files : list of str
        Literal entries of the `DATA_FILES` of its classes.
    lazy : bool
        True with a module-level ``__getattr__``.
    """

    digest: str
    imports: list[Import] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    data_files: list[str] = field(default_factory=list)
    lazy: bool = False


# -- one file ----------------------------------------------------------------------------------------------------------


def parse_source(text: bytes | str) -> ModuleSource:
    """Return the facts of a source text; for a text with a syntax error only the digest of its bytes."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return ModuleSource(hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest())
    pieces: list[str] = []
    _write(tree, pieces)
    source = ModuleSource(hashlib.sha256("".join(pieces).encode("utf-8", "surrogatepass")).hexdigest())
    _collect(tree.body, source, typing=False, inside=False)
    return source


def _write(value: Any, pieces: list[str]) -> None:
    """Append a canonical text of a syntax tree. Empty fields are left out: they differ between versions of Python."""
    if isinstance(value, ast.AST):
        pieces.append(f"{type(value).__name__}(")
        for name in value._fields:
            part = getattr(value, name, None)
            if name in ("body", "orelse", "finalbody") and isinstance(part, list):
                part = [item for item in part if not _is_text(item)]
            if part is None or part == [] or name in ("ctx", "kind", "type_comment", "type_ignores"):
                continue
            pieces.append(f"{name}=")
            _write(part, pieces)
            pieces.append(",")
        pieces.append(")")
    elif isinstance(value, list):
        pieces.append("[")
        for item in value:
            _write(item, pieces)
            pieces.append(",")
        pieces.append("]")
    else:
        pieces.append(repr(value))


def _is_text(node: ast.AST) -> bool:
    """True for a docstring or another string that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _collect(body: Iterable[ast.AST], source: ModuleSource, *, typing: bool, inside: bool) -> None:
    """Write the imports and names of statements to `source`; names at the top level only."""
    for node in body:
        if isinstance(node, ast.Import):
            source.imports += [Import(0, alias.name, None, typing) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [[alias.name, "" if inside else alias.asname or alias.name] for alias in node.names]
            source.imports.append(Import(node.level, node.module or "", names, typing))
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            _collect(node.body, source, typing=True, inside=inside)
            _collect(node.orelse, source, typing=typing, inside=inside)
            continue
        elif isinstance(node, ast.Call) and _is_import_call(node):
            source.imports.append(Import(0, node.args[0].value, None, typing))  # type: ignore[attr-defined]
        if not inside:
            _bind(node, source)
        if isinstance(node, ast.ClassDef):
            _declared_data(node, source)
        deeper = inside or isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        _collect(ast.iter_child_nodes(node), source, typing=typing, inside=deeper)


def _is_type_checking(test: ast.AST) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _is_import_call(node: ast.Call) -> bool:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    literal = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
    return name in ("import_module", "__import__") and literal and not node.args[0].value.startswith(".")  # type: ignore[attr-defined]


def _bind(node: ast.AST, source: ModuleSource) -> None:
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        source.names.append(node.name)
        if isinstance(node, ast.ClassDef):
            source.classes.append(node.name)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        source.names.append(node.id)
    source.lazy = source.lazy or "__getattr__" in source.names[-1:]


def _declared_data(node: ast.ClassDef, source: ModuleSource) -> None:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if not any(isinstance(target, ast.Name) and target.id == DATA_FILES for target in targets):
            continue
        value = getattr(statement, "value", None)
        items = value.elts if isinstance(value, (ast.Tuple, ast.List)) else []
        source.data_files += [
            item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)
        ]


def data_digest(folder: Path, entry: str) -> str:
    """Return the sha256 of the bytes of a data file, 64 hex digits."""
    try:
        with (folder / entry).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SignalError(
            f"The data file '{entry}' of {DATA_FILES} cannot be read from {folder}: {error.strerror}. Put it there, "
            f"or correct {DATA_FILES}."
        ) from None


# -- many files --------------------------------------------------------------------------------------------------------


_KEPT = TypeAdapter(dict[str, ModuleSource])


class _Sources:
    """Facts of source files by the sha256 of their bytes, kept between processes. Parsing the core takes 0.2 s.

    The key is the content, so that an entry stays right. An unreadable or read-only cache only costs time.
    """

    def __init__(self) -> None:
        self._kept: dict[str, ModuleSource] | None = None
        self._new = False

    def of(self, file: Path) -> ModuleSource:
        """Return the facts of a file; for a compiled module only the digest of its bytes."""
        data = file.read_bytes()
        if file.suffix != ".py":
            return ModuleSource(hashlib.sha256(data).hexdigest())
        if self._kept is None:
            self._kept = self._read()
        key = hashlib.sha256(data).hexdigest()
        if key not in self._kept:
            self._kept[key] = parse_source(data)
            self._new = True
        return self._kept[key]

    def save(self) -> None:
        """Write new entries. The last of several processes wins; the others' entries are parsed again."""
        path = self._path() if self._new else None
        if path is None or self._kept is None:
            return
        kept = self._read() | self._kept
        newest = dict(list(kept.items())[-_KEPT_MODULES:])
        aside = path.with_suffix(f".{os.getpid()}")
        try:
            aside.write_bytes(_KEPT.dump_json(newest))
            aside.replace(path)
        except OSError:
            return
        self._new = False

    @staticmethod
    def _path() -> Path | None:
        folder = writable_cache("vpcore-sources")
        if folder is None:
            return None
        # Syntax trees differ between versions of Python, and facts between versions of this file.
        own = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
        return folder / f"modules-{own}-python{sys.version_info.major}.{sys.version_info.minor}.json"

    def _read(self) -> dict[str, ModuleSource]:
        path = self._path()
        try:
            return _KEPT.validate_json(path.read_bytes()) if path is not None else {}
        except (OSError, ValueError):
            return {}


_SOURCES = _Sources()


class Place(NamedTuple):
    """Place of a module: its file (None for a namespace package) and the folders of its submodules."""

    file: Path | None
    folders: tuple[Path, ...]


def place_of_top(name: str) -> Place | None:
    """Return the place of a top-level module; None if unknown."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    file = Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    return Place(file, folders) if file is not None or folders else None


def _place_below(parent: Place, name: str) -> Place | None:
    for folder in parent.folders:
        inner = folder / name
        if (inner / "__init__.py").is_file():
            return Place(inner / "__init__.py", (inner,))
        for suffix in (".py", *importlib.machinery.EXTENSION_SUFFIXES):
            if (file := folder / f"{name}{suffix}").is_file():
                return Place(file, ())
        if inner.is_dir() and name != "__pycache__":
            return Place(None, (inner,))
    return None


class ModuleGraph:
    """Modules of one code that are reached from some roots.

    Parameters
    ----------
    owns : callable
        True for a top-level module of this code.
    like : ModuleGraph, optional
        Shares the files that it has read. For graphs that are made at one moment.

    Attributes
    ----------
    sources : dict of str to ModuleSource
        Every reached module, by dotted name.
    files : dict of str to Path
        Its file.
    foreign : set of str
        Imported top-level modules of other code, except the standard library.
    """

    def __init__(self, owns: Callable[[str], bool], like: ModuleGraph | None = None) -> None:
        self._owns = owns
        self._places: dict[str, Place | None] = like._places if like is not None else {}
        self._read: dict[Path, ModuleSource] = like._read if like is not None else {}
        self._followed: set[tuple[str, str | None]] = set()
        self.sources: dict[str, ModuleSource] = {}
        self.files: dict[str, Path] = {}
        self.foreign: set[str] = set()

    def add(self, name: str) -> None:
        """Add a module, its packages, and all modules that they reach."""
        waiting = [name]
        while waiting:
            module = waiting.pop()
            for owner in _with_packages(module):
                place = self.place(owner)
                if owner in self.sources or place is None or place.file is None:
                    continue
                self.add_file(owner, place.file)
                waiting += self._imported(owner, self.sources[owner])
        _SOURCES.save()

    def add_file(self, name: str, file: Path) -> None:
        """Add one file alone under a name."""
        self.sources[name] = self._source(file)
        self.files[name] = file

    def _source(self, file: Path) -> ModuleSource:
        if file not in self._read:
            self._read[file] = _SOURCES.of(file)
        return self._read[file]

    def place(self, name: str) -> Place | None:
        """Return the place of a module; None if unknown."""
        if name not in self._places:
            package, _, own = name.rpartition(".")
            above = self.place(package) if package else None
            self._places[name] = (
                place_of_top(name) if not package else _place_below(above, own) if above is not None else None
            )
        return self._places[name]

    def digest(self) -> str:
        """Return 64 hex digits over the names and digests of the reached modules and of their data files.

        Raises
        ------
        SignalError
            If a declared data file is missing.
        """
        hasher = hashlib.sha256()
        for name, source in sorted(self.sources.items()):
            hasher.update(f"{name} {source.digest}\n".encode())
            folder = self.files[name].parent
            for entry in source.data_files:
                hasher.update(f"{entry} {data_digest(folder, entry)}\n".encode())
        return hasher.hexdigest()

    def home(self, module: str, name: str) -> str | None:
        """Return the module with the class statement of a class that `module` defines or imports; None if unknown."""
        seen: set[tuple[str, str]] = set()
        while (module, name) not in seen:
            seen.add((module, name))
            place = self.place(module)
            if place is None or place.file is None:
                return None
            source = self._source(place.file)
            if name in source.classes:
                return module
            for item in source.imports:
                bound = [original for original, alias in item.names or () if alias == name]
                if bound:
                    module, name = self._target(module, item), bound[-1]
                    break
        return None

    def _target(self, module: str, item: Import) -> str:
        """Return the absolute name of the module that an import statement names."""
        if not item.level:
            return item.module
        place = self.place(module)
        package = module if place is not None and place.folders else module.rpartition(".")[0]
        parts = package.split(".")
        above = parts[: len(parts) - item.level + 1]
        return ".".join([*above, item.module] if item.module else above)

    def _imported(self, module: str, source: ModuleSource) -> Iterator[str]:
        """Yield the modules of the same code that the statements of a module import."""
        for item in source.imports:
            target = self._target(module, item)
            top = target.partition(".")[0]
            if item.typing or not top:
                continue
            if not self._owns(top):
                if top not in sys.stdlib_module_names:
                    self.foreign.add(top)
                continue
            yield target
            yield from self._lazily(target, None) if item.names is None else self._named(target, item.names)

    def _named(self, target: str, names: list[list[str]]) -> Iterator[str]:
        for name, _ in names:
            below = f"{target}.{name}"
            if name != _ALL and self.place(below) is not None:
                yield below
                yield from self._lazily(below, None)
            else:
                yield from self._lazily(target, None if name == _ALL else name)

    def _lazily(self, package: str, name: str | None) -> Iterator[str]:
        """Yield the home of a name that a package exports lazily; without a name, all homes."""
        if (package, name) in self._followed:
            return
        self._followed.add((package, name))
        place = self.place(package)
        source = self._source(place.file) if place is not None and place.file is not None else None
        if place is None or source is None or not source.lazy or name in source.names:
            return
        found = [
            (item, original)
            for item in source.imports
            for original, alias in item.names or ()
            if alias and (name is None or alias == name)
        ]
        for item, original in found:
            home = self._target(package, item)
            if self._owns(home.partition(".")[0]):
                yield home
                yield from self._named(home, [[original, ""]])
        if not found:  # without declared homes, any module below the package may be one
            for folder in place.folders:
                for file in sorted(folder.rglob("*.py")):
                    parts = file.relative_to(folder).with_suffix("").parts
                    yield ".".join([package, *(part for part in parts if part != "__init__")])


def _with_packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])
