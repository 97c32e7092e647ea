"""Questions that are not urgent, asked together in a vendor's batch at a lower price."""
