"""Call lists: many personal calls of one task, in their own time, each attempt at most once. Internal."""
