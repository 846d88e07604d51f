"""Receives the vendor's webhooks. Internal, but for its commands."""
