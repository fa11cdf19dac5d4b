"""What a run reports about each column of a table: likelihood, error, and those of a baseline."""
