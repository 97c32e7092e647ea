from __future__ import annotations

import sqlalchemy as sa


def test_a_test_gets_a_database_of_its_own_with_vectors(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("create extension if not exists vector"))
        assert connection.execute(sa.text("select '[1,2]'::vector <-> '[1,4]'::vector")).scalar_one() == 2
