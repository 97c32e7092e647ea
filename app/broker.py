"""Celery as it is configured everywhere: in workers, in beat, and where messages are only sent.

The journal is the truth, so Celery is kept thin: no result backend, JSON only, late acknowledgement (exact queue
order, no hoarding), one try to publish. `docs/decisions/` says what was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from kombu import Exchange, Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.settings import Settings

PRIORITIES = ("high", "medium", "low")
STEP_QUEUES = tuple(f"{shape}.{priority}" for shape in ("inline", "linear") for priority in PRIORITIES)
QUEUES = (*STEP_QUEUES, "learning", "control")
RUN_STEP = "batuta.run_step"

# Longer than any step: recovery comes from leases, and a message that is put back while its step runs is only refused.
VISIBILITY_S = 86_400
POOL_LIMIT = 50


def create_celery(read_settings: Callable[[], Settings]) -> Celery:
    """Make the Celery application; settings are read when they are first needed, not now.

    Args:
        read_settings: called once, at Celery's first use.
    """
    app = Celery("batuta", set_as_current=False)
    app.add_defaults(lambda: celery_configuration(read_settings()))
    return app


def celery_configuration(settings: Settings) -> dict[str, Any]:
    """Write Celery's settings."""
    concurrency = settings.engine.worker_concurrency
    return {
        "broker_url": broker_url(settings.storage.redis_url),
        "broker_transport": "app.broker_transport:LeanTransport",
        "result_backend": None,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": False,
        "task_publish_retry": False,
        "task_create_missing_queues": False,
        "task_default_queue": "control",
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_send_sent_event": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": True,
        "worker_hijack_root_logger": False,
        "worker_log_color": False,
        "broker_pool_limit": POOL_LIMIT,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "beat_scheduler": "tasks.beat:HeartbeatScheduler",
        "beat_max_loop_interval": 10,
        "timezone": settings.schedule.timezone,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "max_connections": concurrency + 500,
            "queue_order_strategy": "app.queue_order:WeightedOrder",
            "priority_steps": [0],
            "health_check_interval": 10,
            "socket_connect_timeout": 3,
            # A sender tries a connection twice at once; kombu would let whoever starts a run wait six seconds for a
            # Redis that is away. A worker's own reading is not meant: that tries for ever.
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0,
            "socket_keepalive": True,
        },
    }


def broker_url(redis_url: str) -> str:
    """Write a Redis address as kombu reads it: a socket is `redis+socket://`."""
    return redis_url.replace("unix://", "redis+socket://", 1) if redis_url.startswith("unix://") else redis_url
