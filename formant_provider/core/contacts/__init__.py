"""Contacts: which rows of a list may be called. Internal."""
