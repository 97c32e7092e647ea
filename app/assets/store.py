"""All SQL of assets, with the files beside it: each is only changed while the other is held still."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.assets.model import Asset, Facts

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

    from app.assets.files import AssetFiles

LOT = 500
# Who writes a content and who deletes it take turns: neither a row without its file nor a file that just got a row.
LOCK = sa.text("select pg_advisory_xact_lock(hashtextextended('batuta.asset.' || :hash, 0))")
KEEP = sa.text("""
insert into assets (hash, owner, media_type, size_bytes, width, height, seconds)
values (:hash, :owner, :media_type, :size_bytes, :width, :height, :seconds)
on conflict (hash, owner) do update set fallen_at = null
""")
HOLD = sa.text("""
with held as (
    update assets set fallen_at = null where owner = :owner and hash = any(:hashes) returning hash, owner
)
insert into asset_uses (hash, owner, holder) select hash, owner, :holder from held on conflict do nothing
""")
FIND = sa.text("""
select * from assets where hash = :hash and fallen_at is null and (cast(:owner as text) is null or owner = :owner)
order by created_at limit 1
""")
FORGET_RUNS = sa.text("""
delete from asset_uses u where holder like 'run:%'
    and not exists (select 1 from runs r where r.run_id = cast(substr(u.holder, 5) as uuid))
""")
FALL = sa.text("""
update assets a set fallen_at = clock_timestamp() where fallen_at is null
    and not exists (select 1 from asset_uses u where u.hash = a.hash and u.owner = a.owner)
""")
# A use that came while assets fell.
STAND_UP = sa.text("""
update assets a set fallen_at = null where fallen_at is not null
    and exists (select 1 from asset_uses u where u.hash = a.hash and u.owner = a.owner)
""")
FORGET = sa.text("""
delete from assets a where fallen_at < clock_timestamp() - interval '1 day'
    and not exists (select 1 from asset_uses u where u.hash = a.hash and u.owner = a.owner)
""")
KNOWN = sa.text("select distinct hash from assets where hash = any(:hashes)")


class PgAssets:
    """Assets in PostgreSQL and on disk; implements `AssetIndex`.

    Args:
        engine: the process's pool.
        files: the folder of contents.
    """

    def __init__(self, engine: Engine, files: AssetFiles) -> None:
        self._engine = engine
        self._files = files

    def keep(self, asset: Asset, content: bytes, holder: str) -> None:
        """Write content and row, and note what refers to it."""
        facts = asset.facts
        row = {
            "hash": asset.hash,
            "owner": asset.owner,
            "media_type": facts.media_type,
            "size_bytes": asset.size_bytes,
            "width": facts.width,
            "height": facts.height,
            "seconds": facts.seconds,
        }
        with self._engine.begin() as connection:
            connection.execute(LOCK, {"hash": asset.hash})
            self._files.write(asset.hash, content)
            connection.execute(KEEP, row)
            connection.execute(HOLD, {"hashes": [asset.hash], "owner": asset.owner, "holder": holder})

    def hold(self, hashes: Collection[str], owner: str, holder: str, connection: Connection | None = None) -> None:
        """Note that something refers to assets; with a connection, in its transaction."""
        values = {"hashes": list(hashes), "owner": owner, "holder": holder}
        if connection is not None:
            connection.execute(HOLD, values)
            return
        with self._engine.begin() as own:
            own.execute(HOLD, values)

    def find(self, asset_hash: str, owner: str | None) -> Asset | None:
        """Find an asset that has not fallen."""
        with self._engine.connect() as connection:
            row = connection.execute(FIND, {"hash": asset_hash, "owner": owner}).one_or_none()
        return None if row is None else _asset(row)

    def tidy(self) -> int:
        """Let fall what nothing refers to; a day later delete the row, and the file when no row is left."""
        with self._engine.begin() as connection:
            connection.execute(FORGET_RUNS)
            connection.execute(FALL)
        with self._engine.begin() as connection:
            connection.execute(STAND_UP)
            connection.execute(FORGET)
        return sum(self._delete(asset_hash) for asset_hash in self._unknown())

    def _unknown(self) -> Iterator[str]:
        old = self._files.old()
        while hashes := list(islice(old, LOT)):
            with self._engine.connect() as connection:
                known = set(connection.execute(KNOWN, {"hashes": hashes}).scalars())
            yield from set(hashes) - known

    def _delete(self, asset_hash: str) -> bool:
        with self._engine.begin() as connection:
            connection.execute(LOCK, {"hash": asset_hash})
            if connection.execute(KNOWN, {"hashes": [asset_hash]}).first() is not None:
                return False
            self._files.delete(asset_hash)
        return True


def _asset(row: Any) -> Asset:
    seconds = None if row.seconds is None else float(row.seconds)
    return Asset(row.hash, row.owner, Facts(row.media_type, row.width, row.height, seconds), row.size_bytes)
