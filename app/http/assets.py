"""Assets: what models made and people brought, opened by their owner or by a signed address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, request, send_file
from marshmallow import fields, validate

from app.assets.model import SUFFIXES
from app.errors import NotFoundError
from app.http.application import application, identity
from app.http.resource import Resource, Route, Rule
from app.http.schemas import TolerantSchema

if TYPE_CHECKING:
    from typing import Any

    from app.assets.model import Asset

resource = Resource("assets", "Images and films, by the hash of their content.")
MOST_TEXT = 200
# Whatever a file holds, a browser that opens it by itself runs and loads nothing.
POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"
AGE_S = 86_400


class AssetAddressSchema(TolerantSchema):
    """What a signed address carries."""

    expires = fields.String(load_default="", validate=validate.Length(max=MOST_TEXT))
    signature = fields.String(load_default="", validate=validate.Length(max=MOST_TEXT))


@resource.serves(
    Route(
        path="/assets/<asset_hash>",
        query=AssetAddressSchema,
        media="application/octet-stream",
        problems=(404, 416),
        rule=Rule(signed=True),
    )
)
def get_asset(asset_hash: str, query: dict[str, Any]) -> Response:
    """Give a file, whole or a range of it: to its owner, or to whoever holds a signed address."""
    app = application()
    asset = app.assets.find(asset_hash, _owner_or_signed(asset_hash, query))
    response = send_file(
        app.assets.path_of(asset).absolute(),
        mimetype=asset.media_type,
        conditional=True,
        etag=asset.hash,
        last_modified=None,
        max_age=AGE_S,
    )
    _protect(response, asset)
    return response


def _owner_or_signed(asset_hash: str, query: dict[str, Any]) -> str | None:
    """Say whose assets may be looked among: a token's owner's, or everybody's for a valid signature.

    Raises:
        NotFoundError: the signature is not ours, or its time is over.
    """
    if "signature" not in request.args:
        return identity().sees
    if not application().assets.opens(asset_hash, query["expires"], query["signature"]):
        raise NotFoundError("There is no such asset, or its address has expired.", code="asset_not_found")
    return None


def _protect(response: Response, asset: Asset) -> None:
    """Let nobody take the file for a page, or keep it for others."""
    name = f"{asset.hash[:16]}.{SUFFIXES[asset.media_type]}"
    response.headers["Content-Disposition"] = f'inline; filename="{name}"'
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = f"private, max-age={AGE_S}, immutable"
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Accept-Ranges"] = "bytes"
