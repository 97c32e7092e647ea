"""`batuta models`: who answers to each logical name, at what price, and what retires."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.bootstrap import Application
from app.gateway.listing import ListedModel, Surroundings, list_models
from app.gateway.service import utc_today
from app.providers.assembly import SUPPORTED
from app.runs.model_steps import MADE_KINDS
from app.settings import Settings

PRICES = ("in", "out", "cache_write_5m", "cache_write_1h", "cache_read")


def print_models(settings: Settings, console: Console) -> None:
    """Print the registry as this environment would serve it; nothing is asked of anybody."""
    application = Application(settings)
    here = Surroundings(application.providers, SUPPORTED, MADE_KINDS, utc_today())
    models = list_models(application.registry, here)
    console.print(_table(models))
    console.print("Prices in dollars a million tokens; of images and film, each and a second.", style="dim")
    for warning in dict.fromkeys(warning for model in models for warning in model.warnings):
        console.print(f"[yellow]retirement[/]  {escape(warning)}")
    for names, variables in _not_served(models):
        wanted = " or ".join(variables)
        console.print(f"[red]not served[/]  {escape(', '.join(names))}: set {wanted}", soft_wrap=True)


def _not_served(models: list[ListedModel]) -> list[tuple[list[str], tuple[str, ...]]]:
    """Group the models that nobody serves by the variables of which any one would help."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        if model.missing:
            groups.setdefault(model.missing, []).append(model.model.name)
    return [(names, variables) for variables, names in groups.items()]


def _table(models: list[ListedModel]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "provider", "its id"):
        table.add_column(heading, no_wrap=True)
    for heading in ("in", "out", "write 5m", "1h", "read"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("for", overflow="fold")
    for model in models:
        shown = model.to_json()
        table.add_row(
            escape(shown["name"]),
            escape(shown["provider"]),
            f"[dim]{escape(shown['model'])}[/]",
            *_price_cells(shown["prices"]),
            _availability(model),
            _purpose(model),
        )
    return table


def _purpose(model: ListedModel) -> str:
    aliases = ", ".join(model.model.aliases)
    return escape(model.model.purpose) + (f" [dim](also {escape(aliases)})[/]" if aliases else "")


def _price_cells(prices: dict[str, Any]) -> list[str]:
    for name, unit in (("per_image", "image"), ("per_second", "s")):
        if name in prices:
            return ["", f"{prices[name]:g}/{unit}", "", "", ""]
    return [f"{prices[name]:g}" for name in PRICES]


def _availability(model: ListedModel) -> str:
    if not model.available:
        return "[red]no[/]"
    if model.stand_in:
        return f"[yellow]{escape(model.stand_in)}[/]"
    day = model.offer.retires_on
    until = f" until {day}" if day else ""
    return f"[yellow]yes{until}[/]" if model.warnings else f"[green]yes[/]{until}"
