"""What was asked of models, how it went and what it cost, read from the ledger."""
