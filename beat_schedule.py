"""What beat starts, and when. Each entry may fire twice or late: the tasks look at the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.schedules import crontab

if TYPE_CHECKING:
    from app.settings import ScheduleSettings

CATCH_UP_EVERY_S = 60.0
HOUSE_EVERY_S = 3600.0


def beat_schedule(schedule: ScheduleSettings) -> dict[str, dict[str, Any]]:
    """Write beat's entries: the batch at its time, the look for a missed one, and housekeeping."""
    minute, hour, day, month, weekday = schedule.batch_cron.split()
    options = {"queue": "control"}
    return {
        "daily-batch": {
            "task": "batuta.start_due_batch",
            "schedule": crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday),
            "options": options,
        },
        "daily-batch-catch-up": {"task": "batuta.start_due_batch", "schedule": CATCH_UP_EVERY_S, "options": options},
        "housekeeping": {"task": "batuta.keep_house", "schedule": HOUSE_EVERY_S, "options": options},
    }
