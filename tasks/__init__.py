"""Door 2: Celery. One thin task a use case."""
