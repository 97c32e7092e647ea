"""Read the environment once, into frozen values grouped by concern; `app/setting_variables.py` lists the variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from app.errors import SettingsError
from app.setting_variables import RATED, VARIABLES

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Part = TypeVar("_Part", bound="DataclassInstance")

SECRET = "********"  # noqa: S105 - what is shown instead of one


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
