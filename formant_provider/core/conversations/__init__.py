"""Conversations: found, matched to calls, and followed to their end. Internal."""
