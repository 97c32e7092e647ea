"""Read the environment once, into frozen values grouped by concern.

This is the only module that knows names of environment variables. `docs/settings.md` is generated from
`VARIABLES` (`batuta settings`), and a test keeps the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from app.errors import SettingsError
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

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Part = TypeVar("_Part", bound="DataclassInstance")

SECRET = "********"  # noqa: S105 - what is shown instead of one


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
_BY_NAME = {variable.name: variable for variable in VARIABLES}


@dataclass(frozen=True)
class WebSettings:
    """The HTTP door."""

    host: str
    port: int
    flower_port: int
    threads: int
    api_tokens: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True)
class StorageSettings:
    """The two servers and the folder. Empty addresses mean the embedded servers."""

    data_dir: Path
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    pool_size: int
    asset_secret: str = field(repr=False)
    public_url: str


@dataclass(frozen=True)
class EngineSettings:
    """The engine's limits; times in seconds unless the name says otherwise."""

    max_concurrent_workflows: int
    max_queue_depth: int
    worker_processes: int
    worker_concurrency: int
    worker_threads: int
    lease_s: float
    step_timeout_s: float
    event_stream_length: int
    event_stream_ttl_s: int
    retention_days: float
    callback_allowed_hosts: tuple[str, ...]
    callback_secret: str = field(repr=False)
    callback_window_h: float
    extensions: tuple[str, ...]
    max_cost_per_day_usd: Decimal | None
    max_cost_per_owner_day_usd: Decimal | None


@dataclass(frozen=True)
class ScheduleSettings:
    """When the daily batch starts."""

    timezone: str
    batch_cron: str  # empty: another clock starts the batch
    batch_catch_up_h: float


@dataclass(frozen=True)
class AirtableSettings:
    """Airtable; `configured` when key, base and the wanted table are there."""

    api_key: str = field(repr=False)
    base_id: str
    structures_table: str
    batch_settings_table: str
    prompts_table: str
    history_table: str
    designers_table: str
    garments_table: str
    endpoint_url: str
    penalty_s: float

    @property
    def configured(self) -> bool:
        """Whether there is a key and a base."""
        return bool(self.api_key and self.base_id)


@dataclass(frozen=True)
class StudioSettings:
    """Batches, likes and the three sibling services."""

    like_threshold: int
    exploration_rate: float
    default_batch_ideas: int
    default_num_prompts: int
    default_renderer: str
    fallback: bool
    models: bool
    latency: Literal["live", "batch"]
    optimizer_url: str
    strategist_url: str
    generator_url: str
    strategist_timeout_s: float
    generator_timeout_s: float
    train_timeout_s: float
    score_timeout_s: float
    update_timeout_s: float
    warmup_timeout_s: float


@dataclass(frozen=True)
class ModelSettings:
    """Model providers."""

    openai_api_key: str = field(repr=False)
    openai_base_url: str
    anthropic_api_key: str = field(repr=False)
    anthropic_base_url: str
    openrouter_api_key: str = field(repr=False)
    openrouter_base_url: str
    google_ai_api_key: str = field(repr=False)
    google_ai_base_url: str
    rate_limit_openai_rpm: int | None
    rate_limit_openai_tpm: int | None
    rate_limit_openrouter_rpm: int | None
    rate_limit_openrouter_tpm: int | None
    rate_limit_anthropic_rpm: int | None
    rate_limit_anthropic_tpm: int | None
    rate_limit_google_ai_rpm: int | None
    rate_limit_google_ai_tpm: int | None
    max_parallel_images: int
    film_poll_s: float
    film_timeout_s: float
    cache_ttl_seconds: int
    vendor_batch_gather_s: float
    vendor_batch_size: int
    vendor_batch_poll_s: float
    vendor_batch_live_after_s: float
    vendor_batch_margin_s: float
    registry_path: Path

    def rate_limits(self) -> dict[str, tuple[int | None, int | None]]:
        """Give requests and tokens a minute by provider; None leaves the registry's."""
        return {
            name: (getattr(self, f"rate_limit_{name}_rpm"), getattr(self, f"rate_limit_{name}_tpm")) for name in RATED
        }


@dataclass(frozen=True)
class ChatSettings:
    """Chats: categories, routes, sessions."""

    category_source: str
    route_holdout: float
    route_trial: float
    route_max_loss: float
    session_ttl_days: float
    session_history_tokens: int


@dataclass(frozen=True)
class AssignmentSettings:
    """Who takes a task: learning from feedback, and meetings."""

    feedback_threshold: int
    meeting_rest_weeks: int
    meeting_time_limit_s: float


