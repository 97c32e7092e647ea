"""Claims on words: who claims a fingerprint first may use it, nobody else within the window."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.studio.tables import NOW, fingerprints


def claim_fingerprints(connection: sa.Connection, kind: str, wanted: Iterable[str], window: timedelta) -> set[str]:
    """Claim those of the wanted fingerprints that nobody used within the window.

    Two transactions that want the same one: the second waits for the first's end. Sorted, so that they cannot wait for
    each other.

    Returns:
        The claimed ones.
    """
    rows = [{"kind": kind, "fingerprint": one} for one in sorted(set(wanted))]
    if not rows:
        return set()
    statement = insert(fingerprints).values(rows)
    renewed = statement.on_conflict_do_update(
        index_elements=[fingerprints.c.kind, fingerprints.c.fingerprint],
        set_={"used_at": NOW},
        where=fingerprints.c.used_at < NOW - window,
    )
    return set(connection.execute(renewed.returning(fingerprints.c.fingerprint)).scalars())
