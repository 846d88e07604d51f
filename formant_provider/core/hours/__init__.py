"""Calling hours, by the recipient's own clock. Internal."""
