"""Fill the generated blocks of the pages from the code: ``--check`` shows what is stale and writes nothing.

A block of a page stands between two comments. Its first one says what is in it::

    <!-- generated: parameters formant_provider.hooks.formant.FormantHook -->
    <!-- generated: parameters formant_provider.hooks.formant.FormantHook region -->
    <!-- generated: layers formant_provider -->
    <!-- generated: modules formant_provider.hooks -->
    <!-- generated: table faults -->
    <!-- end generated -->

*parameters* is the table of a class's parameters, or of those that are named after it: one class may have
several blocks, and all of them together must name each parameter. *layers* is what import-linter holds of a
package, from the top down. *modules* is the table of a package's modules: the first line of each docstring,
and what is imported; where one package has such a table, all have one. *table* is a list of the sandbox:
faults, test-numbers, webhook-faults; or of the check: open-questions; or all metrics: metrics.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import os
import re
import sys
import tempfile
import tomllib
import types
import typing
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "formant_provider"
BLOCK = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end generated -->)", re.DOTALL)
PASSED_ON = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
PARAM = re.compile(r"^:param (\w+):(.*?)(?=^:|^\S|\Z)", re.DOTALL | re.MULTILINE)


class Incomplete(Exception):
    """A block names what is not there, or all of them together leave something out."""


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` print how they would change; return the exit code."""
    stale = [each for each in filled(pages()) if each[1] != each[2]]
    if "--check" not in arguments:
        for page, _, new in stale:
            page.write_text(new)
        return 0
    for page, old, new in stale:
        name = str(page.relative_to(ROOT))
        lines = (old.splitlines(keepends=True), new.splitlines(keepends=True))
        sys.stdout.writelines(difflib.unified_diff(*lines, name, f"{name} (generated)"))
    if stale:
        print("Tables are stale: run scripts/generate_docs.py", file=sys.stderr)
    return int(bool(stale))


