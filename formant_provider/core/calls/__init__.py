"""One call: what it is, and whether it may be placed. Internal."""
