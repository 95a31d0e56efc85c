"""A value in another dtype: exactly, or not at all. Importing this package does not import polars;
its modules do, save `table`.

    table     which dtype can become which: always, if the value survives, never
    texts     the one text of a value, whatever dtype it comes in
    json      nested values as text, one for each content
    convert   a column in another dtype, and which of its values are not there
    times     moments as plain UTC datetimes, and columns of them
"""
