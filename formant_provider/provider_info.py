"""Everything Airflow reads about this provider, in one place.

The connection form is described once, here. Airflow 3.2 and later read it from the provider's metadata;
for 3.1 the hook derives its two form methods from the same data.
"""

from __future__ import annotations

from typing import Any

from formant_provider.api.config import (
    DEFAULT_CONNECT_TIMEOUT_S,
    DEFAULT_READ_TIMEOUT_S,
    DEFAULT_REGION,
    MAX_TIMEOUT_S,
    REGIONS,
    URL_NAMES,
)
from formant_provider.api.webhook_config import DEFAULT_KEEP_FOR, DEFAULT_TOLERANCE_S, MAX_TOLERANCE_S

CONNECTION_TYPE = "formant"
HOOK_NAME = "FormantAI"
INTEGRATION = "FormantAI Voice"

_REGION_LABELS = {"global": "Global", "in": "India"}


def _timeout_field(label: str, default_s: float) -> dict[str, Any]:
    return {
        "label": label,
        "description": f"Seconds, at most {MAX_TIMEOUT_S:g}. Empty means {default_s:g}.",
        "schema": {"type": ["number", "null"], "minimum": 0.1, "maximum": MAX_TIMEOUT_S},
    }


UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port is shown because the Test button of Airflow 3.3.1 and 3.3.2 refuses connections without one.
    "hidden-fields": ["login", "schema"],
    "relabeling": {"password": "API key (required)", "host": "Base URL", "port": "Port"},
    "placeholders": {
        "password": "from the FormantAI dashboard: Developer, API Keys",
        "host": "leave empty to use the region's URL",
        "port": "leave empty; 443 if the Test button says Bad Request",
    },
}

CONN_FIELDS: dict[str, dict[str, Any]] = {
    "region": {
        "label": "Region",
        "description": "Where the agents live. A base URL, when given, overrides it.",
        "schema": {
            "type": ["string", "null"],
            "enum": list(REGIONS),
            "values_display": {region: _REGION_LABELS[region] for region in REGIONS},
            "default": DEFAULT_REGION,
        },
    },
    "connect_timeout": _timeout_field("Connect timeout", DEFAULT_CONNECT_TIMEOUT_S),
    "read_timeout": _timeout_field("Read timeout", DEFAULT_READ_TIMEOUT_S),
    "conversation_url_template": {
        "label": "Conversation URL",
        "description": "Where people look at a conversation, as https://.../{conversation_id}. Makes a link"
        f" on the task's page. Names: {', '.join(URL_NAMES)}.",
        "schema": {"type": ["string", "null"]},
    },
    "store_conn_id": {
        "label": "Store connection",
        "description": "Connection to the PostgreSQL, MySQL or SQLite database that holds the call store."
        " Empty means no store.",
        "schema": {"type": ["string", "null"]},
    },
    "store_secret": {
        "label": "Store secret",
        "description": "Made by `python -m formant_provider.store secret`. While it is changed: new,old.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "store_auto_upgrade": {
        "label": "Store upgrades itself",
        "description": "Make and migrate the tables at first use.",
        "schema": {"type": ["boolean", "null"], "default": False},
    },
    "call_cap": {
        "label": "Call cap",
        "description": "Calls that a person may get within a time, such as 2/1d. Ends in s, m, h or d."
        " Needs a store.",
        "schema": {"type": ["string", "null"]},
    },
    "calls_per_minute": {
        "label": "Calls per minute",
        "description": "Across all tasks, workers and DAGs. Empty means no limit. Needs a store.",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "max_concurrent_calls": {
        "label": "Concurrent calls",
        "description": "Across all tasks, workers and DAGs. Empty means no limit. Needs a store.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "webhook_secret": {
        "label": "Webhook secret",
        "description": "The secret of the webhook targets in the FormantAI dashboard, 16 characters or more."
        " While it is changed: new,old. Needs a store.",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "webhook_tolerance": {
        "label": "Webhook tolerance",
        "description": "Seconds that the signed time of a webhook may be off. Empty means"
        f" {DEFAULT_TOLERANCE_S}.",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": MAX_TOLERANCE_S},
    },
    "webhook_keep_for": {
        "label": "Webhooks are kept for",
        "description": "How long what webhooks bring is kept, such as 30d. Ends in s, m, h or d. Empty means"
        f" {DEFAULT_KEEP_FOR.days}d.",
        "schema": {"type": ["string", "null"]},
    },
}

CONFIG: dict[str, Any] = {
    "formant": {
        "description": "Options of the FormantAI provider.",
        "options": {
            "webhooks": {
                "description": "Whether the API server receives webhooks, under ``/formant/webhooks/``."
                " Whoever reaches the API server can send there; what is signed is accepted.",
                "version_added": None,
                "type": "boolean",
                "example": None,
                "default": "False",
            },
            "webhook_conn_ids": {
                "description": "Connections whose webhooks are received there, separated by commas.",
                "version_added": None,
                "type": "string",
                "example": "formant_default,formant_india",
                "default": "formant_default",
            },
            "calls_page": {
                "description": "Whether the UI has a page about the calls of the day, under *Browse*. It"
                " shows the calls of DAGs whose task instances the user may read, and needs a call store.",
                "version_added": None,
                "type": "boolean",
                "example": None,
                "default": "False",
            },
            "calls_page_conn_ids": {
                "description": "Connections whose call stores that page shows, separated by commas.",
                "version_added": None,
                "type": "string",
                "example": "formant_default,formant_india",
                "default": "formant_default",
            },
        },
    }
}


def _modules(package: str, *names: str) -> list[dict[str, Any]]:
    paths = [f"formant_provider.{package}.{name}" for name in names]
    return [{"integration-name": INTEGRATION, "python-modules": paths}]


PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-formant",
    "name": INTEGRATION,
    "description": "Phone calls through FormantAI Voice agents.",
    "integrations": [
        {
            "integration-name": INTEGRATION,
            "external-doc-url": "https://docs.formantai.com",
            "tags": ["service"],
        }
    ],
    "hooks": _modules("hooks", "formant"),
    "operators": _modules(
        "operators", "batch", "call", "call_list", "export", "storage", "suppression", "transcription"
    ),
    "sensors": _modules("sensors", "batch", "conversation"),
    "triggers": _modules("triggers", "batch", "conversation", "event", "transcription", "wait"),
    "notifications": ["formant_provider.notifications.call.FormantCallNotifier"],
    "task-decorators": [
        {"name": "formant_call", "class-name": "formant_provider.decorators.call.formant_call_task"},
        {
            "name": "formant_call_list",
            "class-name": "formant_provider.decorators.call_list.formant_call_list_task",
        },
    ],
    "asset-uris": [
        {
            "schemes": ["formant"],
            "handler": "formant_provider.assets.sanitize_uri",
            "to_openlineage_converter": "formant_provider.assets.to_openlineage",
        }
    ],
    "extra-links": ["formant_provider.links.ConversationLink"],
    "connection-types": [
        {
            "connection-type": CONNECTION_TYPE,
            "hook-name": HOOK_NAME,
            "hook-class-name": "formant_provider.hooks.formant.FormantHook",
            "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            "conn-fields": CONN_FIELDS,
        }
    ],
    "config": CONFIG,
}
