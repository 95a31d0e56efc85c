"""A provider package as a third party would write it."""

from random import Random

from titans import Schema, hookimpl

TITANS_API = 1


@hookimpl
def titans_schema():
    return Schema(
        {"Price": "Float64", "Free": "Int64"}, score="Free", unobserved={"Price": -1, "Free": -1}
    )


@hookimpl
def titans_pk_columns():
    return ("Flavor", "Zone")


@hookimpl
def titans_normalize(frame):
    return frame.rename(
        {"flavor": "Flavor", "zone": "Zone", "usd_per_hour": "Price", "free": "Free"}, strict=False
    )


@hookimpl
def titans_example(seed, keys, slots):
    import polars as pl

    random = Random(seed)
    rows = [
        {"flavor": f"n{i // 3}", "zone": "abc"[i % 3], "usd_per_hour": 0.1 * (i + 1), "free": 5}
        for i in range(keys)
    ]
    for _ in range(slots):
        for row in random.sample(rows, keys // 10):
            row["usd_per_hour"], row["free"] = (
                round(row["usd_per_hour"] * random.uniform(0.9, 1.1), 4),
                random.randint(-1, 9),
            )
        yield pl.DataFrame(rows)
