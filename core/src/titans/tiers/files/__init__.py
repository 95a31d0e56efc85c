"""Data files: Parquet, what a file says of itself, and fetching from stores elsewhere."""
