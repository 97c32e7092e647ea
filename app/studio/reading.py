"""Read what callers send: structures and likes, with every problem said by its place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import InvalidError
from app.studio.model import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_RENDERER_CHARS,
    MAX_SKELETON_CHARS,
    MAX_STRUCTURES_A_REQUEST,
    MAX_URL_CHARS,
    Structure,
    clean,
    read_attributes,
    read_structure_id,
)

_STATUS_CHARS = 40


def read_structures(raw: Sequence[Any]) -> list[Structure]:
    """Read a request's structures.

    Raises:
        InvalidError: every problem of every structure, by `structures[0].skeleton` and so on.
    """
    errors: dict[str, list[str]] = {}
    if not 0 < len(raw) <= MAX_STRUCTURES_A_REQUEST:
        errors["structures"] = [f"Must hold 1 to {MAX_STRUCTURES_A_REQUEST} structures."]
        raise InvalidError("The structures are not valid.", errors=errors)
    items = [_read_structure(entry, f"structures[{at}]", errors) for at, entry in enumerate(raw)]
    found = [item for item in items if item is not None]
    for name in ("structure_id", "record_id"):
        counts = Counter(getattr(item, name) for item in found if getattr(item, name) is not None)
        errors |= {
            f"structures.{name}": [f"{key!r} is given more than once."] for key, count in counts.items() if count > 1
        }
    if errors:
        raise InvalidError("The structures are not valid.", errors=errors)
    return found


def _read_structure(entry: Any, place: str, errors: dict[str, list[str]]) -> Structure | None:
    if not isinstance(entry, Mapping):
        errors[place] = ["Must be an object."]
        return None
    reader = _Reader(entry, place, errors)
    structure_id = reader.checked("structure_id", read_structure_id, required=True)
    skeleton = reader.text("skeleton", MAX_SKELETON_CHARS, required=True)
    record_id = reader.text("record_id", MAX_ID_CHARS)
    renderer = reader.text("renderer", MAX_RENDERER_CHARS)
    status = reader.text("status", _STATUS_CHARS)
    attributes = reader.checked("attributes", _read_attributes)
    if structure_id is None or skeleton is None:
        return None
    return Structure(
        structure_id, skeleton, record_id, renderer or "", attributes or {}, status=status or "active", source="api"
    )


def _read_attributes(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("Must be an object.")  # noqa: TRY004 - a value of the caller's, not of ours
    return read_attributes(value)


class _Reader:
    """Reads the fields of one object and notes what is wrong with them."""

    def __init__(self, entry: Mapping[str, Any], place: str, errors: dict[str, list[str]]) -> None:
        self._entry = entry
        self._place = f"{place}." if place else ""
        self._errors = errors

    def checked(self, name: str, read: Any, *, required: bool = False) -> Any:
        value = self._entry.get(name)
        if value is None:
            if required:
                self._errors[self._place + name] = ["Missing data for required field."]
            return None
        try:
            return read(value)
        except ValueError as error:
            self._errors[self._place + name] = [str(error)]
            return None

    def text(self, name: str, most: int, *, required: bool = False) -> str | None:
        def read(value: Any) -> str | None:
            if not isinstance(value, str):
                raise ValueError("Must be a text.")  # noqa: TRY004 - a value of the caller's, not of ours
            text = clean(value)
            if len(text) > most:
                raise ValueError(f"Must have at most {most} characters.")
            if required and not text:
                raise ValueError("Must not be blank.")
            return text or None

        found: str | None = self.checked(name, read, required=required)
        return found


def read_like(raw: Mapping[str, Any]) -> dict[str, str | None]:
    """Read a like: blank fields count as none.

    Raises:
        InvalidError: no field at all, or one of the wrong kind or length.
    """
    errors: dict[str, list[str]] = {}
    reader = _Reader(raw, "", errors)
    structure_id = raw.get("structure_id")
    like: dict[str, str | None] = {
        "record_id": reader.text("record_id", MAX_NAME_CHARS),
        "structure_id": None if structure_id == "" else reader.checked("structure_id", read_structure_id),
        "image_url": reader.text("image_url", MAX_URL_CHARS),
    }
    if not errors and not any(like.values()):
        errors["body"] = ["At least one of record_id, structure_id and image_url is needed."]
    if errors:
        raise InvalidError("The like is not valid.", errors=errors)
    return like
