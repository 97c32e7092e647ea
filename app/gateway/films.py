"""One film under way: handed in once, its job's id stored at once, watched until it ends, whoever watches.

The step is parked between two looks, so a film holds no worker while a vendor makes it. What a worker's death may leave
behind is a row that says where the job is (it is re-attached), or one that was sent and whose job was never heard of:
then nobody knows whether the vendor makes a film, and only a person may order another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from app.errors import LogicalError, PersistentError, ResourceError, StepError, StepParked, TransientError
from app.gateway.images import ASSET, REFUSAL, MediaExchange, name_picture, read_stored, refuse_size
from app.gateway.media_config import FilmWishes
from app.gateway.media_model import FilmRequest, FilmState, FilmStatus, VendorJob
from app.gateway.media_ports import MediaProvider
from app.gateway.prices import PieceCost, piece_cost
from app.gateway.registry import Target
from app.gateway.sending import PassedOver, Sending

logger = logging.getLogger(__name__)

JOB = "job"
UNHEARD = "film_unheard"
GONE = "film_gone"
LATE = "film_late"
UNUSABLE = "film_unusable"
GIVEN_UP = frozenset({GONE, LATE, UNUSABLE})
"""Why a job is not looked at again, not even after a person's retry, which orders another."""
LAST_WORD_S = 2.0
"""A step that is stopped while its film is handed in waits so long to hear the job's id."""
_NOT_FOUND = 404


