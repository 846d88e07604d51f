"""Files that tasks read and write. Internal."""
