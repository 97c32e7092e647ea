"""Persons, history, weights and the feedback counter in PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.assignments.model import FIRST_ROLE_WEIGHT, Person, Record, Result, role_weight_name
from app.assignments.tables import NOW, assignment_history, assignment_state, assignment_weights, persons

LOAD_WEEKS = 4
"""How far back duties count as load: the span of the formula's `assignments_last_4w`."""

WEIGHT_DIGITS = 10  # steps of .05 add up without a float's crumbs
_WEEK_LOCK = 7_301_001  # any number nobody else locks: keeps two writers of one week apart

_PERSON = (
    persons.c.person_id,
    persons.c.nombre,
    persons.c.genero,
    persons.c.es_siervo,
    persons.c.can_president,
    persons.c.can_pray,
    persons.c.can_conduct,
    persons.c.can_read,
    persons.c.metadata,
)
_ENTRY = (
    assignment_history.c.person_id,
    assignment_history.c.role,
    assignment_history.c.week_date,
    assignment_history.c.result,
    assignment_history.c.alternative_id,
    assignment_history.c.created_at,
)


@dataclass(frozen=True)
class Judgement:
    """A feedback to write down.

    Args:
        known: features of the person, and of the alternative, as they are before it.
    """

    role: str
    person_id: int
    result: Result
    alternative_id: int | None
    known: Mapping[str, Any]


@dataclass(frozen=True)
class PastDuties:
    """What earlier meetings gave a person.

    Args:
        last_week: the newest date.
        recent: duties in the last `LOAD_WEEKS` weeks.
    """

    last_week: date
    recent: int


@dataclass(frozen=True)
class TrainingState:
    """Where training stands.

    Args:
        waiting: feedbacks that no training has used.
        run_id: the newest training's run; None before the first.
        asked_s_ago: how long ago it was asked for, in seconds.
    """

    waiting: int
    run_id: str | None
    asked_s_ago: float | None


