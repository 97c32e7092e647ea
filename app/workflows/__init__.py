"""The workflow document: its grammar, its variables and conditions, and what running it would take. Pure."""
