"""Measure the scorers on public data sets: `python -m ml.evaluate`."""
