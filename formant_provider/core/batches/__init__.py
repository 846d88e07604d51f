"""Batch calls: named, placed, followed and reported. Internal."""
