"""Phone numbers: what a written number means. Internal."""
