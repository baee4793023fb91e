"""Records in from CSV files, and out again."""
