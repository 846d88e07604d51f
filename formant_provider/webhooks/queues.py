"""The queues that events can be forwarded to: a channel of Redis, and a queue of Amazon SQS."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit, urlunsplit

from formant_provider.api.errors import FormantError, InvalidInput

FIELD = "forward"
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 5, 10
_SQS_HOST = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_OURS = ("channel", "results")


class Queue(Protocol):
    """Takes messages.

    :ivar where: it in words for people, without a password. Who forwards is known by it.
    :ivar at_once: how many messages it takes at once.
    """

    where: str
    at_once: int

    def send(self, messages: Sequence[tuple[dict[str, Any], str]]) -> None:
        """Send messages, each with the payload that it was made of.

        :raises Exception: maybe none was sent.
        """


class NobodyListens(FormantError):
    """A channel has no subscriber, so a message would be lost."""


def queue_of(url: str) -> Queue:
    """Return the queue to which a URL leads, without connecting to it.

    :param url: ``redis://[user:password@]host[:port][/database]?channel=NAME``, or ``rediss://`` for TLS;
        ``sqs://REGION/ACCOUNT/QUEUE``, or the ``https://`` URL of the queue.
    :raises InvalidInput: it is none of these, or what it needs is not installed.
    """
    parts = _parts(url)
    if parts.scheme in {"redis", "rediss"}:
        return RedisChannel(parts)
    if parts.scheme in {"sqs", "https"}:
        return SqsQueue(parts)
    raise InvalidInput(FIELD, "must begin with redis://, rediss://, sqs:// or https://sqs.")


def results_of(url: str) -> list[str]:
    """Return which results the query of a URL chooses."""
    given = ",".join(parse_qs(_parts(url).query).get("results", ()))
    return [name.strip() for name in given.split(",") if name.strip()]


class RedisChannel:
    """A channel of Redis, whose subscribers get what is published while they listen.

    https://redis.io/docs/latest/develop/pubsub/
    """

    at_once = 1

    def __init__(self, parts: SplitResult) -> None:
        query = parse_qs(parts.query)
        self._channel = "".join(query.get("channel", ()))
        if not self._channel or not parts.hostname:
            raise InvalidInput(FIELD, "to Redis must be redis://host:port/database?channel=NAME")
        module = _installed("redis", "redis")
        rest = urlencode({name: values[0] for name, values in query.items() if name not in _OURS})
        self.where = f"channel {self._channel!r} of Redis at {parts.hostname}:{parts.port or 6379}"
        try:
            self._client: Any = module.Redis.from_url(
                urlunsplit(parts._replace(query=rest)),
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=ANSWER_TIMEOUT_S,
            )
            pool = self._client.connection_pool
            pool.connection_class(**pool.connection_kwargs)  # which only now reads the options
        except (TypeError, ValueError):
            self._client = None  # its text may hold the password
        if self._client is None:
            raise InvalidInput(FIELD, "to Redis has an option, or a database, that Redis does not have")

    def send(self, messages: Sequence[tuple[dict[str, Any], str]]) -> None:
        """Publish messages, as long as somebody listens.

        :raises NobodyListens: nobody does; the message is lost to nobody, and sent again later.
        """
        for _, text in messages:
            if not self._client.publish(self._channel, text):
                raise NobodyListens("nobody listens there")


class SqsQueue:
    """A queue of Amazon SQS, with the credentials that boto3 finds.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html
    """

    at_once = 10

    def __init__(self, parts: SplitResult) -> None:
        names = [name for name in parts.path.split("/") if name]
        host = _SQS_HOST.fullmatch(parts.netloc)
        region = host[1] if parts.scheme == "https" and host else parts.netloc
        if len(names) != 2 or not region or (parts.scheme == "https" and not host):
            wanted = "sqs://REGION/ACCOUNT/QUEUE, or the https:// URL of the queue"
            raise InvalidInput(FIELD, f"to SQS must be {wanted}")
        self._boto3, self._region = _installed("boto3", "sqs"), region
        self._account, self._name = names
        self.where = f"queue {self._name!r} of SQS in {region}, account {self._account}"
        self._client: Any = None
        self._url = ""

    def send(self, messages: Sequence[tuple[dict[str, Any], str]]) -> None:
        """Send messages in one request.

        :raises Exception: some were not taken, or what boto3 says.
        """
        self._connect()
        entries = [self._entry(n, payload, text) for n, (payload, text) in enumerate(messages)]
        failed = self._client.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", ())
        if failed:
            codes = ", ".join(sorted({str(each.get("Code")) for each in failed}))
            raise NotTaken(f"it did not take {len(failed)} of {len(entries)} messages ({codes})")

    def _connect(self) -> None:
        if self._url:
            return
        config = import_module("botocore.config").Config(
            connect_timeout=CONNECT_TIMEOUT_S, read_timeout=ANSWER_TIMEOUT_S, retries={"max_attempts": 1}
        )
        self._client = self._boto3.client("sqs", region_name=self._region, config=config)
        found = self._client.get_queue_url(QueueName=self._name, QueueOwnerAWSAccountId=self._account)
        self._url = found["QueueUrl"]

    def _entry(self, n: int, payload: dict[str, Any], text: str) -> dict[str, Any]:
        entry = {"Id": str(n), "MessageBody": text}
        if self._name.endswith(".fifo"):  # which keeps the order within a group, and knows what comes twice
            conversation = payload["trace_id"] or payload["conversation_id"] or payload["event_id"]
            entry |= {
                "MessageGroupId": _digest(conversation),
                "MessageDeduplicationId": _digest(payload["event_id"]),
            }
        return entry


class NotTaken(FormantError):
    """A queue has not taken all messages of a request."""


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        parts = None
    if parts is None:
        raise InvalidInput(FIELD, "is no URL")
    return parts


def _installed(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        pass
    raise InvalidInput(
        FIELD, f'needs a package that is not installed: pip install "airflow-provider-formant[{extra}]"'
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
