"""Small documents at random, done in random orders amid deaths, losses and doubles, against a plain reference."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.runs.claimed import Claimed
from app.runs.model import Send
from tests.engine.desk import NOBODY_IS_TOO_EARLY, Desk, Hand
from tests.engine.documents import parse
from tests.engine.reference import Author, End, Reference
from tests.engine.saying import say

MOST_MOVES = 3000
EVERYTHING_WAS_LOST = "2100-01-01T00:00:00Z"
ENDED = {"completed", "partial", "failed", "cancelled"}


@dataclass
class Held:
    """A step in somebody's hands, and what its chain still carries."""

    hand: Hand
    step: Claimed
    tail: list[str]
    has_slot: bool = False


@dataclass
class Chaos:
    """Move a run by random choices until it ends.

    Args:
        desk: the journal.
        chance: the source of all choices.
        fails: keys whose handler fails.
    """

    desk: Desk
    chance: random.Random
    fails: frozenset[str]
    run_id: str = ""
    messages: list[Send] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    zombies: list[Held] = field(default_factory=list)

    def play(self) -> None:
        """Move until the run has ended."""
        for move in range(MOST_MOVES):
            self._gather()
            if move % 20 == 0:
                self.desk.check(self.run_id)
            if self.desk.status(self.run_id) in ENDED:
                break
            self._move()
        else:
            raise AssertionError(f"the run hangs: {self.desk.statuses(self.run_id)}")
        for ghost in [*self.zombies, *self.held]:
            assert ghost.hand.finish(ghost.step, "a ghost's") == {"fenced": True}
        self.desk.check(self.run_id)

    @property
    def hands(self) -> list[Hand]:
        return self.desk.hands

    def _gather(self) -> None:
        self.messages.extend(self.desk.take_messages(*self.hands))
        for hand in self.hands:
            while hand.wakes:
                run_id, key = hand.wakes.pop()
                if self.chance.random() < 0.8:
                    hand.do({"op": "wake", "run": run_id, "key": key})

    def _move(self) -> None:
        move = self.chance.choices(
            [self._deliver, self._act, self._lose, self._kill, self._haunt, self._recover, self._pause, self._answer],
            [40, 40, 2, 3, 3, 4, 2, 6],
        )[0]
        if not self.messages and not self.held:
            move = self.chance.choice([self._recover, self._answer, self._resume])
        move()

    def _deliver(self) -> None:
        if not self.messages:
            return
        send = self.messages.pop(self.chance.randrange(len(self.messages)))
        if self.chance.random() < 0.1:
            self.messages.append(send)
        self._take(self.chance.choice(self.hands), send.key, [key for key, _ in send.tail])

    def _take(self, hand: Hand, key: str, tail: list[str]) -> None:
        step = hand.claim(self.run_id, key)
        if step is not None:
            self.held.append(Held(hand, step, tail))
            assert not self.desk.read(NOBODY_IS_TOO_EARLY, run=self.run_id), f"{key} is too early"

    def _act(self) -> None:
        if not self.held:
            return
        held = self.held.pop(self.chance.randrange(len(self.held)))
        hand, step = held.hand, held.step
        operation = hand.decide(step)
        if operation is None and step.task.target == "on_stage" and not held.has_slot:
            if not hand.do(step.operation("slots", slots=[["stage", 1]]))[0].get("parked"):
                held.has_slot = True
                self.held.append(held)
            return
        if operation is None:
            operation = self._outcome(step)
        following = held.tail[0] if held.tail and operation["op"] == "finish" else None
        if following:
            operation["chained"] = following
        answer = hand.do(operation)[0]
        assert answer.get("fenced") is not True, f"a living owner was refused: {operation}"
        if self.chance.random() < 0.1:
            assert hand.do(operation)[0] == {"fenced": True}
        if answer.get("chained"):
            self._take(hand, str(following), held.tail[1:])

    def _outcome(self, step: Claimed) -> dict[str, Any]:
        if self.chance.random() < 0.15:
            reason = self.chance.choice(["back-off", "handed back", "rate"])
            error_class = "transient" if reason == "back-off" else None
            return dict(step.operation("park", reason=reason, delay_s=0, error_class=error_class))
        if step.key in self.fails:
            return dict(step.operation("finish", status="failed", error={"code": "boom", "message": "boom"}))
        return dict(step.operation("finish", status="completed", output=[step.key]))

    def _lose(self) -> None:
        if self.messages:
            self.messages.pop(self.chance.randrange(len(self.messages)))

    def _kill(self) -> None:
        dead = self.chance.choice(self.hands)
        dead.die()
        for held in [held for held in self.held if held.hand is dead]:
            self.held.remove(held)
            self.zombies.append(Held(self.desk.ghost(dead), held.step, []))
        self.desk.be_reborn(dead)

    def _haunt(self) -> None:
        """Let a process that counts as dead write its finish; whoever has the step by then decides."""
        if self.zombies:
            zombie = self.zombies.pop(self.chance.randrange(len(self.zombies)))
            if zombie.hand.decide(zombie.step) is None:
                zombie.hand.do(self._outcome(zombie.step))
                self.messages.extend(zombie.hand.messages)

    def _recover(self) -> None:
        self.chance.choice(self.hands).recover(epoch=EVERYTHING_WAS_LOST)

    def _pause(self) -> None:
        self.desk.command(self.run_id, "pause")
        if self.chance.random() < 0.5:
            self._resume()

    def _resume(self) -> None:
        self.desk.command(self.run_id, "resume")

    def _answer(self) -> None:
        waiting = [
            step.key
            for step in self.desk.view(self.run_id).steps
            if step.kind == "approval" and step.status == "waiting" and step.reason == "person"
        ]
        if waiting:
            key = self.chance.choice(waiting)
            self.desk.command(self.run_id, "approve", key=key, approved=key not in self.fails, output=[key])


