#!/bin/sh
# apache-airflow-providers-common-ai 1.0.0: a hook method that returns an iterator gives a model "<generator object ...>".
#
# HookToolset makes tools of a hook's methods, and turns what they return into JSON for the model. Many hooks have methods that
# read lists lazily. Such a method is taken as a tool without a word; its result is written with str(), so the model is told
# "<generator object ...>", as if that were the list. The iterator is never read: no request leaves, and the run succeeds. A
# method that returns the same rows as a list gives the model the rows.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index. The model is a function; no
# server runs.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 apache-airflow-providers-common-ai==1.0.0 pydantic-ai-slim==2.68.0
AIRFLOW_HOME="$folder" "$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { tail "$folder/log" >&2; exit 1; }
from collections.abc import Iterator

from airflow.providers.common.ai.toolsets.hook import HookToolset
from airflow.sdk import BaseHook
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel


class ListHook(BaseHook):
    """Reads a list, at once or lazily."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def all_rows(self) -> list[int]:
        """Return all rows."""
        return list(self.iter_rows())

    def iter_rows(self) -> Iterator[int]:
        """Iterate over all rows."""
        self.reads += 1
        yield from (1, 2, 3)


def seen_by_a_model(method: str) -> tuple[str, int]:
    def answer(messages, info):
        returned = [part.content for part in messages[-1].parts if isinstance(part, ToolReturnPart)]
        return ModelResponse([TextPart(returned[0]) if returned else ToolCallPart(method, {})])

    hook = ListHook()
    agent = Agent(FunctionModel(answer), toolsets=[HookToolset(hook, allowed_methods=[method])])
    return agent.run_sync("Read the rows.").output, hook.reads


as_list, as_iterator = seen_by_a_model("all_rows"), seen_by_a_model("iter_rows")
print(f"a list: the model sees {as_list[0]}, and the list was read {as_list[1]} time(s)")
print(f"an iterator: the model sees {as_iterator[0]}, and the list was read {as_iterator[1]} time(s)")
assert as_list == ("[1, 2, 3]", 1), "this has changed"
assert "<generator object" in as_iterator[0] and as_iterator[1] == 0, "this has changed"
PYTHON
