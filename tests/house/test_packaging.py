"""The wheel holds the package and nothing else, and is typed; its page on an index leads on."""

from __future__ import annotations

import re
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import formant_provider

ROOT = Path(__file__).parents[2]
INFO = f"airflow_provider_formant-{formant_provider.__version__}.dist-info"


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(wheel.read(f"{INFO}/METADATA").decode())


def urls(metadata: Message) -> dict[str, str]:
    return dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))


def test_the_wheel_holds_every_module_and_the_type_marker(wheel: zipfile.ZipFile) -> None:
    """All modules, py.typed and the licence are shipped; tests, examples and scripts are not."""
    names = set(wheel.namelist())
    package = {str(path.relative_to(ROOT)) for path in (ROOT / "formant_provider").rglob("*.py")}
    assert package <= names
    assert "formant_provider/tasks/summaries/page.html.jinja" in names
    assert "formant_provider/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"formant_provider"}


def test_the_wheel_says_what_it_is(wheel: zipfile.ZipFile, metadata: Message) -> None:
    """Name, version, Python and entry point are those of the project."""
    assert metadata["Name"] == "airflow-provider-formant"
    assert metadata["Version"] == formant_provider.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert "formant_provider:get_provider_info" in wheel.read(f"{INFO}/entry_points.txt").decode()


def test_the_metadata_leads_to_the_documentation(metadata: Message) -> None:
    """Documentation, changelog and example DAGs have addresses, each a page that exists in docs/."""
    found = urls(metadata)
    assert {"Documentation", "Changelog", "Example DAGs", "Security"} <= found.keys()
    for name in found.keys() - {"Documentation", "Source"}:
        assert_page(found[name], found["Documentation"])


def test_links_of_the_readme_work_on_the_page_of_an_index(metadata: Message) -> None:
    """Each leads to a web page; those to files of the project lead to a page of its documentation."""
    readme, shown = (ROOT / "README.md").read_text(), str(metadata.get_payload())
    pages = re.findall(r"\]\((\S+?)\)", shown)
    assert len(pages) == len(re.findall(r"\]\((\S+?)\)", readme)) > 10
    assert [page for page in pages if not page.startswith(("https://", "#"))] == []
    home = urls(metadata)["Documentation"]
    for page in pages:
        if page.startswith(home):
            assert_page(page, home)


def assert_page(url: str, home: str) -> None:
    """A page of ours, or a picture that is on one: Sphinx copies no others."""
    name = url.removeprefix(f"{home}page/").split("#")[0]
    if name.startswith("_images/"):
        picture = name.replace("_images/", "images/")
        assert any(picture in page.read_text() for page in (ROOT / "docs").rglob("*.md")), name
    else:
        assert (ROOT / "docs" / name).with_suffix(".md").is_file(), url


def test_the_sdist_holds_what_the_tests_and_the_reader_need(dist: Path) -> None:
    """Example DAGs, docs, tests and commands are all there, as they are in the repository."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    for folder in ("dags_examples", "docs", "formant_provider", "scripts", "tests", "constraints"):
        files = {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert {file for file in files if not re.search(r"__pycache__|_build/", file)} <= names
    assert {"README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "constraints.txt", ".ci/run"} <= names


def test_the_examples_page_shows_every_example() -> None:
    """What the metadata calls Example DAGs is all of them."""
    page = (ROOT / "docs" / "examples.md").read_text()
    shown = re.findall(r"^```{literalinclude} \.\./(\S+)$", page, re.MULTILINE)
    assert set(shown) == {f"dags_examples/{path.name}" for path in (ROOT / "dags_examples").glob("*.py")}
