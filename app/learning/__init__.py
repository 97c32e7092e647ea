"""The scorers' registry: versions, promotion, rollback, retraining. The mathematics is in `ml/`."""
