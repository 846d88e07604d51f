"""One poll for all who wait. Internal."""
