"""The hook: reads the Airflow connection (server, key, timeouts) and makes clients for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseHook

from formant_provider.hooks.methods.calls import RequestMethods
from formant_provider.hooks.methods.transcription import TranscriptionMethods
from formant_provider.hooks.telemetry.measuring import AirflowTelemetry
from formant_provider.provider_info import CONN_FIELDS, CONNECTION_TYPE, HOOK_NAME, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from formant_provider.api.client import FormantClient
    from formant_provider.api.config import ClientConfig
    from formant_provider.api.fingerprints import Fingerprints
    from formant_provider.api.retry import RetryPolicy
    from formant_provider.core.polling.news import News
    from formant_provider.store.store import Store


log = logging.getLogger(__name__)


class FormantHook(RequestMethods, TranscriptionMethods, BaseHook):
    """Sends requests to the FormantAI Voice API, set up from an Airflow connection.

    Most methods send one request. ``get_conn`` returns the client itself, for more than one.

    Vendor page: https://docs.formantai.com/authentication

    :param formant_conn_id: connection of type ``formant``: the API key in ``password``, ``region`` in the
        extra, optionally a base URL in ``host`` and ``connect_timeout`` and ``read_timeout`` (seconds) in
        the extra, which may name a call store as well.
    :param region: ``"global"`` or ``"in"``; ``None`` means the connection's. A base URL in the connection's
        ``host`` overrides both.
    """

    conn_name_attr = "formant_conn_id"
    default_conn_name = "formant_default"
    conn_type = CONNECTION_TYPE
    hook_name = HOOK_NAME

    def __init__(self, formant_conn_id: str = default_conn_name, region: str | None = None) -> None:
        super().__init__()
        self.formant_conn_id = formant_conn_id
        self.region = region
        self._with_store = True
        self._config: ClientConfig | None = None
        self._telemetry: AirflowTelemetry | None = None

    @property
    def telemetry(self) -> AirflowTelemetry:
        """What counts and traces for this connection. Made where it is first asked for."""
        if self._telemetry is None:
            self._telemetry = AirflowTelemetry(self.formant_conn_id)
        return self._telemetry

    @property
    def address(self) -> str:
        """The connection and, once it was read, the server, in words for people."""
        server = f", {self._config.base_url}" if self._config else ""
        return f"connection {self.formant_conn_id!r}{server}"

    def get_conn(self, retry_policy: RetryPolicy | None = None) -> FormantClient:
        """Return a client. It holds open connections until closed; use it in a ``with`` statement.

        :param retry_policy: how often and how long the client repeats a request; ``None`` means four sends
            within a minute.
        :raises InvalidInput: a field of the connection is missing or wrong; the error names it.
        """
        return _client(self.get_config(), retry_policy, self.telemetry)

    async def aget_conn(self, retry_policy: RetryPolicy | None = None) -> FormantClient:
        """Return a client without blocking the event loop. The client itself blocks: use it in a thread.

        :param retry_policy: as in :meth:`get_conn`.
        :raises InvalidInput: as in :meth:`get_conn`.
        """
        from airflow.providers.common.compat.connection import get_async_connection

        self._config = self._read(await get_async_connection(self.formant_conn_id))
        return await asyncio.to_thread(_client, self._config, retry_policy, self.telemetry)

    def get_news(self) -> News | None:
        """Return what webhooks have brought of calls; ``None`` when the connection names no call store.

        What hinders it is said when it is asked: nothing that waits ends for that.
        """
        config = self.get_config().store
        if config is None:
            return None
        try:
            from formant_provider.store.opening import opener
            from formant_provider.store.webhook_news import WebhookNews

            return WebhookNews(opener(config))
        except Exception as error:  # a secrets backend may raise anything
            return _unanswered(error)

    async def aget_news(self) -> News | None:
        """Return the same for the connection as :meth:`aget_conn` has read it, without blocking."""
        config = self._config.store if self._config else None
        if config is None:
            return None
        try:
            from formant_provider.store.opening import async_opener
            from formant_provider.store.webhook_news import WebhookNews

            return WebhookNews(await async_opener(config))
        except Exception as error:  # as above
            return _unanswered(error)

    @staticmethod
    def lasting_errors() -> tuple[type[Exception], ...]:
        """Return the errors of reading a connection that may stay: there is none, or it cannot be used."""
        from airflow.providers.common.compat.sdk import AirflowNotFoundException

        from formant_provider.api.errors import InvalidInput

        return InvalidInput, AirflowNotFoundException

    def get_config(self) -> ClientConfig:
        """Read and check the connection, once for each hook, without sending anything.

        :raises InvalidInput: a field of the connection is missing or wrong; the error names it.
        """
        if self._config is None:
            self._config = self._read(self.get_connection(self.formant_conn_id))
            _ = self.telemetry  # in the thread of the task, to whose span those of calls belong
        return self._config

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was read of the connection: a pickled hook holds no key."""
        return {**vars(self), "_config": None, "_telemetry": None}

    def reread(self) -> FormantHook:
        """Read the connection anew, so that a long wait notices a changed key.

        :raises Exception: it cannot be read now. What was read before stays in use.
        """
        self._config = self._read(self.get_connection(self.formant_conn_id))
        return self

    def without_store(self) -> FormantHook:
        """Return a hook for the same connection that takes no notice of what it says of a call store."""
        other = FormantHook(self.formant_conn_id, self.region)
        other._with_store = False
        return other

    @property
    def has_store(self) -> bool:
        """Whether the connection names a call store, as far as it can be read."""
        with suppress(Exception):
            return self.get_config().store is not None
        return False

    def get_store(self) -> Store | None:
        """Return the call store that the connection names; ``None`` when it names none.

        :raises InvalidInput: it cannot be used; the error names the field and what to do.
        :raises SendAborted: its database does not answer.
        """
        config = self.get_config().store
        if config is None:
            return None
        from formant_provider.store.opening import open_store

        return open_store(config)

    def fingerprints(self, agent_id: int | None) -> Fingerprints:
        """Return what recognises an agent's recipients without their numbers being written down."""
        from formant_provider.api.fingerprints import Fingerprints

        return Fingerprints(self.get_config().api_key, agent_id)

    def _read(self, connection: Any) -> ClientConfig:
        from formant_provider.api.config import extra_of, read_config, unknown_keys
        from formant_provider.api.errors import InvalidInput

        if connection.conn_type not in {None, "", CONNECTION_TYPE}:
            # The password of some other system must not be sent to this one.
            raise InvalidInput("conn_type", f"connection {self.formant_conn_id!r} is not of type formant")
        extra = extra_of(connection)
        config = read_config(
            host=connection.host,
            port=connection.port,
            password=connection.password,
            extra=extra,
            region=self.region,
            with_store=self._with_store,
        )
        if ignored := unknown_keys(extra):
            _warn_once(self.formant_conn_id, ", ".join(ignored))
        return config

    def test_connection(self) -> tuple[bool, str]:
        """Try the key with one cheap read. It never places a call.

        :return: whether the key was accepted, and a sentence for the person who pressed the button.
        """
        from formant_provider.api.errors import AuthenticationFailed, FormantError, Unreachable
        from formant_provider.api.retry import RetryPolicy

        try:
            with self.get_conn(RetryPolicy(max_attempts=1)) as client:
                base_url = client.base_url
                client.list_conversations(limit=1)
        except AuthenticationFailed:
            text = f"{base_url} refused the API key. Check the key, and that it belongs to this region."
            return False, text
        except Unreachable:
            return False, f"{base_url} cannot be reached. Check the base URL, and what is in between."
        except FormantError as error:
            return False, str(error)
        return True, f"{base_url} accepted the API key."

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Describe the standard fields of the form, for Airflow 3.1."""
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Describe the extra fields of the form, for Airflow 3.1."""
        return {name: _widget(field) for name, field in CONN_FIELDS.items()}


