"""The call store: what was asked of whom, and what came of it, in a database of the user's own. Internal."""
