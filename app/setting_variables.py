"""Every environment variable there is: its name, how it is read, its default and what it does.

This is the only module that knows names of environment variables. `docs/settings.md` is generated from `VARIABLES`
(`batuta settings`), and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.setting_values import (
    cron,
    database_url,
    flag,
    level,
    log_format,
    money,
    names,
    number,
    one_of,
    redis_url,
    text,
    url,
    whole,
    zone,
)


@dataclass(frozen=True)
class Variable:
    """One environment variable: its name, how it is read, its default and what it does."""

    name: str
    read: Callable[[str], Any]
    default: Any
    meaning: str
    secret: bool = False


PORT_MAX = 65_535
RATED = ("openai", "openrouter", "anthropic", "google_ai")


def _rate_variables() -> Iterator[Variable]:
    for name in RATED:
        for suffix, what in (("RPM", "Requests"), ("TPM", "Tokens")):
            meaning = f"{what} a minute to {name}; 0: no limit; empty: as the registry says."
            yield Variable(f"RATE_LIMIT_{name.upper()}_{suffix}", whole(0, 1_000_000_000), None, meaning)


VARIABLES: tuple[Variable, ...] = (
    Variable("HOST", text, "127.0.0.1", "Address the web process binds to; another than loopback needs a token."),
    Variable("PORT", whole(1, PORT_MAX), 8001, "Port of the HTTP door."),
    Variable("FLOWER_PORT", whole(1, PORT_MAX), 5555, "Port of Flower under `batuta up`."),
    Variable(
        "API_TOKENS",
        names,
        (),
        "Tokens as `name:scope:token`, comma-separated; scope is client or admin.",
        secret=True,
    ),
    Variable("DATA_DIR", Path, Path("var"), "Where embedded servers, assets, artifacts and logs live."),
    Variable(
        "DATABASE_URL",
        database_url,
        "",
        "PostgreSQL 15+ with pgvector; empty: the embedded server under DATA_DIR.",
        secret=True,
    ),
    Variable("REDIS_URL", redis_url, "", "Redis 6+; empty: the embedded server under DATA_DIR.", secret=True),
    Variable(
        "ASSET_SECRET",
        text,
        "",
        "Key of the assets' signed addresses, the same on every machine; empty: one of its own under DATA_DIR.",
        secret=True,
    ),
    Variable(
        "PUBLIC_URL", url, "", "Address under which callers reach this service; stands before the addresses of assets."
    ),
    Variable("DATABASE_POOL_SIZE", whole(1, 200), 20, "Connections a process may hold besides its journal's own."),
    Variable("LOG_LEVEL", level, "INFO", "Least level that is logged."),
    Variable("LOG_FORMAT", log_format, "text", "How a line is logged: text, or json for one object a line."),
    Variable(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        url,
        "",
        "Collector that takes traces as OTLP over HTTP; empty: none. OpenTelemetry's other OTEL_ variables hold too.",
    ),
    Variable("TIMEZONE", zone, "UTC", "Zone in which BATCH_CRON is meant."),
    Variable("BATCH_CRON", cron, "0 6 * * *", "When the daily batch starts; `off` leaves it to another clock."),
    Variable(
        "BATCH_CATCH_UP_H",
        number(0, 24),
        6.0,
        "Hours after the cron instant in which a missed batch is still started.",
    ),
    Variable(
        "MAX_CONCURRENT_WORKFLOWS",
        whole(1, 100_000),
        1000,
        "Runs that may be under way at once; the rest wait in order.",
    ),
    Variable(
        "MAX_QUEUE_DEPTH",
        whole(1, 10_000_000),
        10_000,
        "Messages in all queues above which new work is refused (503).",
    ),
    Variable("WORKER_PROCESSES", whole(1, 64), 2, "I/O worker processes under `batuta up`."),
    Variable("WORKER_CONCURRENCY", whole(1, 10_000), 1000, "Steps one I/O worker process holds at once."),
    Variable("WORKER_THREADS", whole(1, 1000), 32, "Threads an I/O worker keeps for agents and tools that block."),
    Variable("WEB_THREADS", whole(2, 1000), 32, "Threads of the web process; half of them may wait for runs."),
    Variable("LEASE_S", number(1, 300), 10.0, "Seconds without renewal after which a process counts as dead."),
    Variable("STEP_TIMEOUT_S", number(0.1, 86_400), 300.0, "Time limit of a step that sets none."),
    Variable("EVENT_STREAM_LENGTH", whole(10, 1_000_000), 1000, "Events a run keeps in its Redis stream."),
    Variable("EVENT_STREAM_TTL_S", whole(60, 31_536_000), 86_400, "Seconds after which a run's Redis stream expires."),
    Variable("RETENTION_DAYS", number(0.01, 36_500), 30.0, "Days an ended run is kept."),
    Variable("CALLBACK_ALLOWED_HOSTS", names, (), "Hosts a callback_url may name; may be private."),
    Variable(
        "CALLBACK_SECRET",
        text,
        "",
        "Key of the callbacks' signature; needed where CALLBACK_ALLOWED_HOSTS is set.",
        secret=True,
    ),
    Variable("CALLBACK_WINDOW_H", number(0.001, 720), 24.0, "Hours for which a failing callback is tried again."),
    Variable("EXTENSIONS", names, (), "Modules with `register(catalog)` that bring agents and tools of your own."),
    Variable("LIKE_THRESHOLD", whole(1, 1_000_000), 25, "Likes that start a learning cycle."),
    Variable("EXPLORATION_RATE", number(0, 1), 0.2, "Share of prompts that explore."),
    Variable("DEFAULT_BATCH_IDEAS", whole(0, 50), 5, "Ideas of a batch when nothing else says."),
    Variable("DEFAULT_NUM_PROMPTS", whole(0, 500), 12, "Prompts of a batch when nothing else says."),
    Variable("DEFAULT_RENDERER", text, "ImageFX", "Renderer when nothing else says."),
    Variable("STUDIO_FALLBACK", flag, False, "Let the plain way fill in when a configured service or model fails."),
    Variable("STUDIO_MODELS", flag, True, "Let models make ideas and prompts where a provider is configured."),
    Variable(
        "STUDIO_LATENCY",
        one_of("live", "batch"),
        "live",
        "batch: the scheduled batch asks models through vendors' batches, later and at a lower price.",
    ),
    Variable("OPTIMIZER_SERVICE_URL", url, "", "The Optimizer's address; empty: ours does the work."),
    Variable("STRATEGIST_SERVICE_URL", url, "", "The Strategist's address; empty: ours does the work."),
    Variable("GENERATOR_SERVICE_URL", url, "", "The Generator's address; empty: ours does the work."),
    Variable("STRATEGIST_TIMEOUT_S", number(0.1, 3600), 120.0, "Time limit of a call to the Strategist."),
    Variable("GENERATOR_TIMEOUT_S", number(0.1, 3600), 300.0, "Time limit of a call to the Generator."),
    Variable("TRAIN_TIMEOUT_S", number(0.1, 7200), 600.0, "Time limit of the Optimizer's training."),
    Variable("SCORE_TIMEOUT_S", number(0.1, 3600), 120.0, "Time limit of the Optimizer's scoring."),
    Variable("UPDATE_TIMEOUT_S", number(0.1, 3600), 30.0, "Time limit of handing preferences to the Generator."),
    Variable("WARMUP_TIMEOUT_S", number(0.1, 600), 60.0, "Time limit of one warm-up attempt of a remote service."),
    Variable("FEEDBACK_THRESHOLD", whole(1, 1_000_000), 1, "Feedbacks on assignments that start a training."),
    Variable("MEETING_REST_WEEKS", whole(0, 520), 2, "Weeks between two duties of a person in meetings."),
    Variable("MEETING_TIME_LIMIT_S", number(0.1, 120), 20.0, "Seconds a meeting may be computed; then 503."),
    Variable("AIRTABLE_API_KEY", text, "", "Personal access token for Airtable.", secret=True),
    Variable("AIRTABLE_BASE_ID", text, "", "Airtable base."),
    Variable("AIRTABLE_STRUCTURES_TABLE_ID", text, "", "Table of structures."),
    Variable("AIRTABLE_BATCH_SETTINGS_TABLE_ID", text, "", "Table of the daily batch's settings."),
    Variable("AIRTABLE_PROMPTS_TABLE_ID", text, "", "Table of prompts."),
    Variable("AIRTABLE_HISTORY_TABLE_ID", text, "", "Table of the prompts' history."),
    Variable("AIRTABLE_DESIGNERS_TABLE_ID", text, "", "Table of designers; empty: left out."),
    Variable("AIRTABLE_GARMENTS_TABLE_ID", text, "", "Table of garments; empty: left out."),
    Variable("AIRTABLE_ENDPOINT_URL", url, "https://api.airtable.com", "Base address of Airtable's API."),
    Variable("AIRTABLE_PENALTY_S", number(0, 300), 30.0, "Seconds Airtable refuses everything after a 429."),
    Variable("OPENAI_API_KEY", text, "", "Key for OpenAI, or for any server that speaks its wire.", secret=True),
    Variable("OPENAI_BASE_URL", url, "", "Any OpenAI-compatible server (with /v1); a key is then optional."),
    Variable("ANTHROPIC_API_KEY", text, "", "Key for Anthropic.", secret=True),
    Variable("ANTHROPIC_BASE_URL", url, "", "Another server that speaks Anthropic's wire (without /v1)."),
    Variable("OPENROUTER_API_KEY", text, "", "Key for OpenRouter.", secret=True),
    Variable("OPENROUTER_BASE_URL", url, "https://openrouter.ai/api/v1", "Base address of OpenRouter (with /v1)."),
    Variable("GOOGLE_AI_API_KEY", text, "", "Key for Google AI.", secret=True),
    Variable(
        "GOOGLE_AI_BASE_URL",
        url,
        "https://generativelanguage.googleapis.com",
        "Host of Google AI; the paths of its wires are put behind it.",
    ),
    *_rate_variables(),
    Variable("MAX_PARALLEL_IMAGES", whole(1, 64), 4, "Steps of one run that make images at once."),
    Variable("FILM_POLL_S", number(0.1, 600), 10.0, "Seconds between two looks at a film that a vendor makes."),
    Variable("FILM_TIMEOUT_S", number(1, 86_400), 3600.0, "Seconds after which a film under way is given up."),
    Variable("CACHE_TTL_SECONDS", whole(1, 2_592_000), 3600, "Seconds for which an answer serves `config.cache`."),
    Variable(
        "CATEGORY_SOURCE",
        one_of("auto", "model", "local"),
        "auto",
        "Who says a chat's category: model (the categoriser), local (the scorer), or auto: local where it is sure.",
    ),
    Variable(
        "ROUTE_HOLDOUT",
        number(0, 1),
        0.03,
        "Share of single-model chats that go to thinking_ai all the same: what routing costs in quality is measured.",
    ),
    Variable(
        "ROUTE_TRIAL",
        number(0, 1),
        0.0,
        "Share of single-model chats tried one model cheaper, so that verdicts can tell whether that does.",
    ),
    Variable(
        "ROUTE_MAX_LOSS",
        number(0, 1),
        0.02,
        "Most loss of quality at which the learned route moves a chat to a cheaper model.",
    ),
    Variable("SESSION_TTL_DAYS", number(0.001, 36_500), 30.0, "Days a chat session is kept after its last message."),
    Variable(
        "SESSION_HISTORY_TOKENS",
        whole(0, 500_000),
        8000,
        "Tokens of a session that a model is given; older messages are put into a summary.",
    ),
    Variable("VENDOR_BATCH_GATHER_S", number(0, 3600), 60.0, "Seconds a vendor's batch waits for further questions."),
    Variable("VENDOR_BATCH_SIZE", whole(1, 10_000), 1000, "Questions that close a vendor's batch at once."),
    Variable("VENDOR_BATCH_POLL_S", number(0.05, 3600), 30.0, "Seconds between two looks at a vendor's batch."),
    Variable("VENDOR_BATCH_LIVE_AFTER_S", number(1, 604_800), 86_400.0, "Seconds a question may wait for a batch."),
    Variable("VENDOR_BATCH_MARGIN_S", number(0, 86_400), 1800.0, "Seconds before that at which a batch is stopped."),
    Variable(
        "ORCHESTRATION_CONFIG",
        Path,
        Path("orchestration_config.json"),
        "Registry of models, prices, fallbacks and limits.",
    ),
    Variable(
        "MAX_COST_PER_DAY_DOLLARS", money, None, "Hard limit of a day's spending of the installation; empty: none."
    ),
    Variable(
        "MAX_COST_PER_OWNER_DAY_DOLLARS", money, None, "Hard limit of a day's spending of one owner; empty: none."
    ),
)
