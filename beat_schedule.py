"""What beat starts, and when. Each entry may fire twice or late: the tasks look at the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.schedules import crontab
from croniter import croniter

if TYPE_CHECKING:
    from app.settings import ScheduleSettings

CATCH_UP_EVERY_S = 60.0
HOUSE_EVERY_S = 3600.0
CYCLE_EVERY_S = 30.0


def beat_schedule(schedule: ScheduleSettings) -> dict[str, dict[str, Any]]:
    """Write beat's entries: the batch at its time, a missed one, a learning cycle that died, housekeeping."""
    options = {"queue": "control"}
    housekeeping = {"task": "batuta.keep_house", "schedule": HOUSE_EVERY_S, "options": options}
    learning = {"task": "batuta.close_cycle", "schedule": CYCLE_EVERY_S, "options": options}
    if not schedule.batch_cron:
        return {"housekeeping": housekeeping, "learning-cycle": learning}
    return {
        "daily-batch": {
            "task": "batuta.start_due_batch",
            "schedule": as_crontab(schedule.batch_cron),
            "options": options,
        },
        "daily-batch-catch-up": {"task": "batuta.start_due_batch", "schedule": CATCH_UP_EVERY_S, "options": options},
        "housekeeping": housekeeping,
        "learning-cycle": learning,
    }


def as_crontab(cron: str) -> crontab:
    """Write a cron line as Celery keeps it.

    croniter reads it first: Celery knows no name of a month and no Sunday with the number 7. Where a line limits both
    the day and the weekday, Celery fires on days that are both, croniter on either; the catch-up starts those.
    """
    minute, hour, day, month, weekday = (",".join(map(str, values)) for values in croniter(cron).expanded)
    return crontab(minute=minute, hour=hour, day_of_month=day, month_of_year=month, day_of_week=weekday)
