"""How the documentation is built: ``make docs``. Warnings are errors, and nothing is fetched."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile

# The reference imports the package, and with it Airflow, which would make itself a home in ~/airflow.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-docs-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
# It also reports where it found its configuration, in the midst of a build that is meant to be quiet.
logging.getLogger("airflow").setLevel(logging.WARNING)

from formant_provider import __version__  # noqa: E402 - after the home is set

project = "airflow-provider-formant"
author = "the authors of airflow-provider-formant"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"{project} {release}"
html_show_copyright = False
html_copy_source = False

myst_heading_anchors = 3
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"

nitpicky = True
# What a link cannot lead to: a build fetches nothing, and internal packages are not in the reference.
nitpick_ignore_regex = [
    (r"py:\w+", r"(airflow|collections|datetime|os|time)(\..+)?"),
    (r"py:\w+", r"formant_provider\.(core|tasks|sandbox)\..+"),
    # A name without a module: an alias for words that are spelled out where they are a parameter.
    (r"py:class", r"[A-Z]\w+"),
    # A type variable stands for types that are documented.
    (r"py:class", r"formant_provider\.api\.\w+\.T"),
]
