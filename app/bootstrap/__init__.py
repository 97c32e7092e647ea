"""The one composition root: every collaborator is made here and connects when it is first used, never at import.

Each module adds what stands on the one before: connections, engine, models, nouns, and the whole.
"""

from app.bootstrap.composition import Application, build
from app.bootstrap.connections import libpq_address, load_tables

__all__ = ["Application", "build", "libpq_address", "load_tables"]
