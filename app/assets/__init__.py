"""Files that callers may open: what models made, and what people brought; by the hash of their content."""
