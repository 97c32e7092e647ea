"""Structures, ideas, prompts, likes and batches: what the Anatomie users' installation is about."""