@dataclass(frozen=True)
class Settings:
    """Everything the environment says."""

    web: WebSettings
    storage: StorageSettings
    engine: EngineSettings
    schedule: ScheduleSettings
    airtable: AirtableSettings
    studio: StudioSettings
    assignments: AssignmentSettings
    models: ModelSettings
    chat: ChatSettings
    log_level: str
    log_format: str
    otlp_endpoint: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every variable.

        Args:
            environ: usually `os.environ`; an empty value counts as unset.

        Raises:
            SettingsError: lists every variable that cannot be used, never a secret's value.
        """
        values, problems = _read_all(environ)
        problems += [f"API_TOKENS: {problem}" for problem in _token_problems(values.get("API_TOKENS", ()))]
        problems += _callback_problems(values)
        if problems:
            raise SettingsError(problems)
        return cls(
            web=_fill(WebSettings, values),
            storage=_fill(StorageSettings, values),
            engine=_fill(EngineSettings, values),
            schedule=_fill(ScheduleSettings, values),
            airtable=_fill(AirtableSettings, values),
            studio=_fill(StudioSettings, values),
            assignments=_fill(AssignmentSettings, values),
            models=_fill(ModelSettings, values),
            chat=_fill(ChatSettings, values),
            log_level=values["LOG_LEVEL"],
            log_format=values["LOG_FORMAT"],
            otlp_endpoint=values["OTEL_EXPORTER_OTLP_ENDPOINT"],
        )


# A field is filled from the variable of its own name in capitals, except these.
_VARIABLE_OF = {
    "threads": "WEB_THREADS",
    "pool_size": "DATABASE_POOL_SIZE",
    "max_cost_per_day_usd": "MAX_COST_PER_DAY_DOLLARS",
    "max_cost_per_owner_day_usd": "MAX_COST_PER_OWNER_DAY_DOLLARS",
    "api_key": "AIRTABLE_API_KEY",
    "base_id": "AIRTABLE_BASE_ID",
    "structures_table": "AIRTABLE_STRUCTURES_TABLE_ID",
    "batch_settings_table": "AIRTABLE_BATCH_SETTINGS_TABLE_ID",
    "prompts_table": "AIRTABLE_PROMPTS_TABLE_ID",
    "history_table": "AIRTABLE_HISTORY_TABLE_ID",
    "designers_table": "AIRTABLE_DESIGNERS_TABLE_ID",
    "garments_table": "AIRTABLE_GARMENTS_TABLE_ID",
    "endpoint_url": "AIRTABLE_ENDPOINT_URL",
    "penalty_s": "AIRTABLE_PENALTY_S",
    "fallback": "STUDIO_FALLBACK",
    "models": "STUDIO_MODELS",
    "latency": "STUDIO_LATENCY",
    "optimizer_url": "OPTIMIZER_SERVICE_URL",
    "strategist_url": "STRATEGIST_SERVICE_URL",
    "generator_url": "GENERATOR_SERVICE_URL",
    "registry_path": "ORCHESTRATION_CONFIG",
}


def _fill(part: type[_Part], values: Mapping[str, Any]) -> _Part:
    return part(**{field.name: values[_VARIABLE_OF.get(field.name, field.name.upper())] for field in fields(part)})


def _read_all(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in VARIABLES:
        raw = environ.get(variable.name, "").strip()
        if not raw:
            values[variable.name] = variable.default
            continue
        try:
            values[variable.name] = variable.read(raw)
        except ValueError as error:
            shown = SECRET if variable.secret else repr(raw)
            problems.append(f"{variable.name}={shown}: {error}")
    return values, problems


def _token_problems(tokens: tuple[str, ...]) -> list[str]:
    problems = []
    for place, token in enumerate(tokens):
        name, _, rest = token.partition(":")
        scope, _, secret = rest.partition(":")
        if not name or scope not in {"client", "admin"} or len(secret) < 8:  # noqa: PLR2004 - shorter can be guessed
            problems.append(
                f"entry {place + 1} must read name:scope:token, scope client or admin, token of 8 characters or more"
            )
    return problems


def _callback_problems(values: Mapping[str, Any]) -> list[str]:
    # a value that could not be read has its own problem already
    if values.get("CALLBACK_ALLOWED_HOSTS") and values.get("CALLBACK_SECRET") == "":
        return ["CALLBACK_SECRET: must be set where CALLBACK_ALLOWED_HOSTS is, or receivers cannot tell who calls"]
    return []


def document_settings() -> str:
    """Write `docs/settings.md`: a table row a variable, in order."""
    rows = [
        "# Settings",
        "",
        "Generated by `batuta settings`; every variable may be left out.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for variable in VARIABLES:
        default = variable.default
        shown = "" if default is None else ",".join(default) if isinstance(default, tuple) else str(default)
        meaning = f"{variable.meaning} Secret." if variable.secret else variable.meaning
        rows.append(f"| `{variable.name}` | {f'`{shown}`' if shown else ''} | {meaning} |")
    return "\n".join(rows) + "\n"
