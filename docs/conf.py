"""How Sphinx builds the site of this folder; `make docs` writes it to build/docs."""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

import nucleigan  # noqa: E402

project = "nucleigan"
author = "The nucleigan authors"
project_copyright = author
version = release = nucleigan.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "configuration_reference",
    "docstrings",
    "mathml",
]
exclude_patterns = ["extensions"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

html_math_renderer = "mathml"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "pydata_sphinx_theme"
html_title = "nucleigan"
html_static_path = ["static"]
html_css_files = ["site.css"]
# Pages without pages below them.
html_sidebars = {page: [] for page in ("index", "tutorial", "method", "extending")}
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}


def setup(app: Sphinx) -> None:
    """Sheets are plain text: Pygments knows no CSV."""
    app.add_lexer("csv", TextLexer)
