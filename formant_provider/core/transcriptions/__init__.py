"""Transcription jobs: asked for, submitted and followed. Internal."""
