"""Sphinx: the site of the documentation. `make docs` builds it into build/docs/html, without a network."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # notebooks call `vp`

project = "vpcore"
author = "the vpcore developers"
copyright = author
extensions = ["myst_nb", "sphinx.ext.autodoc", "numpydoc", "diagrams", "command_line"]
exclude_patterns = ["_ext"]
html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "vpcore"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3

# Every notebook runs in the build; one that did not change since the last build comes from the cache.
nb_execution_mode = "cache"
nb_execution_cache_path = str(Path(__file__).parents[1] / "build" / "docs" / "notebooks")
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/plain", 0)]  # a frame as text is in the colours of the page

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings state dtypes and shapes
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

_TITLED = re.compile(r"^```(\w+) title=\"([^\"]+)\"$", re.MULTILINE)


def _caption(_app: Any, _name: str, source: list[str]) -> None:
    """Show the file name of a block with ``title="..."`` as its caption. The tests write the block to this file."""
    source[0] = _TITLED.sub(r"```{code-block} \1\n:caption: \2\n", source[0])


def setup(app: Any) -> None:
    """Connect the hooks of this file."""
    app.connect("source-read", _caption)
