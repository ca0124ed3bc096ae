"""Sphinx' settings: what is built stands on its own, without a request to anywhere else."""

from __future__ import annotations

from resnet_core.version import __version__

project = "resnet-core"
author = copyright = "the resnet-core authors"
version = release = __version__

extensions = ["myst_parser", "sphinx_design"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nitpicky = True
smartquotes_action = "qe"  # quotes and ellipses; of two hyphens, which begin an option, no dash is made
templates_path = ["templates"]

html_theme = "pydata_sphinx_theme"
html_title = "resnet-core"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["extra"]
html_copy_source = html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_context = {"default_mode": "auto"}
html_sidebars = {page: [] for page in ("index", "concepts", "gallery", "results", "api")}
html_theme_options = {
    "logo": {"text": "resnet-core"},
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "github-dark",
}
