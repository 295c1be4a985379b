"""``vp new-signal``: write a package with one working signal as a starting point."""

from __future__ import annotations

import enum
import keyword
import re
import shutil
import string
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpcore.errors import ConfigError
from vpcore_cli.common import current_plugins, say

if TYPE_CHECKING:
    from vpcore.plugins.manager import Plugins

_LONGEST = 32

_TEXTS = {
    "stat": {
        "summary": "Size arriving on the bid and leaving the ask, against what is usual.",
        "dependencies": '"numpy>=2.0", "pydantic>=2.8"',
        "about": "the formula, its parameters, one compiled step, and its two drivers: bin by bin and batch",
        "swept": "{reach_ticks: [3, 5, 10]}",
    },
    "ml": {
        "summary": "Probability that a long pays, learned from sizes, depth and flow near the touch.",
        "dependencies": '"vpcore-signals-ml>=0.1", "pydantic>=2.8", "scikit-learn>=1.6"',
        "about": "the features, the parameters and the estimator",
        "swept": "{c: [0.001, 0.01, 0.1]}",
    },
}
"""Texts of the templates that depend on the kind."""

_FILES = {
    "common/README.md": "README.md",
    "common/__init__.py": "src/{package}/__init__.py",
    "common/gitignore": ".gitignore",
    "common/plugin.py": "src/{package}/plugin.py",
    "common/py.typed": "src/{package}/py.typed",
    "common/pyproject.toml": "pyproject.toml",
    "{kind}/signal.py": "src/{package}/signal.py",
    "{kind}/test_signal.py": "tests/test_{name}.py",
}
"""Template below ``data/new_signal`` (with ``.tmpl`` after it) -> file of the new package."""


class Kind(enum.StrEnum):
    """Kind of the new signal."""

    STAT = "stat"
    ML = "ml"


def new_signal(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the signal, such as depth_tilt.")],
    kind: Annotated[
        Kind, typer.Option(help="stat: a formula. ml: an estimator that learns, on vpcore-signals-ml.")
    ] = Kind.STAT,
    directory: Annotated[
        Path, typer.Option("--dir", help="The package's folder, vp-signal-NAME, is made in it. [default: here]")
    ] = Path(),
) -> None:
    """Write an installable package with a working signal, its parameters, its conformance test and a README.

    Existing files keep their content.
    """
    folder = write_package(name, kind, directory, current_plugins())
    print(folder)
    say("Next:")
    say(f"  pip install -e {folder}")
    say(f"  vp check {name}")
    say(f"  python -m pytest {folder}")


def write_package(name: str, kind: Kind, directory: Path, plugins: Plugins) -> Path:
    """Write the package of a signal and return its folder.

    Raises
    ------
    ConfigError
        If the name is invalid or taken, or the folder exists or is read-only.
    """
    files = _render(_checked(name, plugins), kind)
    folder = directory.expanduser() / f"vp-signal-{name.replace('_', '-')}"
    made = False
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()  # fails if it exists: only one of two commands at once makes it
        made = True
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except OSError as error:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        elif isinstance(error, FileExistsError):
            if Path(str(error.filename)) != folder:
                raise ConfigError("--dir", required="a directory", was=f"a file: {error.filename}") from None
            what = f"{folder} exists already; nothing in it was changed"
            raise ConfigError(what, fix="Choose another name, or another --dir.") from None
        what = f"The package cannot be written to {folder}: {error.strerror}"
        raise ConfigError(what, where=str(error.filename)) from None
    return folder


def _checked(name: str, plugins: Plugins) -> str:
    """Return a valid and free name of a signal, or raise a ConfigError."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > _LONGEST:
        plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_0123456789")
        fix = f" Write: vp new-signal {plain}" if plain and plain != name and len(plain) <= _LONGEST else ""
        raise ConfigError(
            "The name of a signal",
            required=f"lower case letters and digits, with single '_' between them and a letter first, at most "
            f"{_LONGEST} characters",
            was=f"'{name}'",
            fix=fix,
        )
    installed = plugins.components("signal")
    if name in installed:
        raise ConfigError(
            f"A signal called '{name}' is installed already, by plugin {installed[name].owner}",
            fix="Choose another name.",
        )
    return name


def _render(name: str, kind: Kind) -> dict[str, str]:
    """Return the files of the package by their paths in it."""
    from importlib import resources

    from vpcore import __version__

    package = f"vp_signal_{name}"
    templates = resources.files("vpcore_cli") / "data" / "new_signal"
    texts = {
        target.format(package=package, name=name): (templates / f"{source.format(kind=kind)}.tmpl").read_text("utf-8")
        for source, target in _FILES.items()
    }
    cls = "".join(part.capitalize() for part in name.split("_"))
    if keyword.iskeyword(cls) or any(re.search(rf"\b{cls}\b", text) for text in texts.values()):
        cls += "Signal"  # State, TradeRules, ...: the module has one of that name
    values = {
        "name": name,
        "package": package,
        "distribution": package.replace("_", "-"),
        "entry_point": package.removeprefix("vp_").replace("_", "-"),
        "cls": cls,
        "minimum": ".".join(__version__.split(".")[:2]),
        **_TEXTS[kind],
    }
    return {path: string.Template(text).substitute(values) for path, text in texts.items()}