def pages() -> list[Path]:
    """Return the pages that may have blocks."""
    docs = (path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    return [ROOT / "README.md", ROOT / "AGENTS.md", *sorted(docs)]


def filled(files: list[Path]) -> list[tuple[Path, str, str]]:
    """Return each page as it is and as it should be; refuse blocks that together leave something out."""
    named: dict[tuple[str, str], set[str]] = defaultdict(set)

    def fill(match: re.Match[str]) -> str:
        opening, words, end = match.groups()
        kind, subject, *names = words.split()
        if kind not in KINDS:
            raise Incomplete(f"no block is called {kind!r}")
        head, rows = KINDS[kind](subject)
        if unknown := set(names) - set(rows):
            raise Incomplete(f"{subject} has no {', '.join(sorted(unknown))}")
        named[kind, subject] |= set(names or rows)
        return "\n".join([opening, head + "".join(rows[name] for name in names or rows), end])

    result = [(page, text := page.read_text(), BLOCK.sub(fill, text)) for page in files]
    for (kind, subject), there in named.items():
        if missing := KINDS[kind](subject)[1].keys() - there:
            raise Incomplete(f"no block of {subject} names {', '.join(sorted(missing))}")
    mapped = {subject for kind, subject in named if kind == "modules"}
    if mapped and (missing := {dotted_name(path.parent) for path in PACKAGE.rglob("__init__.py")} - mapped):
        raise Incomplete(f"no block shows the modules of {', '.join(sorted(missing))}")
    return result


Table = tuple[str, dict[str, str]]
"""The head of a table, and each row by its name."""


def row(*cells: str) -> str:
    """Return a line of a table."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def head(*cells: str) -> str:
    """Return the first two lines of a table."""
    return row(*cells) + "|---" * len(cells) + "|\n"


# Parameters


def parameters(dotted: str) -> Table:
    """Return a row for each parameter of a class or function, in the order of the signature."""
    subject = named_object(dotted)
    doc = inspect.getdoc(subject) or ""
    texts = {name: " ".join(text.split()) for name, text in PARAM.findall(doc)}
    taken = inspect.signature(subject.__init__ if isinstance(subject, type) else subject).parameters
    if unknown := texts.keys() - taken.keys():
        raise Incomplete(f"the docstring of {dotted} explains {', '.join(unknown)}, which it does not take")
    templates, types_of, rows = getattr(subject, "template_fields", ()), hints(subject), {}
    for name, parameter in taken.items():
        if name == "self" or parameter.kind in PASSED_ON:
            continue
        if name not in texts:
            raise Incomplete(f"the docstring of {dotted} has no :param {name}:")
        if "(templated)" in doc and ("(templated)" in texts[name]) is not (name in templates):
            raise Incomplete(f"{dotted}: '(templated)' and template_fields disagree about {name}")
        text = texts[name].removesuffix("(templated)") + (" *Templated.*" if name in templates else "")
        rows[name] = row(
            f"`{name}`", type_text(types_of[name]), default_text(parameter.default), sentence(text)
        )
    return head("Parameter", "Type", "Default", "Meaning"), rows


def named_object(dotted: str) -> Any:
    """Import the class or function of that name."""
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        raise Incomplete(f"there is no {dotted}") from None


def hints(subject: Any) -> dict[str, Any]:
    """Return the types of the parameters, also those that a module imports for type checkers alone."""
    function = subject.__init__ if isinstance(subject, type) else subject
    module = sys.modules[function.__module__]
    only_typing: dict[str, Any] = {}
    for block in ast.parse(inspect.getsource(module)).body:
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING"):
            exec(ast.unparse(block.body), only_typing)  # noqa: S102 - imports of our own modules
    return typing.get_type_hints(function, {**vars(module), **only_typing})


def type_text(kind: Any) -> str:
    """Write a type as words: each member of a union, each value of a literal."""
    union = typing.get_origin(kind) in {types.UnionType, typing.Union}
    words = [word for part in (typing.get_args(kind) if union else [kind]) for word in one_type(part)]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def one_type(kind: Any) -> list[str]:
    """Write a type that is no union; a literal has several words."""
    if typing.get_origin(kind) is typing.Literal:
        return [f"`{code(value)}`" for value in typing.get_args(kind)]
    if kind is Any:
        return ["any"]
    if kind is type(None):
        return ["`None`"]
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    # What a collection may hold is in the text of its parameter.
    text = re.sub(r"typing\.Literal\[.*?\]", "str", text)
    return ["`" + re.sub(r"(?:[a-z_]+\.)+", "", text) + "`"]


def default_text(value: Any) -> str:
    """Write a default as Python would read it, or as the words that it is a list of."""
    if value is inspect.Parameter.empty:
        return "required"
    if isinstance(value, tuple | list):
        return ", ".join(f"`{each}`" for each in value) or "none"
    return f"`{code(value)}`"


def code(value: Any) -> str:
    """Write a value as the project writes it in code."""
    return f'"{value}"' if isinstance(value, str) else repr(value).removeprefix("datetime.")


def sentence(text: str) -> str:
    """Turn the reST of a docstring into Markdown that begins like a sentence."""
    text = re.sub(r"``(.+?)``", r"`\1`", text)
    text = re.sub(r":[\w:]+:`~(?:\w+\.)*(\w+)`", r"`\1`", text)
    text = re.sub(r":[\w:]+:`(.+?)`", r"`\1`", text)
    text = re.sub(r"`([^`<]+) <(\S+)>`_+", r"[\1](\2)", text)
    return text[:1].upper() + text[1:]


# Layers and modules


def layers(dotted: str) -> Table:
    """Return a row for each package in the contract of layers that pyproject.toml has for this one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (each["layers"] for each in contracts if each.get("containers") == [dotted])
    rooms = [(number, room) for number, layer in enumerate(found, 1) for room in re.findall(r"\w+", layer)]
    folder = ROOT.joinpath(*dotted.split("."))
    rows = {room: row(str(number), f"`{room}`", first_line(folder / room)) for number, room in rooms}
    return head("Layer", "Package", "What it holds"), rows


def modules(dotted: str) -> Table:
    """Return a row for each module that is directly in a package."""
    paths = sorted(ROOT.joinpath(*dotted.split(".")).glob("*.py"))
    names = {path.stem: path.with_suffix("") for path in paths if path.stem != "__init__"}
    rows = {
        name: row(f"`{name}`", first_line(path), ", ".join(f"`{each}`" for each in imported(path)) or "-")
        for name, path in names.items()
    }
    return head("Module", "What it is about", "Imports of the package"), rows


def dotted_name(path: Path) -> str:
    """Return the name of a module or package, as Python spells it."""
    return ".".join(path.relative_to(ROOT).parts)


def source(path: Path) -> str:
    """Return the text of a module or package, whose path is without a suffix."""
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def first_line(path: Path) -> str:
    """Return the first line of the docstring of a module or package."""
    return sentence((ast.get_docstring(ast.parse(source(path))) or "").partition("\n")[0])


def imported(path: Path) -> list[str]:
    """Name what a module imports of other packages of ours: the package, or a module that is in none."""
    found = set()
    for node in ast.walk(ast.parse(source(path))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE.name}."):
            target = ROOT.joinpath(*str(node.module).split("."))
            found.add(target if target.is_dir() or target.parent == PACKAGE else target.parent)
    others = found - {path.parent, path if path.parent == PACKAGE else PACKAGE}
    return sorted(dotted_name(each).removeprefix(f"{PACKAGE.name}.") for each in others)


# Lists that the code holds


def table(name: str) -> Table:
    """Return one of the lists of the sandbox, or of the check, or all metrics."""
    from formant_provider.api.telemetry import METRICS
    from formant_provider.check.questions.catalogue import QUESTIONS
    from formant_provider.sandbox import faults, numbers, webhook_faults

    if name == "metrics":
        metrics = {
            each.name: row(
                f"`{each.name}`", each.kind, ", ".join(f"`{tag}`" for tag in each.tags), each.meaning
            )
            for each in METRICS
        }
        return head("Name", "Kind", "Further tags", "Meaning"), metrics
    if name == "open-questions":
        asked = {each.number: row(str(each.number), each.text, each.how) for each in QUESTIONS}
        return head("Number", "Question", "How it is answered"), {str(n): line for n, line in asked.items()}
    if name == "webhook-faults":
        meanings = webhook_faults.DESCRIPTIONS.items()
        return head("Fault", "What happens"), {each.name: row(f"`{each}`", text) for each, text in meanings}
    if name == "faults":
        rows = {
            fault.name: row(f"`{fault}`", "after" if fault.after else "before", faults.DESCRIPTIONS[fault])
            for fault in faults.Fault
        }
        return head("Fault", "When", "What happens"), rows
    if name != "test-numbers":
        raise Incomplete(f"there is no table of {name}")
    rows = {}
    for each in numbers.table_rows():
        seconds = [f"{each[key]} s" if each[key] else "-" for key in ("lasts_seconds", "duration_seconds")]
        cells = [f"`{each['status']}`", *seconds, str(each["failure_reason"] or "-"), str(each["note"])]
        rows[str(each["ends_in"])] = row(str(each["ends_in"]), *cells)
    return head("Ends in", "Status", "Lasts", "Talk time", "Failure reason", "What happens"), rows


KINDS: dict[str, Callable[[str], Table]] = {
    "parameters": parameters,
    "layers": layers,
    "modules": modules,
    "table": table,
}

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # the pages are of this checkout, whatever is installed
    try:
        # The package brings Airflow, which would make itself a home in ~/airflow.
        with tempfile.TemporaryDirectory(prefix="airflow-docs-") as os.environ["AIRFLOW_HOME"]:
            sys.exit(main(sys.argv[1:]))
    except Incomplete as problem:
        sys.exit(f"generate_docs: {problem}")