def play_seed(desk: Desk, seed: int) -> None:
    chance = random.Random(seed)
    blocks, variables = Author(chance).write()
    workflow = parse(blocks, variables)
    keys = [task.key for task in workflow.tasks()]
    keys += [f"{key}.{n}" for key in keys for n in range(3)]
    fails = frozenset(key for key in keys if chance.random() < 0.15)
    before: dict[str, End] = {}
    attempts: dict[str, int] = {}
    chaos = Chaos(desk, chance, fails)
    chaos.run_id = desk.submit(blocks, variables)
    for retry in range(3):
        reference = Reference(workflow, chaos.fails, before)
        expected = reference.play()
        chaos.play()
        assert ends_of(desk, chaos.run_id) == plain(expected), f"retry {retry}"
        assert desk.status(chaos.run_id) == reference.status
        for key, count in attempts.items():
            assert desk.step_row(chaos.run_id, key).attempts == count, f"{key} was done again"
        if reference.status == "completed":
            return
        before = expected
        attempts = attempts_of_completed(desk, chaos.run_id)
        desk.command(chaos.run_id, "retry")
        fails = frozenset(key for key in keys if retry == 0 and chance.random() < 0.15)
        chaos = Chaos(desk, chance, fails, chaos.run_id)
    raise AssertionError("the last retry, of which nothing fails, did not complete the run")


def attempts_of_completed(desk: Desk, run_id: str) -> dict[str, int]:
    """How often each step was tried that a retry must leave alone."""
    steps = desk.view(run_id).steps
    parents = {step.parent for step in steps}
    return {step.key: step.attempts for step in steps if step.status == "completed" and step.key not in parents}


def ends_of(desk: Desk, run_id: str) -> dict[str, tuple[str, Any]]:
    return {step.key: (step.status, step.output) for step in desk.view(run_id).steps}


def plain(ends: dict[str, End]) -> dict[str, tuple[str, Any]]:
    return {key: (end.status, end.output) for key, end in ends.items()}


def play_many(desk: Desk, count: int) -> None:
    for _ in range(3):
        desk.hand()
    first = random.randrange(10**9)
    say(f"seeds {first} to {first + count - 1}")
    for seed in range(first, first + count):
        try:
            play_seed(desk, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        desk.write("truncate runs, slots, slot_waiters cascade")
        desk.write("update admission set run_id = null")


def test_every_interleaving_comes_to_what_the_document_says(desk: Desk) -> None:
    play_many(desk, 120)


@pytest.mark.prove
def test_thousands_of_interleavings_come_to_what_their_documents_say(desk: Desk) -> None:
    play_many(desk, 2000)
