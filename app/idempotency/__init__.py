"""Idempotency: the same key and body are answered once, whatever happens between caller and us."""
