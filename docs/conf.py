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
nitpick_ignore = [
    # Python's and Airflow's own types in signatures. Their pages are elsewhere, and a build fetches nothing.
    *[
        ("py:class", name)
        for name in (
            "collections.Counter",
            "collections.abc.Callable",
            "collections.abc.Collection",
            "collections.abc.Container",
            "collections.abc.Iterable",
            "collections.abc.Iterator",
            "collections.abc.Mapping",
            "collections.abc.Sequence",
            "AbstractContextManager",
            "Context",
            "datetime",
            "datetime.date",
            "datetime.datetime",
            "datetime.timedelta",
            "timedelta",
            "zoneinfo.ZoneInfo",
            "os.PathLike",
            "pathlib.Path",
        )
    ],
    ("py:func", "time.sleep"),
    ("py:class", "PokeReturnValue"),
    ("py:class", "airflow.triggers.base.TriggerEvent"),
    ("py:class", "airflow.sdk.bases.decorator.TaskDecorator"),
    # Names for kinds of generators, spelled out where they stand.
    ("py:class", "Flow"),
    ("py:class", "Steps"),
    # Names for sets of words, spelled out where they are parameters.
    ("py:class", "OnClosed"),
    ("py:class", "OnTimeout"),
    ("py:class", "OnUnconfirmed"),
    ("py:class", "OnUnsuccessful"),
    ("py:class", "ListNumbers"),
    ("py:class", "ListOrder"),
    ("py:class", "ReceiptConversationId"),
    ("py:class", "RecordAppears"),
    ("py:class", "RedialTraceId"),
    ("py:class", "UncountedOutcomes"),
    # How the sandbox reads a request; of no use to anybody outside of it.
    ("py:class", "formant_provider.sandbox.request_schemas.CreateCall"),
    ("py:class", "formant_provider.sandbox.batch_file.Rows"),
    # An error that a docstring names without its module.
    ("py:class", "DuplicateRequest"),
]
nitpick_ignore_regex = [
    # Annotations that Sphinx takes apart in the middle, such as "tuple[str".
    ("py:class", r"[\w.]+\[.*"),
    # Type variables stand for types that are documented.
    ("py:class", r"(formant_provider\.api\.\w+\.)?(\w+T|\w+_contra)"),
]
