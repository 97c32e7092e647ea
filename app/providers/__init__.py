"""One module a vendor, each behind the gateway's port."""
