"""PostgreSQL and Redis from the wheels, run under DATA_DIR for whoever has no servers of their own."""

from app.servers.postgres import EmbeddedPostgres
from app.servers.redis import EmbeddedRedis

__all__ = ["EmbeddedPostgres", "EmbeddedRedis"]
