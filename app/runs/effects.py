"""Read what the journal's functions ask to be published after their commit."""

from __future__ import annotations

from typing import Any

from app.runs.model import Effects, Event, Send


def read_effects(raw: dict[str, Any]) -> Effects:
    """Turn the functions' JSON into values.

    Args:
        raw: `{"sends": [...], "events": [...], "wakes": [...]}` as `batuta_effects_json` writes it.
    """
    return Effects(
        sends=tuple(_read_send(send) for send in raw["sends"]),
        events=tuple(_read_event(event) for event in raw["events"]),
        wakes=tuple((wake["run"], wake["key"]) for wake in raw["wakes"]),
    )


def read_all_effects(raw: list[dict[str, Any]]) -> Effects:
    """Turn the effects of several operations into one value, in their order."""
    parts = [read_effects(part) for part in raw]
    return Effects(
        sends=tuple(send for part in parts for send in part.sends),
        events=tuple(event for part in parts for event in part.events),
        wakes=tuple(wake for part in parts for wake in part.wakes),
    )


def _read_send(raw: dict[str, Any]) -> Send:
    tail = tuple((key, name) for key, name in raw["tail"] or ())
    return Send(raw["run"], raw["key"], raw["queue"], raw["name"], tail, bool(raw["chained"]))


def _read_event(raw: dict[str, Any]) -> Event:
    return Event(raw["run"], raw["seq"], raw["at"], raw["type"], raw["step"], raw["data"])
