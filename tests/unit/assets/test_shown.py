"""Assets that a model is to be shown."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from app.assets.service import AssetService
from app.assets.shelf import AssetShelf, ShowingProvider
from app.errors import FatalError, NotFoundError
from app.gateway.fakes import FakeLedger, LocalGate, ScriptedProvider
from app.gateway.model import ModelCall
from app.gateway.registry_file import read_registry
from app.gateway.service import Gateway
from app.schema import ROOT


class NoAssets:
    """A service that has none."""

    def data_uri(self, asset_hash: str, owner: str | None) -> str:
        raise NotFoundError(f"There is no {asset_hash} of {owner}.")


def test_an_image_that_is_gone_is_no_fault_of_the_model_s_and_costs_nothing() -> None:
    vendor, ledger, gate = ScriptedProvider(), FakeLedger(), LocalGate()
    showing = ShowingProvider(vendor, AssetShelf(cast("AssetService", NoAssets())))
    gateway = Gateway(read_registry(ROOT / "orchestration_config.json"), {"openai": showing}, gate=gate)
    call = ModelCall("image_model", "what is it", images=("asset:" + "0" * 64,))

    with pytest.raises(FatalError, match="gone"):
        asyncio.run(gateway.complete(call, ledger))

    assert vendor.requests == []
    assert [row.status for row in ledger.rows] == ["failed"]
    assert gate.failures == {}
