"""The studio: batches, likes, structures, prompts, ideas, scores."""

from __future__ import annotations

from app.http.resource import Resource

resource = Resource("studio", "Ideas, prompts and likes.")
