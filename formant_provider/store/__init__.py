"""The call store: who was to be called, when and with what outcome, in a database of the user's own."""
