"""What tasks that work off a call list are made of. Internal."""
