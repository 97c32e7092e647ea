"""Who should take a task: persons, their history, the formula that ranks them, and whole meetings."""
