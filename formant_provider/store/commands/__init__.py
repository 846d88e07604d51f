"""The commands of ``python -m formant_provider.store``, a module for each."""
