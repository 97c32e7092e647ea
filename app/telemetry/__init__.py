"""What monitors read: metrics, and what the web process counts of its own requests."""
