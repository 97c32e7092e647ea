"""Assets over a real database: what keeps them, when they fall, and that neither file nor row is left alone."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.assets.files import AssetFiles, read_key
from app.assets.model import Asset, run_holder
from app.assets.service import AssetService
from app.assets.store import LOCK, PgAssets
from app.errors import NotFoundError, TooLargeError, UnsupportedMediaError
from app.runs.model import new_run_id
from simulator.media_files import make_png

Ask = Callable[..., list[tuple[Any, ...]]]
PNG = make_png(4, 4, "a")
A_RUN = "insert into runs (run_id, kind, owner, status, priority) values (:run, 'workflow', 'ann', 'completed', 'low')"


@pytest.fixture
def assets(engine: sa.Engine, tmp_path: Path) -> AssetService:
    files = AssetFiles(tmp_path)
    return AssetService(PgAssets(engine, files), files, tmp_path, public_url="https://batuta.example/")


@pytest.fixture
def ask(engine: sa.Engine) -> Ask:
    def run(statement: str, **values: Any) -> list[tuple[Any, ...]]:
        with engine.begin() as connection:
            result = connection.execute(sa.text(statement), values)
            return [tuple(row) for row in result] if result.returns_rows else []

    return run


def age(assets: AssetService, asset: Asset) -> None:
    """Make a file two days older."""
    then = time.time() - 2 * 86_400
    os.utime(assets.path_of(asset), (then, then))


def is_there(assets: AssetService, asset: Asset, owner: str | None = "ann") -> bool:
    try:
        assets.find(asset.hash, owner)
    except NotFoundError:
        return False
    return True


def test_an_asset_stays_as_long_as_a_run_refers_to_it_and_its_file_a_day_longer(assets: AssetService, ask: Ask) -> None:
    run = new_run_id()
    ask(A_RUN, run=run)
    asset = assets.keep(PNG, "ann", run_holder(run))
    age(assets, asset)
    assert assets.tidy() == 0
    assert is_there(assets, asset)

    ask("delete from runs where run_id = :run", run=run)
    assert assets.tidy() == 0
    assert not is_there(assets, asset)
    assert assets.path_of(asset).exists()

    ask("update assets set fallen_at = fallen_at - interval '25 hours'")
    assert assets.tidy() == 1
    assert not assets.path_of(asset).exists()
    assert ask("select count(*) from assets") == [(0,)]


def test_what_is_made_or_used_again_within_the_day_stands_up_again(assets: AssetService, ask: Ask) -> None:
    asset = assets.keep(PNG, "ann", run_holder(new_run_id()))
    for again in (
        lambda: assets.keep(PNG, "ann", "file:1"),
        lambda: assets.hold([asset.hash], "ann", "file:2"),
    ):
        ask("delete from asset_uses")
        assets.tidy()
        assert not is_there(assets, asset)
        again()
        age(assets, asset)
        assert (assets.tidy(), is_there(assets, asset)) == (0, True)


def test_one_owners_fall_leaves_the_others(assets: AssetService, ask: Ask) -> None:
    asset = assets.keep(PNG, "ann", "file:1")
    assets.keep(PNG, "bob", "file:2")
    ask("delete from asset_uses where owner = 'ann'")
    assets.tidy()
    ask("update assets set fallen_at = fallen_at - interval '25 hours'")
    age(assets, asset)
    assert assets.tidy() == 0
    assert (is_there(assets, asset, "ann"), is_there(assets, asset, "bob")) == (False, True)


def test_nobody_holds_what_is_somebody_elses(assets: AssetService, ask: Ask) -> None:
    asset = assets.keep(PNG, "ann", "file:1")
    assets.hold([asset.hash, "0" * 64], "bob", "file:2")
    assert ask("select owner, holder from asset_uses") == [("ann", "file:1")]


def test_a_file_whose_row_never_came_and_one_half_written_go_after_a_day(assets: AssetService, tmp_path: Path) -> None:
    files = AssetFiles(tmp_path)
    files.write("a" * 64, b"orphan")
    half = files.path_of("a" * 64).parent / ".half"
    half.write_bytes(b"half")
    fresh = files.path_of("b" * 64)
    files.write("b" * 64, b"fresh")
    then = time.time() - 2 * 86_400
    os.utime(files.path_of("a" * 64), (then, then))
    os.utime(half, (then, then))
    assert assets.tidy() == 1
    assert (files.path_of("a" * 64).exists(), half.exists(), fresh.exists()) == (False, False, True)


def test_writing_and_deleting_the_same_content_leave_neither_a_row_without_a_file_nor_a_fault(
    assets: AssetService, ask: Ask, engine: sa.Engine
) -> None:
    asset = assets.keep(PNG, "ann", "file:0")
    stop = threading.Event()

    def tidy() -> None:
        while not stop.is_set():
            ask("delete from asset_uses")
            assets.tidy()
            ask("update assets set fallen_at = fallen_at - interval '25 hours' where fallen_at is not null")
            if assets.path_of(asset).exists():
                age(assets, asset)
            assets.tidy()

    with ThreadPoolExecutor(2) as pool:
        tidying = pool.submit(tidy)
        try:
            for number in range(150):
                assets.keep(PNG, "ann", f"file:{number}")
                with engine.begin() as connection:
                    connection.execute(LOCK, {"hash": asset.hash})  # nothing moves while both are looked at
                    kept = connection.execute(sa.text("select 1 from assets")).first() is not None
                    assert assets.path_of(asset).exists() or not kept
        finally:
            stop.set()
        tidying.result()
    assets.keep(PNG, "ann", "file:last")
    assert assets.read(asset.hash, "ann")[1] == PNG


def test_what_is_too_large_or_no_image_is_not_kept(
    assets: AssetService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedMediaError):
        assets.keep(b"<svg onload='alert(1)'/>", "ann", "file:1")
    monkeypatch.setattr("app.assets.service.MOST_BYTES", 10)
    with pytest.raises(TooLargeError):
        assets.keep(PNG, "ann", "file:1")
    assert not (tmp_path / "assets").exists()


def test_an_address_stands_behind_the_public_one_and_is_the_same_within_the_hour(assets: AssetService) -> None:
    first, second = assets.address("0" * 64), assets.address("0" * 64)
    assert first.startswith(f"https://batuta.example/assets/{'0' * 64}?expires=")
    assert first == second


def test_processes_that_start_together_come_to_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: read_key(tmp_path, ""), range(64)))
    assert len(keys) == 1
    assert len(keys.pop()) == 64
    assert [path.name for path in tmp_path.iterdir()] == ["assets.key"]
    assert read_key(tmp_path, "a secret of one's own") == b"a secret of one's own"
