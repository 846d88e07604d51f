"""The task that places one call. Internal."""
