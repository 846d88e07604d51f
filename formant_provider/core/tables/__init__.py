"""Files and frames of rows, read row by row or refused. Internal."""
