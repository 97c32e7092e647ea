"""The engine: runs, their journal in PostgreSQL, and everything that moves a step from pending to its end."""
