#!/bin/sh
# Airflow 3.3.2: a gate inside a mapped task group lets the rows through that it turns away.
#
# A short circuit that returns False, or a branch that chooses nothing, skips the tasks behind it. In a mapped task group
# (`group.expand(row=[1, 2, 3])`) the task behind it runs for every row all the same, and the run is a success: nothing is
# logged as wrong. A task that raises AirflowSkipException in the row's own task does skip that row. So a group that
# calls people must not use a short circuit or a branch to leave somebody out. Reported as apache/airflow#67265.
# Seen with apache-airflow 3.3.2 and apache-airflow-providers-standard 1.21.0, of three rows of which the second is turned away:
#   short circuit: success success success
#   branch: success success success
#   skip: success skipped success
#
# Prints what it saw; fails if that has changed. Needs python3.11 with venv, a package index, and some minutes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 apache-airflow-core==3.3.2 apache-airflow-task-sdk==1.3.2 \
    apache-airflow-providers-standard==1.21.0
mkdir "$folder/dags"
cat > "$folder/dags/gates.py" <<'PYTHON'
from airflow.sdk import DAG, task, task_group
from airflow.sdk.exceptions import AirflowSkipException


def called_for_each(name, gate):
    @task_group(group_id=name)
    def per_row(row):
        @task
        def call(row):
            return row

        gate(row) >> call(row)

    per_row.expand(row=[1, 2, 3])


with DAG("gates", schedule=None):

    @task.short_circuit(task_id="gate")
    def circuit(row):
        return row != 2

    @task.branch(task_id="gate")
    def branch(row):
        return None if row == 2 else "branch.call"

    @task(task_id="gate")
    def skip(row):
        if row == 2:
            raise AirflowSkipException

    called_for_each("circuit", circuit)
    called_for_each("branch", branch)
    called_for_each("skip", skip)
PYTHON
cat > "$folder/run.py" <<'PYTHON'
from airflow.dag_processing.dagbag import DagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import select
import sys

initdb()
DagBag(sys.argv[1], bundle_path=sys.argv[1], bundle_name="dags-folder").dags["gates"].test()
with create_session() as session:
    rows = session.scalars(select(TaskInstance).order_by(TaskInstance.map_index)).all()
    for name in ("circuit", "branch", "skip"):
        print("SEEN", name, *(row.state for row in rows if row.task_id == f"{name}.call"))
PYTHON
cd "$folder"
AIRFLOW_HOME="$folder" AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER="$folder/dags" \
    "$folder/venv/bin/python" run.py "$folder/dags" >"$folder/out" 2>"$folder/log" || { tail "$folder/log" >&2; exit 1; }
seen=$(sed -n 's/^SEEN //p' "$folder/out")
echo "$seen"
[ "$seen" = "circuit success success success
branch success success success
skip success skipped success" ] || { echo "it has changed" >&2; exit 1; }
