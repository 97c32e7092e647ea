"""Models by logical name: which vendor serves one, whether it may be asked now, what the answer cost."""
