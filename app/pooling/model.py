"""What pooling speaks of: a batch that needs looking after, and its questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

NAME = "item-{item_id}"


@dataclass(frozen=True)
class PooledCall:
    """One question in a batch, and the row of the ledger its answer belongs to.

    Args:
        item_id: ours; names it at the vendor.
        logical: the logical name of the model, whose prices hold.
        request: as the ledger keeps it.
        estimate_usd: what was set aside for it.
    """

    item_id: int
    run_id: str
    step_key: str
    ordinal: int
    logical: str
    request: Mapping[str, Any]
    estimate_usd: Decimal = Decimal(0)

    @property
    def name(self) -> str:
        """What it is called at the vendor."""
        return NAME.format(item_id=self.item_id)


@dataclass(frozen=True)
class VendorBatch:
    """A batch that this process looks after for a moment.

    Args:
        model: the vendor's id.
        mark: ours; finds the batch at the vendor when its id was lost.
        vendor_id: None until the vendor gave one and it was stored.
        tries: how often it was handed in; above 0 without an id, it may stand at the vendor already.
        is_late: the first of its questions must soon be asked live.
        is_given_up: the time for its last answers is over, whether or not it could be asked to stop.
        cancel_asked: the vendor was asked to stop.
    """

    batch_id: int
    provider: str
    model: str
    mark: str
    vendor_id: str | None
    tries: int
    is_late: bool
    is_given_up: bool
    cancel_asked: bool


@dataclass(frozen=True)
class PoolingLimits:
    """When a batch is closed and how it is watched; times in seconds.

    Args:
        gather_s: how long the first question waits for others.
        most: questions of one batch.
        poll_s: between two looks at a batch.
        live_after_s: after which a question is asked live at the latest.
        margin_s: before that, the batch is asked to stop.
        stop_s: how long a stopped batch may take to bring its last answers.
    """

    gather_s: float = 60.0
    most: int = 1000
    poll_s: float = 30.0
    live_after_s: float = 86_400.0
    margin_s: float = 1800.0
    stop_s: float = 900.0
