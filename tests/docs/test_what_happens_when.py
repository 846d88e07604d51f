"""The page "What happens when ..." says what the failure matrix holds, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.matrix import RETRIES, ROWS, STORE, Ends, Row

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "what-happens-when.md").read_text()
HEAD = ["What happened", "Calls placed", "The task ends", "Ids downstream", "What you have to do"]
WITH_STORE = "With a call store"
TOPICS = dict.fromkeys(row.topic for row in ROWS)


# What happens to webhooks, and the tests that hold how it ends.
WEBHOOKS = {
    "the receiver is down, and back within five minutes": ["what_was_answered_survives_the_process"],
    "the receiver is down for longer, and the vendor has given up": [
        "what_webhooks_miss_is_found_by_the_safety_poll"
    ],
    "the receiver runs in Airflow's API server, which is killed": [
        "calls_that_end_while_the_receiver_is_dead_end_their_waits"
    ],
    "the triggerer is killed while events come": [
        "calls_that_end_while_the_triggerer_is_dead_end_their_waits"
    ],
    "the database of the store is down when an event comes": ["a_database_that_comes_back_is_used"],
    "the database of the store is down while the task waits": [
        "a_store_that_does_not_answer_leaves_polls_as_before"
    ],
    "the store has committed the event, and the answer is lost": [
        "a_slow_store_is_not_waited_for_longer_than_the_vendor_waits"
    ],
    "an event is delivered twice, or sent by two targets of the agent": [
        "an_event_that_is_delivered_again_is_stored_once",
        "two_targets_that_tell_the_same_are_stored_once",
    ],
    "somebody sends a recorded event again": [
        "a_replay_within_the_tolerance_changes_nothing",
        "the_signed_time_is_within_the_tolerance",
    ],
    "an event is late": [
        "an_event_ends_the_wait_between_two_polls",
        "what_webhooks_miss_is_found_by_the_safety_poll",
    ],
    "an event never comes": ["what_webhooks_miss_is_found_by_the_safety_poll"],
    "the event of a redial comes before that of the attempt before it": [
        "an_older_attempt_that_is_told_later_changes_nothing"
    ],
    "the target has another secret, or a proxy changes the body": [
        "what_is_not_signed_is_refused_in_one_way",
        "a_day_without_an_event_ends_the_trust",
    ],
    "the target is missing at the agent": ["an_agent_that_was_not_heard_from_is_polled_as_before"],
    "a redial is announced and never made": ["a_redial_that_never_comes_is_not_waited_for_without_end"],
    "the person calls in meanwhile": ["a_call_that_came_in_is_nobodys"],
    "the response to the call was lost, and its event comes": [
        "a_lost_receipt_is_confirmed_by_its_event_and_the_list"
    ],
}

# What the calls page shows, likewise.
CALLS_PAGE = {
    "nobody is logged in, or the session has ended": ["logged_out_nothing_is_seen"],
    "the user may not read a DAG": ["calls_of_other_dags_are_not_seen", "who_may_read_no_dag_sees_no_call"],
    "the connection does not exist, or Airflow cannot read it": ["without_a_connection"],
    "the connection names no call store": ["without_a_call_store"],
    "the tables are missing, or those of another version": [
        "with_a_store_without_tables",
        "with_tables_of_an_older_version",
    ],
    "the secret of the connection does not open the store": ["with_another_secret"],
    "the database of the store does not answer": [
        "with_a_store_that_does_not_answer",
        "with_a_store_that_breaks_between_two_looks",
    ],
    "the call store cannot be told how far a list has come": ["a_list_goes_on_where_it_cannot_be_told"],
}
# What happens to call lists, likewise.
LISTS = {
    "the worker is killed at any moment, once or again and again": [
        "a_process_that_dies_at_any_write_costs_nobody_a_call_and_calls_nobody_twice",
        "a_process_that_dies_at_any_send_costs_nobody_a_call_and_calls_nobody_twice",
        "a_list_that_is_killed_again_and_again_calls_everybody_once",
        "a_process_that_dies_at_any_commit_costs_nobody_a_call_and_calls_nobody_twice",
    ],
    "an answer is lost together with the worker": ["an_answer_that_was_lost_with_the_process_is_found"],
    "the worker is killed around a further attempt": ["a_redial_is_placed_once_wherever_the_process_dies"],
    "503, or a connection dropped, after calls were accepted": ["a_list_finds_calls_whose_answers_were_lost"],
    "429, 503 or no connection, for a while": ["a_list_waits_for_an_api_that_accepts_nothing"],
    "the task is cleared": [
        "a_cleared_list_that_has_grown_calls_those_who_were_added",
        "a_list_is_worked_off_over_a_store",
    ],
    "the list has grown, or is in another order": [
        "a_cleared_list_that_has_grown_calls_those_who_were_added",
        "a_list_that_was_reordered_and_grew_is_told_by_the_people",
    ],
    "the list has shrunk": ["who_was_taken_off_the_list_is_not_called"],
    "the weights of `agents` have changed": [
        "shares_that_change_between_two_tries_call_nobody_again",
        "a_call_keeps_its_agent",
    ],
    "an entry of the list in Airflow was deleted": [
        "where_an_entry_was_deleted_everybody_without_a_record_is_in_doubt"
    ],
    "an entry of the list in Airflow cannot be read, or is that of a newer version of this package": [
        "a_head_that_cannot_be_read_aborts",
        "a_chunk_that_cannot_be_read_aborts",
    ],
    "two processes work on one list at once": [
        "a_try_that_was_superseded_sends_nothing_more",
        "a_try_that_was_superseded_is_told_before_it_sends",
    ],
    "the database of the call store does not answer while ends are written": [
        "what_could_not_be_noted_is_kept_for_the_next_write"
    ],
    "the connection names a call store in some tries, and none in others": [
        "what_a_try_without_the_store_has_placed_is_not_placed_again",
        "what_a_try_with_the_store_may_have_placed_is_in_doubt_without_it",
    ],
    "two lists over one call store share people at once": [
        "two_lists_that_share_people_keep_the_cap",
        "whoever_asked_not_to_be_called_is_left_out",
    ],
    "somebody holds the list": [
        "a_held_list_sends_nothing_and_goes_on_when_it_is_not_held",
        "a_variable_holds_within_seconds_and_releases_as_well",
    ],
    "where it may be held cannot be read": [
        "a_store_that_does_not_answer_releases_nobody",
        "before_a_first_answer_a_list_is_held",
    ],
    "calling hours end, or the next attempt is due later": ["closed_hours_give_the_worker_back"],
    "the time of `timeout` is up": [
        "after_its_time_nobody_is_called_until_the_task_is_cleared",
        "a_list_may_return_when_its_time_is_up",
    ],
    "a file of the results cannot be written at the end": [
        "a_file_that_cannot_be_written_at_the_end_loses_no_count_and_calls_nobody_again",
        "a_retry_that_writes_the_file_of_an_expired_list_calls_nobody_further",
    ],
    "the same, below 3.3, when the time of `timeout` is up": [
        "an_expired_list_whose_file_cannot_be_written_is_not_retried_where_nothing_remembers_its_time"
    ],
    "`progress_uri` cannot be written": ["progress_that_cannot_be_written_ends_nothing"],
    "the file of the list is missing when the list goes on": [
        "a_list_whose_file_is_gone_at_a_later_wake_calls_nobody_and_keeps_what_it_knows"
    ],
    "the file of the list is another one, empty or broken when the list goes on": [
        "a_list_whose_file_is_gone_at_a_later_wake_calls_nobody_and_keeps_what_it_knows",
        "a_list_that_is_empty_once_it_has_begun_is_lost_and_not_skipped",
    ],
    "no triggerer runs": ["a_list_that_no_triggerer_wakes_goes_on_when_it_is_cleared"],
    "a `hold_variable` is left on": ["a_list_that_is_held_until_its_time_is_up_says_so"],
    "somebody marks the task, as success or failed, while it is at work": [
        "a_list_that_is_marked_as_success_calls_nobody_further"
    ],
    "somebody deletes the run while it is at work": ["a_list_whose_run_is_deleted_calls_nobody_further"],
    "the API refuses a row": ["a_row_that_is_no_call_stops_no_other"],
    "a proxy answers in place of the API, with 403 or a redirect": [
        "a_refusal_that_passes_closes_no_row",
        "a_refusal_that_all_rows_meet_ends_the_list_and_closes_nobody",
        "a_refusal_that_only_one_row_meets_ends_that_row",
    ],
    "the key is changed": [
        "a_key_that_is_changed_twice_is_taken_up_twice",
        "a_look_before_a_further_attempt_uses_the_key_that_was_changed",
        "a_key_that_stays_refused_in_the_middle_fails_the_task_and_loses_no_call",
    ],
    "the connection cannot be read for a moment": [
        "a_connection_that_cannot_be_read_for_a_moment_holds_up_no_call",
        "a_key_that_is_changed_while_the_connection_cannot_be_read_is_waited_for",
    ],
}

# What happens to parts of a cluster, likewise.
CLUSTER = {
    "a worker is killed between acceptance and receipt": [
        "a_worker_killed_between_acceptance_and_receipt_calls_nobody_again"
    ],
    "a worker is killed while it calls a list": ["a_worker_killed_while_a_list_is_called_calls_nobody_again"],
    "a message is delivered twice, and its task still runs": [
        "a_message_delivered_twice_while_its_task_runs_starts_nothing"
    ],
    "a process is suspended, and resumed beside the next try": [
        "a_process_that_is_suspended_and_resumed_calls_nobody_again"
    ],
    "a triggerer is killed": ["two_hundred_waits_survive_a_triggerer_that_is_killed"],
    "a triggerer is suspended, and resumed": ["waits_survive_a_triggerer_that_is_suspended_and_resumed"],
    "a deferred task of a mapped list is cleared": [
        "deferred_tasks_that_are_cleared_wait_for_the_same_calls"
    ],
    "Redis is down, and has lost all messages": ["everybody_is_called_once_while_redis_is_away"],
    "Airflow's own database is down": ["everybody_is_called_once_while_the_database_of_airflow_is_away"],
    "the API server is down": ["everybody_is_called_once_while_the_api_server_is_away"],
}

# What makes a call another one, likewise.
ANOTHER = {
    "parameters of the call": ["other_parameters_are_no_other_call"],
    "the reference": ["another_reference_is_no_other_call"],
    "the agent": ["another_agent_is_another_call_but_not_in_a_list"],
    "the number": ["a_corrected_number_is_called"],
    "the id of the task or the DAG": [
        "a_renamed_task_places_other_calls_unless_they_have_names_of_their_own"
    ],
    "the run was deleted, and there is a new one of the same id, within 24 hours": [
        "a_run_that_is_deleted_and_made_anew_calls_nobody_again_within_a_day",
        "a_list_of_a_run_that_is_deleted_and_made_anew_calls_nobody_again_within_a_day",
    ],
    "the run was deleted, and there is a new one of the same id, later": [
        "a_run_that_is_deleted_and_made_anew_calls_again_after_a_day",
        "a_run_that_is_deleted_and_made_anew_calls_nobody_again_with_a_call_store",
    ],
    "a run of another id is started, by schedule or by hand": ["another_run_is_another_call"],
    "`dry_run` was left on": ["a_dry_run_asks_the_vendor_nothing", "a_dry_run_calls_nobody"],
}

# What happens to transcription jobs, likewise.
JOBS = {
    "5xx, a lost connection or an unreadable response to the upload": [
        "a_job_whose_answer_is_lost_is_parked"
    ],
    "the same, with `resubmit_if_unconfirmed=True`": ["a_wish_to_submit_again_is_granted"],
    "429 for a while": ["a_limit_is_no_doubt"],
    "429 for the whole first try, or no connection": [
        "a_limit_that_lasts_is_left_to_the_next_try",
        "below_3_3_a_further_try_is_parked",
    ],
    "the audio does not exist yet": ["audio_that_is_not_there_is_looked_for_again"],
    "the worker is killed before the upload": ["a_worker_killed_before_the_send_leaves_no_doubt"],
    "the worker is killed between the upload and its response": [
        "a_worker_killed_between_accept_and_receipt_leaves_a_doubt"
    ],
    "the worker is killed, or the triggerer, while the task waits": [
        "a_clear_of_a_deferred_task_waits_for_the_same_job"
    ],
    "cleared after success, or while it is deferred": ["a_clear_after_success_submits_nothing"],
    "Airflow has forgotten the task's state, and the file at `output_uri` is there": [
        "the_result_of_an_earlier_try_is_a_witness"
    ],
    "a mapped list is cleared in another order": ["a_cleared_list_in_another_order_submits_nothing"],
    "the gate of a loop is cleared": ["a_clear_of_a_loop_s_gate_submits_no_audio_again"],
    "a mapped list has another order when its rows go on after the wait": [
        "a_list_that_changes_while_its_rows_wait_mixes_up_no_results"
    ],
    "404, 5xx, 429 or no connection while the task waits": ["errors_while_waiting_end_no_wait"],
    "the key is refused while the task waits": ["a_key_that_is_refused_ends_the_wait_and_not_the_job"],
    "the job has failed": ["a_job_that_has_failed_fails_the_task"],
    "the job has a status that nobody knows, or takes too long": [
        "a_status_that_nobody_knows_is_no_success",
        "a_job_that_takes_too_long_is_waited_for_after_a_clear",
    ],
}

# The tables besides those of the matrix, as they come on the page, and their heads.
OTHERS = [
    ("A cluster", ["What happened", "What the tasks do"], CLUSTER),
    ("Another call", ["What has changed", "One call, or a row of a mapped task", "A call list"], ANOTHER),
    ("Webhooks", ["What happened", "The receiver answers", "The waiting task"], WEBHOOKS),
    ("Call lists", ["What happened", "What the list does"], LISTS),
    ("Transcription jobs", ["What happened", "Jobs", "The task"], JOBS),
    ("The calls page", ["What happened", "What the page shows"], CALLS_PAGE),
]


def lines_of(row: Row) -> Iterator[list[str]]:
    """What the page says of a row: more lines where it differs by what a failed request does to its key."""
    kept, used = (cells_of(row.ends(key_used=key_used)) for key_used in (False, True))
    in_list = cells_of(row.ends(key_used=True, mapped=True))
    stored, stored_used = (in_short(row.ends(key_used=key_used, stored=True)) for key_used in (False, True))
    if row.topic == STORE:
        yield [row.name, *kept]
        return
    if (kept, stored) == (used, stored_used) and kept == in_list:
        yield [row.name, *kept, stored]
        return
    yield [f"{row.name}; **the key is kept**", *kept, stored]
    yield [f"{row.name}; **the key is used**", *used, stored_used]
    if in_list != used:
        yield [f"{row.name}, in a mapped task; **the key is used**", *in_list, stored_used]


def in_short(ends: Ends) -> str:
    """The end and the ids, in one cell."""
    if not ends.placement:
        return f"{'one' if ends.rings else 'no'} call, `failed`"
    words = " or ".join(f"`{word}`" for word in ends.placement)
    ids = {"yes": "with its ids", "`None`": "without ids"}.get(
        ids_of(ends), "without ids while `unconfirmed`"
    )
    return f"{'one' if ends.rings else 'no'} call, {words}, {ids}"


def cells_of(ends: Ends) -> list[str]:
    state = ", ".join([f"`{ends.state}`", " or ".join(f"`{word}`" for word in ends.placement)])
    return ["one" if ends.rings else "none", state.removesuffix(", "), ids_of(ends), ends.todo]


def ids_of(ends: Ends) -> str:
    if "unconfirmed" not in ends.placement:
        return "yes" if ends.placement else "none, and nothing downstream runs"
    return "`None`" if len(ends.placement) == 1 else "yes, or `None` while `unconfirmed`"


def table_under(topic: str) -> list[list[str]]:
    """The table under a heading of the page, its head first."""
    section = re.split(r"^## ", PAGE.split(f"\n## {topic}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line.strip("| \n").split(" | ") for line in section.splitlines() if line.startswith("|")]
    return [row for row in rows if not set(row[0]) <= set("-|")]


def test_every_topic_of_the_matrix_is_a_heading() -> None:
    """The page has the topics of the matrix for headings, between what the words mean and the last ones."""
    headings = ["The words", *TOPICS, *(topic for topic, _, _ in OTHERS)]
    assert re.findall(r"^## (.+)$", PAGE, re.MULTILINE) == headings


@pytest.mark.parametrize("topic", TOPICS)
def test_the_page_says_what_the_matrix_holds(topic: str) -> None:
    """Each table has the rows of its topic, all of them and none besides, cell by cell."""
    wanted = [line for row in ROWS if row.topic == topic for line in lines_of(row)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in wanted)
    head = HEAD if topic == STORE else [*HEAD, WITH_STORE]
    assert table_under(topic) == [head, *wanted], f"the table should be:\n{text}"


@pytest.mark.parametrize(
    ("topic", "head", "held"),
    OTHERS,
    ids=[topic for topic, _, _ in OTHERS],
)
def test_each_line_of_the_last_tables_has_a_test(
    topic: str, head: list[str], held: dict[str, list[str]]
) -> None:
    """The table has the rows that tests hold, and each of these tests exists."""
    shown, *rows = table_under(topic)
    assert shown == [*head, "What you have to do"]
    assert [row[0] for row in rows] == list(held)
    tests = "\n".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    for names in held.values():
        assert names
        assert all(f"\ndef test_{name}(" in tests for name in names), names


def test_the_words_of_the_page_are_those_of_the_code() -> None:
    """The page explains each word that a placement can be, and quotes limits as they are."""
    import inspect

    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.calls.placement import Result
    from formant_provider.operators.call import FormantCreateCallOperator

    words = PAGE.split("\n## The words\n")[1].split("\n## ")[0]
    assert re.findall(r"^- `(\w+)`", words, re.MULTILINE) == [result.value for result in Result]
    lookup = inspect.signature(FormantCreateCallOperator).parameters["lookup_timeout"].default
    assert f"{lookup} seconds" in words
    assert f"`retries={RETRIES}`" in PAGE
    assert RetryPolicy().max_attempts == 4
    assert "four requests with one key" in PAGE
