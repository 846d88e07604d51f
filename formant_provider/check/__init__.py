"""Checks a set-up from end to end: ``python -m formant_provider.check``. Internal, but for its command."""
