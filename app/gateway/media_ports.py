"""What the making of images and film needs from outside."""

from __future__ import annotations

from typing import Any, Protocol

from app.gateway.media_model import FilmRequest, FilmState, ImageAnswer, ImageRequest, Picture, VendorJob
from app.gateway.ports import CallLedger


class MediaProvider(Protocol):
    """A vendor that makes images and film. Errors as `ChatProvider.complete`."""

    name: str

    async def make_image(self, request: ImageRequest) -> ImageAnswer:
        """Send one request, once; a refusal to make it is an answer."""

    async def submit_film(self, request: FilmRequest) -> FilmState:
        """Hand a job in, once."""

    async def read_film(self, job_id: str) -> FilmState:
        """Ask how a job stands."""

    async def fetch_film(self, uri: str, hosts: tuple[str, ...]) -> bytes:
        """Fetch a film that the vendor keeps.

        Args:
            uri: what the vendor handed back; only its own host and `hosts` are asked.
            hosts: further hosts, as the registry lists them.
        """

    async def close(self) -> None:
        """Give connections back."""


class JobLedger(CallLedger, Protocol):
    """A ledger that also keeps the vendors' jobs."""

    def for_part(self, part: int) -> JobLedger:
        """Give the ledger of another of the step's questions."""

    async def note_job(self, ordinal: int, job_id: str) -> None:
        """Store a job's id, at once: from then on it is re-attached and never handed in again."""

    async def job(self) -> VendorJob | None:
        """Give the step's newest call when it was sent and never answered; None when there is none."""


class AssetShelf(Protocol):
    """Keeps what was made, and gives what is to be shown."""

    async def keep(self, content: bytes, owner: str, holder: str) -> dict[str, Any]:
        """Keep a file; give it as the ledger and a step's output have it, `hash` and `media_type` among the keys.

        Raises:
            LogicalError: it is no image and no film.
        """

    def address(self, asset_hash: str) -> str:
        """Write an address that opens it for a while."""

    async def picture(self, reference: str) -> Picture:
        """Read an image from a data URI or a reference to an asset.

        Raises:
            FatalError: there is none.
        """
