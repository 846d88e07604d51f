"""The task that has audio transcribed. Internal."""
