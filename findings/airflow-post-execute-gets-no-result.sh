#!/bin/sh
# apache-airflow 3.3.2: an operator's own post_execute() is never given the result of execute().
#
# BaseOperator.post_execute(self, context, result=None) is documented as "called right after self.execute() is called", is
# "passed the execution context and any results returned by the operator", and operators override it. The task runner calls an
# override with the context alone, so result is always None. A function that is passed to any task as post_execute= gets the
# result. An operator that reports what it has done from there (to an asset's event, a ledger) reports nothing, and nothing
# fails. Seen: execute() returned 42; the function got 42, the method None. The lines are the same in 3.1.8 and 3.4.0b2.
# It is known: https://github.com/apache/airflow/issues/73471 is open.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 apache-airflow-task-sdk==1.3.2
mkdir "$folder/dags"
cat >"$folder/dags/results.py" <<'PYTHON'
import json
import os

from airflow.sdk import DAG, BaseOperator


def note(who, result):
    with open(os.environ["SEEN"], "a") as file:
        file.write(json.dumps([who, result]) + "\n")


class Answering(BaseOperator):
    def execute(self, context):
        return 42

    def post_execute(self, context, result=None):
        note("method", result)


with DAG("results", schedule=None) as dag:
    Answering(task_id="answer", post_execute=lambda context, result=None: note("function", result))
PYTHON
cat >"$folder/run.py" <<'PYTHON'
import json
import os
import sys

sys.path.insert(0, os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
from airflow.sdk import BaseOperator
from airflow.utils.db import initdb

initdb()
from results import dag

state = dag.test().state
seen = dict(map(json.loads, open(os.environ["SEEN"])))
said = " ".join(BaseOperator.post_execute.__doc__.split())
print(f"the docstring: {said}")
print(f"the run: {state}; result of execute(): 42; got: {seen}")
assert str(state) == "success", "it fails for another reason"
assert seen == {"function": 42, "method": None}, "it has changed"
PYTHON
cd "$folder"
AIRFLOW_HOME="$folder" AIRFLOW__CORE__DAGS_FOLDER="$folder/dags" AIRFLOW__CORE__LOAD_EXAMPLES=False SEEN="$folder/seen" \
  "$folder/venv/bin/python" run.py 2>"$folder/log" || { tail -n 30 "$folder/log" >&2; exit 1; }
