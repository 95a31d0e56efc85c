"""A value in another dtype: exactly, or not at all. Importing this package does not import polars;
its modules do.

    texts     the one text of a value, whatever dtype it comes in
"""
