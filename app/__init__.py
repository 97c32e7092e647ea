"""Batuta: one durable engine for AI agents, five front doors."""

__version__ = "0.1.0"
