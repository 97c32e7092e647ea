"""Everything one simulator remembers, in one value that a reset replaces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from simulator.airtable_bases import AirtableBases
from simulator.answers import AnswerBook
from simulator.anthropic_account import AnthropicAccount
from simulator.faults import FaultBook
from simulator.google_studio import GoogleStudio
from simulator.log import RequestLog
from simulator.openai_account import WIRES, OpenAIAccount
from simulator.sibling_services import Siblings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def _accounts() -> dict[str, OpenAIAccount]:
    return {wire.name: OpenAIAccount() for wire in WIRES}


@dataclass
class SlowCounter:
    """How many slow requests are open, were open at most, and were answered."""

    open: int = 0
    peak: int = 0
    served: int = 0


@dataclass
class State:
    """The simulator's memory."""

    log: RequestLog = field(default_factory=RequestLog)
    faults: FaultBook = field(default_factory=FaultBook)
    answers: AnswerBook = field(default_factory=AnswerBook)
    airtable: AirtableBases = field(default_factory=AirtableBases)
    anthropic: AnthropicAccount = field(default_factory=AnthropicAccount)
    wires: dict[str, OpenAIAccount] = field(default_factory=_accounts)
    google: GoogleStudio = field(default_factory=GoogleStudio)
    siblings: Siblings = field(default_factory=Siblings)
    slow: SlowCounter = field(default_factory=SlowCounter)

    def reset(self) -> None:
        """Forget everything but the slow requests still open."""
        open_now = self.slow.open
        self.log, self.faults, self.answers = RequestLog(), FaultBook(), AnswerBook()
        self.airtable, self.siblings = AirtableBases(), Siblings()
        self.anthropic, self.wires = AnthropicAccount(), _accounts()
        self.google = GoogleStudio()
        self.slow = SlowCounter(open=open_now, peak=open_now)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Change how a vendor behaves; an unknown name or key is an error."""
        for name, values in settings.items():
            vendors = {"airtable": self.airtable.limits, "answers": self.answers, "anthropic": self.anthropic}
            media = {"google_media": self.google}
            target = {**vendors, **media, **self.wires, **self.siblings.by_name()}.get(name)
            if target is None:
                raise ValueError(f"there is nothing called {name} to configure")
            for key, value in values.items():
                if not hasattr(target, key):
                    raise ValueError(f"{name} has no setting {key}")
                setattr(target, key, value)


STATE: web.AppKey[State] = web.AppKey("state", State)