class FilmExchange(MediaExchange[FilmWishes]):
    """See to one film; it lives as long as one try of its step."""

    _refusal: PersistentError | None = None

    async def resume(self) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
        """Go on where an earlier try stood.

        Returns:
            The asset and the request it answers; None when a film is to be ordered.

        Raises:
            StepParked: `job`, it is still being made.
            StepError: nothing will come of it.
        """
        while (stored := await self._ledger.stored()) is not None:
            found = read_stored(stored.answer or {})
            if found is not None:
                return found, stored.request
            self._refuse(stored.request, str((stored.answer or {}).get(REFUSAL, "")))
        job = await self._ledger.job()
        if job is None or (job.retried and (job.job_id is None or job.code in GIVEN_UP)):
            return None
        if job.job_id is None:
            raise await self._unheard(job.ordinal)
        return await self._watch(job, job.job_id)

    async def ask(self, target: Target) -> PassedOver:
        """Order a film from one target.

        Returns:
            Only why another target should be asked.

        Raises:
            StepParked: `job`, it was handed in; `rate` or `budget`.
            StepError: one that may pass, or `film_unheard`.
        """
        offer = target.offer
        if self._sender.refused(target):
            return PassedOver(self._refusal or PersistentError(f"{offer.model} does not make this.", code="refused"))
        unfit = refuse_size(target, self._wishes.resolution)
        if unfit is not None:
            return unfit
        request = self._request(target)
        cost = piece_cost(offer.prices.per_second, offer.prices, self._wishes.resolution, self._wishes.seconds)
        worst = cost.worst(request.prompt)
        sending = await self._sender.admit(target, worst)
        if isinstance(sending, PassedOver):
            return sending
        reserved = await self._sender.reserve(sending, target, self._written(target, request, cost), worst)
        return await self._hand_in(sending, reserved.ordinal, request)

    async def _hand_in(self, sending: Sending, ordinal: int, request: FilmRequest) -> PassedOver:
        """Hand it in and store its id; who stops the step meanwhile waits for that for a moment."""
        task = asyncio.ensure_future(self._submit(sending, ordinal, request))
        try:
            outcome = await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=LAST_WORD_S)
            if not task.done():
                task.cancel()  # closes the row as unknown
                await asyncio.wait({task})
            raise
        if isinstance(outcome, PassedOver):
            return outcome
        raise StepParked(JOB, delay_s=self._parts.poll_s)

    async def _submit(self, sending: Sending, ordinal: int, request: FilmRequest) -> FilmState | PassedOver:
        try:
            maker = self._parts.makers[request.provider]
            state = await self._sender.send(sending, ordinal, maker.submit_film(request))
        except StepError as error:
            if error.details.get("sent"):
                raise await self._unheard(ordinal) from error
            raise
        if isinstance(state, PassedOver):
            if isinstance(state.problem, StepError) and state.problem.details.get("sent"):
                raise await self._unheard(ordinal) from state.problem
            return state
        await self._ledger.note_job(ordinal, state.job_id)
        await self._sender.accepted(sending)
        return state

    async def _unheard(self, ordinal: int) -> PersistentError:
        """Close a call whose job nobody heard of."""
        message = (
            "The film was ordered, and whether the vendor makes it is not known: the answer was never heard. It is "
            "counted as paid and not ordered again by itself; retry the run to order another."
        )
        error = PersistentError(message, code=UNHEARD, final=True)
        await self._ledger.fail(ordinal, error, sent=True)
        return error

    async def _watch(self, job: VendorJob, job_id: str) -> tuple[dict[str, Any], Mapping[str, Any]] | None:
        """Look at a job once: use what it brought, park, or say that nothing comes of it."""
        provider = str(job.request.get("provider"))
        maker = self._parts.makers.get(provider)
        if maker is None:
            raise PersistentError(
                f"A film is being made at {provider}, which is not configured.", code="not_configured"
            )
        try:
            state = await maker.read_film(job_id)
            if state.status is FilmStatus.DONE:
                return await self._bring_home(job, state, maker), job.request
        except StepError as error:
            raise await self._misfortune(job, error) from error
        if state.status is FilmStatus.WORKING:
            await self._refuse_late(job)
            raise StepParked(JOB, delay_s=self._parts.poll_s)
        await self._end_without(job, state)
        return None

    async def _misfortune(self, job: VendorJob, error: StepError) -> StepError | StepParked:
        """Judge a look that failed: the job itself may be well."""
        if isinstance(error, TransientError | ResourceError):
            await self._refuse_late(job)
            logger.warning("a film under way cannot be looked at now: %s", error)
            return StepParked(JOB, delay_s=max(self._parts.poll_s, error.retry_after_s or 0.0))
        if error.details.get("status") == _NOT_FOUND:
            return await self._give_up(job, GONE, "The vendor does not know the film any more.")
        if error.code in {"file_refused", UNUSABLE, "answer_too_large"}:
            return await self._give_up(job, UNUSABLE, str(error))
        return error  # a key that was withdrawn: a person sees to it, and a retry finds the job again

    async def _refuse_late(self, job: VendorJob) -> None:
        if job.age_s > self._parts.most_s:
            raise await self._give_up(job, LATE, f"The film was not made within {self._parts.most_s:.0f} s.")

    async def _give_up(self, job: VendorJob, code: str, message: str) -> PersistentError:
        error = PersistentError(
            f"{message} It is counted as paid; retry the run to order another.", code=code, final=True
        )
        await self._ledger.fail(job.ordinal, error, sent=True)
        return error

    async def _bring_home(self, job: VendorJob, state: FilmState, maker: MediaProvider) -> dict[str, Any]:
        """Fetch the film, keep it, then settle the call: in this order nothing that was paid for is lost."""
        hosts = tuple(str(host) for host in job.request.get("hosts") or ())
        content = state.content or await maker.fetch_film(state.uri, hosts)
        try:
            asset = await self._parts.shelf.keep(content, self._call.owner, self._call.holder)
        except LogicalError as error:
            raise PersistentError(str(error), code=UNUSABLE) from error
        cost = PieceCost(_dollars(job.request, "dollars"), _dollars(job.request, "token_rate"))
        response = {ASSET: asset, "model": job.request.get("model"), "vendor_id": state.job_id}
        usage = state.usage
        await self._ledger.answer(job.ordinal, {**response, "usage": usage.to_json()}, usage, cost.settled(usage))
        return asset

    async def _end_without(self, job: VendorJob, state: FilmState) -> None:
        """Close a job that brought nothing, and cost nothing.

        Raises:
            TransientError: ordering it again may help.
        """
        if state.status is FilmStatus.FAILED:
            error = TransientError(f"The vendor could not make the film: {state.said}", code="film_failed")
            await self._ledger.fail(job.ordinal, error, sent=False)
            raise error
        response = {REFUSAL: state.said, "vendor_id": state.job_id, "usage": state.usage.to_json()}
        await self._ledger.answer(job.ordinal, response, state.usage, Decimal(0))
        await self._ledger.reject(job.ordinal, state.said)
        self._refuse(job.request, state.said)

    def _refuse(self, request: Mapping[str, Any], said: str) -> None:
        self._sender.refuse(str(request.get("provider")), str(request.get("model")))
        named = request.get("logical")
        self._refusal = self._refusal or PersistentError(f"{named} does not make this film: {said}", code="refused")

    def _request(self, target: Target) -> FilmRequest:
        offer, wishes = target.offer, self._wishes
        return FilmRequest(
            provider=offer.provider,
            model=offer.model,
            prompt=wishes.prompt(self._call.prompt),
            seconds=wishes.seconds,
            aspect_ratio=wishes.aspect_ratio,
            resolution=wishes.resolution,
            pictures=self._pictures,
            extra=offer.extra,
            timeout_s=self._call.timeout_s,
        )

    def _written(self, target: Target, request: FilmRequest, cost: PieceCost) -> dict[str, Any]:
        """Write a request for the ledger, with what whoever takes over needs: prices and hosts as they were."""
        return {
            **vars(request),
            "pictures": [name_picture(image) for image in self._call.images],
            "logical": target.logical.name,
            "hosts": list(target.offer.hosts),
            "dollars": str(cost.dollars),
            "token_rate": str(cost.token_rate),
        }


def _dollars(request: Mapping[str, Any], name: str) -> Decimal:
    return Decimal(str(request.get(name) or 0))