class PgAssignmentStore:
    """Keep everything about assignments."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """Open a transaction."""
        return self._engine.begin()

    # --- persons ---

    def put_persons(self, people: Collection[Person]) -> list[dict[str, Any]]:
        """Store persons, all or none; one whose id is known is written over.

        Returns:
            The rows, in the order given.
        """
        # By id, so that two requests with the same persons cannot wait for each other.
        rows = [asdict(person) for person in sorted(people, key=lambda person: person.person_id)]
        statement = insert(persons)
        changed = {column.name: statement.excluded[column.name] for column in _PERSON[1:]}
        statement = statement.on_conflict_do_update(index_elements=["person_id"], set_={**changed, "updated_at": NOW})
        with self._engine.begin() as connection:
            result = connection.execute(statement.returning(*_PERSON, persons.c.created_at), rows)
            stored = {row["person_id"]: dict(row) for row in result.mappings()}
        return [stored[person.person_id] for person in people]

    def list_persons(self, page: int, page_size: int) -> tuple[list[dict[str, Any]], int]:
        """Give a page of persons, newest first, and how many there are."""
        query = sa.select(*_PERSON, persons.c.created_at)
        return self._page(query, (persons.c.created_at.desc(), persons.c.person_id.desc()), page, page_size)

    def find_persons(self, connection: sa.Connection, ids: Collection[int]) -> dict[int, Person]:
        """Give those of some persons that are known, by their ids."""
        if not ids:
            return {}
        rows = connection.execute(sa.select(*_PERSON).where(_among(persons.c.person_id, ids))).mappings()
        return {row["person_id"]: Person(**row) for row in rows}

    # --- history ---

    def read_records(
        self, connection: sa.Connection, roles: Collection[str], ids: Collection[int]
    ) -> dict[tuple[int, str], Record]:
        """Count how persons were judged in roles; an alternative counts as accepted. Those never judged are absent."""
        if not ids or not roles:
            return {}
        history = assignment_history.c
        in_roles = history.role.in_(list(roles))
        accepted = sa.case((history.result == Result.ACCEPTED.value, 1), else_=0)
        judged = sa.select(history.person_id, history.role, accepted.label("yes")).where(
            history.result.is_not(None), in_roles, _among(history.person_id, ids)
        )
        preferred = sa.select(history.alternative_id, history.role, sa.literal(1)).where(
            in_roles, _among(history.alternative_id, ids)
        )
        each = sa.union_all(judged, preferred).subquery()
        query = sa.select(each.c.person_id, each.c.role, sa.func.sum(each.c.yes), sa.func.count()).group_by(
            each.c.person_id, each.c.role
        )
        return {(person, role): Record(int(yes), int(all_)) for person, role, yes, all_ in connection.execute(query)}

    def read_duties(self, ids: Collection[int], before: date) -> dict[int, PastDuties]:
        """Read what earlier meetings gave persons.

        Args:
            ids: the persons'.
            before: the Monday of the week that is planned; from there on nothing counts.
        """
        if not ids:
            return {}
        history = assignment_history.c
        recent = history.week_date >= before - timedelta(weeks=LOAD_WEEKS)
        query = (
            sa.select(history.person_id, sa.func.max(history.week_date), sa.func.count().filter(recent))
            .where(history.duty.is_not(None), history.week_date < before, _among(history.person_id, ids))
            .group_by(history.person_id)
        )
        with self._engine.connect() as connection:
            return {person: PastDuties(last, count) for person, last, count in connection.execute(query)}

    def replace_week(self, monday: date, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write a week's duties in place of those it had."""
        history = assignment_history
        week = history.c.week_date.between(monday, monday + timedelta(days=6))
        with self._engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WEEK_LOCK, monday.toordinal())))
            connection.execute(history.delete().where(history.c.duty.is_not(None), week))
            if rows:
                connection.execute(history.insert(), [dict(row) for row in rows])

    def add_judgement(self, connection: sa.Connection, judgement: Judgement) -> None:
        """Write a feedback into the history, under today's date."""
        values = {**asdict(judgement), "result": judgement.result.value, "week_date": sa.func.current_date()}
        connection.execute(assignment_history.insert().values(values))

    def list_history(self, page: int, page_size: int) -> tuple[list[dict[str, Any]], int]:
        """Give a page of the history, newest first, and how long it is."""
        newest = assignment_history.c.history_id.desc()
        return self._page(sa.select(*_ENTRY), (newest,), page, page_size)

    # --- weights and the counter ---

    def read_weights(self, connection: sa.Connection) -> tuple[dict[str, float], datetime | None]:
        """Give the stored weights by name, and when one changed last."""
        query = sa.select(assignment_weights).order_by(assignment_weights.c.name)
        rows = connection.execute(query).all()
        return {row.name: row.value for row in rows}, max((row.updated_at for row in rows), default=None)

    def move_role_weight(self, connection: sa.Connection, role: str, step: float) -> None:
        """Add to a role's weight; others who do the same wait, so that no step is lost."""
        weight = assignment_weights.c.value
        statement = insert(assignment_weights).values(name=role_weight_name(role), value=FIRST_ROLE_WEIGHT + step)
        moved = sa.cast(sa.func.round(sa.cast(weight + step, sa.Numeric), WEIGHT_DIGITS), sa.Double)
        changed = {"value": moved, "updated_at": NOW}
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=changed))

    def count_feedback(self, connection: sa.Connection) -> int:
        """Count one feedback more; give how many no training has used."""
        waiting = assignment_state.c.feedback_since_last_retrain
        statement = insert(assignment_state).values(feedback_since_last_retrain=1)
        statement = statement.on_conflict_do_update(
            index_elements=["only"], set_={"feedback_since_last_retrain": waiting + 1}
        )
        return int(connection.execute(statement.returning(waiting)).scalar_one())

    def consume_feedback(self, connection: sa.Connection, used: int) -> None:
        """Take from the counter what a training used, in the transaction that keeps its model."""
        waiting = assignment_state.c.feedback_since_last_retrain
        left = sa.func.greatest(waiting - used, 0)
        connection.execute(assignment_state.update().values(feedback_since_last_retrain=left, last_retrain_at=NOW))

    # --- training ---

    def read_training(self, connection: sa.Connection, *, lock: bool = False) -> TrainingState:
        """Read where training stands; locked, nobody else starts or keeps one until the transaction ends."""
        state = assignment_state.c
        ago = sa.func.extract("epoch", NOW - state.training_asked_at)
        query = sa.select(state.feedback_since_last_retrain, state.training_run_id, ago)
        row = connection.execute(query.with_for_update() if lock else query).one_or_none()
        if row is None:  # the first feedback makes the row
            return TrainingState(0, None, None)
        return TrainingState(row[0], row[1], None if row[2] is None else float(row[2]))

    def note_training(self, connection: sa.Connection, run_id: str) -> None:
        """Note that a run trains from now on."""
        connection.execute(assignment_state.update().values(training_run_id=run_id, training_asked_at=NOW))

    def count_examples(self, connection: sa.Connection, enough: int) -> tuple[int, int]:
        """Count the rows a training would have, accepted ones and others; of each kind it stops at `enough`."""
        history = assignment_history.c
        accepted = history.result == Result.ACCEPTED.value

        def count(*conditions: sa.ColumnElement[bool]) -> int:
            found = sa.select(sa.literal(1)).where(*conditions).limit(enough).subquery()
            return int(connection.execute(sa.select(sa.func.count()).select_from(found)).scalar_one())

        preferred = count(history.alternative_id.is_not(None))
        return count(history.result.is_not(None), accepted) + preferred, count(history.result.is_not(None), ~accepted)

    def read_feedback(self, connection: sa.Connection) -> list[tuple[dict[str, Any], str, float]]:
        """Give what was known before each feedback, its result, and its time (seconds since 1970), oldest first."""
        history = assignment_history.c
        at_s = sa.func.extract("epoch", history.created_at)
        query = sa.select(history.known, history.result, at_s).where(history.result.is_not(None))
        rows = connection.execute(query.order_by(history.created_at, history.history_id))
        return [(known, result, float(moment)) for known, result, moment in rows]

    def _page(
        self, query: sa.Select[Any], order: Iterable[sa.ColumnElement[Any]], page: int, page_size: int
    ) -> tuple[list[dict[str, Any]], int]:
        counted = sa.select(sa.func.count()).select_from(query.subquery())
        with self._engine.connect() as connection:
            total = connection.execute(counted).scalar_one()
            shown = query.order_by(*order).limit(page_size).offset((page - 1) * page_size)
            return [dict(row) for row in connection.execute(shown).mappings()], total


def _among(column: sa.Column[Any], ids: Collection[int]) -> sa.ColumnElement[bool]:
    # One parameter however many ids there are.
    return column == sa.any_(sa.cast(sorted(ids), sa.ARRAY(sa.BigInteger)))
