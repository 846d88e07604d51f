"""The task that places a batch call. Internal."""