@cache
def _warn_once(formant_conn_id: str, ignored: str) -> None:
    """Warn of keys in the extra that nothing reads, once a process: a poll reads the connection each time."""
    log.warning("The extra of connection %r has keys that nothing reads: %s.", formant_conn_id, ignored)


def _unanswered(error: Exception) -> News:
    from formant_provider.core.polling.news import Unanswered

    return Unanswered(error)


def _client(
    config: ClientConfig, retry_policy: RetryPolicy | None, telemetry: AirflowTelemetry
) -> FormantClient:
    from formant_provider.api.client import FormantClient

    return FormantClient(config, retry_policy=retry_policy, user_agent_suffix=_airflow(), telemetry=telemetry)


@cache
def _airflow() -> str:
    """Name Airflow as a user agent does; once a process, since the metadata of a package is long to read."""
    return f"apache-airflow/{version('apache-airflow')}"


def _widget(field: Mapping[str, Any]) -> Any:
    """Turn a field of the metadata into the form field that Airflow 3.1 expects in its place."""
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional, any_of

    schema = field["schema"]
    validators = [Optional(), *([any_of(schema["enum"])] if "enum" in schema else [])]
    kinds = {"number": IntegerField, "integer": IntegerField, "boolean": BooleanField, "string": StringField}
    kind = PasswordField if schema.get("format") == "password" else kinds[schema["type"][0]]
    return kind(
        field["label"],
        validators=validators,
        description=field["description"],
        default=schema.get("default"),
    )
