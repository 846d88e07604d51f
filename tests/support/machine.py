"""A state machine over the whole of placing: runs, retries, clears, faults, deaths, clocks and other people.

Each rule does one thing that happens in real life; after each the sandbox is compared with a plain model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from formant_provider.operators.batch import FormantCreateBatchCallOperator
from formant_provider.operators.call import FormantCreateCallOperator
from formant_provider.sandbox import Fault
from formant_provider.sandbox.faults import BATCH, BATCHES, CALL, DETAIL, LIST
from support.machine_model import PERSON_OF, PERSONS, Model, Run
from support.machine_world import Died, Interruption, MachineWorld
from support.task_run import make_dag, run_task

FIRED: Counter[str] = Counter()
"""How often each rule, fault, interruption and setting took effect, over all machines of this process."""

LEDGERS = ("none", "task state", "call store")
RETRIES = 3
MAX_ROWS = 4
ENDPOINTS = (CALL, LIST, DETAIL, BATCH, BATCHES)
HANGS = (Fault.HANG_BEFORE, Fault.HANG_AFTER)
# An index into what there is, whatever that is by then.
picks = st.integers(0, 11)
spelled = st.sampled_from([spelling for spellings in PERSONS.values() for spelling in spellings])
persons = st.sampled_from(list(PERSONS))
lists = st.lists(spelled, min_size=1, max_size=3)
contacts = st.lists(persons, min_size=1, max_size=2, unique=True)
run_types = st.sampled_from(["manual", "scheduled"])
batches = st.lists(
    st.tuples(st.sampled_from(["Delhi", "Mumbai", "Agra"]), contacts),
    min_size=1,
    max_size=2,
    unique_by=lambda row: row[0],
)
sandboxes = st.fixed_dictionaries(
    {
        "failed_request_uses_key": st.booleans(),
        "record_appears": st.sampled_from(["end", "start"]),
        "trace_id_in_list": st.booleans(),
        "redial_trace_id": st.sampled_from(["same", "new"]),
        "platform_redials": st.sampled_from([0, 0, 1]),
        "list_order": st.sampled_from(["newest_first", "oldest_first", "newest_end_first", "unordered"]),
        "list_numbers": st.sampled_from(["full", "full", "masked", "none"]),
        "times_in_detail": st.booleans(),
        "batch_list_lag_reads": st.sampled_from([0, 0, 1, 3]),
    }
)
call_options = st.fixed_dictionaries(
    {
        "redial_on": st.sampled_from([(), (), ("no_answer", "busy")]),
        "wait_for_completion": st.booleans(),
        "deferrable": st.booleans(),
        "scheduled_in_s": st.sampled_from([None, None, None, 7200]),
    }
)


def faults_of(endpoint: str) -> list[Fault]:
    """The kinds of fault that fit an endpoint; those of recordings apart."""
    return [fault for fault in Fault if endpoint in fault.endpoints and fault is not Fault.TRUNCATED]


def errors_of(endpoint: str) -> st.SearchStrategy[Any]:
    """Nothing, or a fault that meets the first sends of a new run: once, or as often as a try sends."""
    kinds = [fault for fault in faults_of(endpoint) if fault not in HANGS]
    unread = st.just((DETAIL, Fault.NOT_FOUND, 1))  # waits for the first look
    return st.none() | unread | st.tuples(st.just(endpoint), st.sampled_from(kinds), st.sampled_from([1, 4]))


faults = st.sampled_from([(endpoint, fault) for endpoint in ENDPOINTS for fault in faults_of(endpoint)])


class PlacingMachine(RuleBasedStateMachine):
    """The rules. A row's try is a whole run of Airflow's task runner."""

    @initialize(
        settings=sandboxes,
        skew_s=st.sampled_from([0, 0, -90, 300]),
        ledger=st.sampled_from(LEDGERS),
        has_task_state=st.booleans(),
    )
    def begin(self, settings: dict[str, Any], skew_s: float, ledger: str, has_task_state: bool) -> None:
        self.world = MachineWorld(skew_s, settings, has_call_store=ledger == "call store")
        self.ledger = ledger
        # A call store works with every Airflow.
        self.has_task_state = ledger == "task state" or (ledger == "call store" and has_task_state)
        self.model = Model(self.world.sandbox, FIRED)
        self.armed: Any = None
        FIRED[f"ledger {ledger}"] += 1
        FIRED.update(f"{name}={value}" for name, value in settings.items())

    @invariant()
    def nothing_went_unnoticed(self) -> None:
        """Every ring in the sandbox was compared with the model."""
        if hasattr(self, "model"):
            FIRED["steps"] += 1
            self.model.nothing_unnoticed()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            for request in self.world.sandbox.requests:
                if request.fault:
                    FIRED[f"fault {request.fault} at {request.method} {self._endpoint(request.path)}"] += 1
            FIRED["platform redialled"] += len(self.world.sandbox.redials)
            self.world.close()

    @staticmethod
    def _endpoint(path: str) -> str:
        return "/".join("{id}" if any(c.isdigit() for c in part[2:]) else part for part in path.split("/"))

    # What a user and Airflow do.

    @rule(person=spelled, options=call_options, run_type=run_types, error=errors_of(CALL))
    def new_call(self, person: str, options: dict[str, Any], run_type: str, error: Any) -> None:
        self._meet(error)
        self._begin_run([person], options, run_type, is_mapped=False, is_batch=False)

    @rule(people=lists, options=call_options, run_type=run_types, error=errors_of(CALL))
    def new_mapped_calls(self, people: list[str], options: dict[str, Any], run_type: str, error: Any) -> None:
        self._meet(error)
        self._begin_run(people, options, run_type, is_mapped=True, is_batch=False)

    @rule(rows=batches, error=errors_of(BATCH))
    def new_batch(self, rows: list[Any], error: Any) -> None:
        self._meet(error)
        self._begin_run(rows[:1], {}, "manual", is_mapped=False, is_batch=True)

    @rule(rows=batches, error=errors_of(BATCH))
    def new_mapped_batches(self, rows: list[Any], error: Any) -> None:
        self._meet(error)
        self._begin_run(rows, {}, "manual", is_mapped=True, is_batch=True)

    @precondition(lambda self: self._failed())
    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        failed = self._failed()
        run, index = failed[pick % len(failed)]
        FIRED["retry"] += 1
        self._try(run, index)

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks)
    def clear(self, pick: int) -> None:
        FIRED["clear"] += 1
        self._clear(self._run(pick))

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks)
    def clear_as_airflow_3_4(self, pick: int) -> None:
        run = self._run(pick)
        FIRED["clear, state dropped"] += 1
        for index in run.indexes:
            self._forget(run, index)
        self._clear(run)

    @precondition(lambda self: self.model.runs)
    @rule(pick=picks, row=picks)
    def delete_state_entry(self, pick: int, row: int) -> None:
        run = self._run(pick)
        self._forget(run, run.indexes[row % len(run.indexes)])
        FIRED["state entry deleted"] += 1

    @precondition(lambda self: self._mapped())
    @rule(pick=picks, person=spelled, front=st.booleans())
    def list_grows(self, pick: int, person: str, front: bool) -> None:
        run = self._mapped()[pick % len(self._mapped())]
        names = {name for name, _ in run.rows} if run.is_batch else set()
        free = [name for name in ("Delhi", "Mumbai", "Agra") if name not in names]
        if len(run.rows) >= MAX_ROWS or not free:
            return
        row: Any = (free[0], [next(iter(PERSONS))]) if run.is_batch else person
        run.rows.insert(0 if front else len(run.rows), row)
        FIRED["list grew"] += 1
        self._clear(run)

    @precondition(lambda self: self._mapped())
    @rule(pick=picks)
    def list_shrinks(self, pick: int) -> None:
        self._change_list(pick, "list shrank", lambda rows: rows[1:])

    @precondition(lambda self: self._mapped())
    @rule(pick=picks)
    def list_is_reordered(self, pick: int) -> None:
        self._change_list(pick, "list reordered", lambda rows: [*rows[1:], rows[0]])

    # What goes wrong in the next try.

    @rule(where=faults, times=st.sampled_from([1, 1, 2, 4]), retry_after=st.sampled_from([1, 20, 90, 3600]))
    def fault(self, where: tuple[str, Fault], times: int, retry_after: int) -> None:
        endpoint, kind = where
        more: dict[str, Any] = {}
        if kind in (Fault.RATE_LIMIT, Fault.RATE_LIMIT_RESET_ONLY):
            more = {"retry_after": retry_after}
        elif kind in HANGS:
            times, more = 1, {"seconds": 0.6}
        self.world.sandbox.inject(endpoint, kind, times=times, **more)

    @rule(at=st.integers(1, 9), before=st.booleans())
    def kill(self, at: int, before: bool) -> None:
        """The next try is killed at its n-th step."""
        self.armed = ("kill", at, before)

    @rule(at=st.integers(1, 7), before=st.booleans())
    def overtake(self, at: int, before: bool) -> None:
        """During the next try a newer one begins and ends; then the older, stale one continues."""
        self.armed = ("overtaken", at, before)

    # What the world does meanwhile.

    @rule(seconds=st.sampled_from([5, 45, 200, 600, 3600, 86400, 90000]))
    def time_passes(self, seconds: int) -> None:
        self.world.lapse(seconds)
        FIRED[f"{seconds} s pass"] += 1

    @rule(person=persons)
    def others_call(self, person: str) -> None:
        """Another task, DAG or system calls the same person, half a minute away from anything of ours."""
        self.world.lapse(31)
        self.world.sandbox.place(person)
        self.model.somebody_else(person)
        self.world.lapse(31)
        FIRED["others called"] += 1

    @rule(person=persons)
    def inbound_call(self, person: str) -> None:
        self.world.lapse(31)
        self.world.sandbox.receive(person)
        self.model.somebody_else(person)
        self.world.lapse(31)
        FIRED["inbound call"] += 1

    # How it is done.

    def _meet(self, error: tuple[str, Fault, int] | None) -> None:
        if error is not None:
            endpoint, kind, times = error
            self.world.sandbox.inject(endpoint, kind, times=times)

    def _begin_run(
        self, rows: list[Any], options: dict[str, Any], run_type: str, *, is_mapped: bool, is_batch: bool
    ) -> None:
        self.world.lapse(31)
        now = self.world.now()
        chosen = dict(options)
        seconds = chosen.pop("scheduled_in_s", None)
        if seconds is not None:
            chosen["scheduled_for"] = (now + timedelta(seconds=seconds)).isoformat()
        if self.ledger == "none":
            chosen.pop("redial_on", None)
        elif chosen.get("redial_on"):
            chosen["wait_for_completion"] = True
        name = f"run_{len(self.model.runs)}"
        run = Run(name, is_batch, is_mapped, list(rows), chosen, now, run_type, self.ledger, now)
        self.model.runs.append(run)
        kind = ("mapped " if is_mapped else "") + ("batch call" if is_batch else "call")
        FIRED[f"new {kind}"] += 1
        FIRED.update(f"option {name}" for name, value in chosen.items() if value)
        for index in run.indexes:
            self._try(run, index)

    def _change_list(self, pick: int, name: str, change: Callable[[list[Any]], list[Any]]) -> None:
        run = self._mapped()[pick % len(self._mapped())]
        if len(run.rows) >= 2:
            run.rows = change(run.rows)
            FIRED[name] += 1
            self._clear(run)

    def _clear(self, run: Run) -> None:
        run.started = self.world.now()
        for index in run.indexes:
            self._try(run, index)

    def _try(self, run: Run, index: int) -> None:
        """One try of one row, to its end, in a process of its own; resumed as often as it is deferred."""
        run.tries[index] += 1
        interruption, self.armed = self._interruption(run, index), None
        provable, receipted = self.model.is_provable(run, index), self._receipted(run, index)
        result = self._process(run, index, interruption)
        while result is not None and result.state == "deferred":
            result = self._resume(run, index, result)
        if interruption is not None and interruption.where:
            FIRED[interruption.where] += 1
        if result is None:  # killed
            run.states[index] = "up_for_retry"
            return
        run.states[index] = result.state
        FIRED[f"state {result.state}"] += 1
        provable = provable and self.model.is_provable(run, index)
        self.model.judge(run, index, result, provable=provable, receipted=receipted)

    def _receipted(self, run: Run, index: int) -> str | None:
        """The trace id of a row's call, if the call store holds its receipt."""
        if run.is_batch:
            return None
        return self.world.receipt(run.run_id, PERSON_OF[run.row(index)])

    def _process(self, run: Run, index: int, interruption: Any, **resumption: Any) -> Any:
        started = run.tries[index]
        result, attempt = None, self._attempt(run, index)
        with self.world.steps.process(interruption), suppress(Died):
            result = run_task(self._operator(run), self.world.airflow, **attempt, **resumption)
        self.model.notice(run)
        if result is None or isinstance(result.error, Died):
            FIRED["killed"] += 1
            return None
        if started != run.tries[index]:
            FIRED["overtaken"] += 1
            return None
        return result

    def _resume(self, run: Run, index: int, result: Any) -> Any:
        FIRED["deferred"] += 1
        kwargs = result.trigger_kwargs
        if "until" in kwargs:  # the rate limit
            self.world.lapse((datetime.fromisoformat(kwargs["until"]) - self.world.now()).total_seconds() + 1)
            event = {name: kwargs.get(name) for name in kwargs if name != "until"}
            return self._process(run, index, None, resume_event=event)
        # The wait for a conversation goes on in the triggerer, which the tests of waiting hold.
        return None

    def _interruption(self, run: Run, index: int) -> Interruption | None:
        if self.armed is None:
            return None
        kind, at, before = self.armed

        def act() -> None:
            if kind == "kill":
                raise Died
            self._try(run, index)  # a newer one

        return Interruption(at, before, act)

    def _attempt(self, run: Run, index: int) -> dict[str, Any]:
        return {
            "run_id": run.run_id,
            "try_number": run.tries[index],
            "map_index": index,
            "max_tries": run.tries[index] + RETRIES,
            "logical_date": run.began,
            "run_type": run.run_type,
            "run_started_at": run.started,
            "state_store": self.has_task_state,
        }

    def _operator(self, run: Run) -> Any:
        kind: Any = FormantCreateBatchCallOperator if run.is_batch else FormantCreateCallOperator
        fields = [self._fields(row) for row in run.rows]
        common = {"task_id": "call", "agent_id": 456, "retries": RETRIES, **run.options}
        if run.options.get("wait_for_completion"):
            common |= {"poll_interval": 300, "timeout": 1200}  # a few looks tell as much as many
        with make_dag():
            if run.is_mapped:
                return kind.partial(**common).expand_kwargs(fields)
            return kind(**common, **fields[0])

    @staticmethod
    def _fields(row: Any) -> dict[str, Any]:
        if isinstance(row, str):
            return {"parameters": {"customer_phone": row}}
        name, people = row
        return {"name": name, "contacts": [{"customer_phone": person} for person in people]}

    def _forget(self, run: Run, index: int) -> None:
        for task in list(self.world.airflow.state):
            if (task.run_id, task.map_index) == (run.run_id, index):
                del self.world.airflow.state[task]
        run.state_lost.add(index)

    def _failed(self) -> list[tuple[Run, int]]:
        runs = self.model.runs
        return [(r, i) for r in runs for i in r.indexes if r.states.get(i) == "up_for_retry"]

    def _mapped(self) -> list[Run]:
        return [run for run in self.model.runs if run.is_mapped]

    def _run(self, pick: int) -> Run:
        return self.model.runs[pick % len(self.model.runs)]
