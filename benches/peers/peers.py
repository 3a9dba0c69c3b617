#!/usr/bin/env python3
"""Two invariants of a scheduler log, as one checks them with a data frame library today.

    peers.py pandas|polars|duckdb|pandas-whole|polars-whole|duckdb-whole DIR

1. The scheduled_tokens of the rows of a step add up to its total_tokens.
2. tokens_generated of a request never falls from one of its rows to the next.

The first three are written for speed: they read only the columns that the two invariants need, and polars plans both
queries at once. A notebook that looks at more than these two reads the files as they are first and then asks one
question after the other, as those on `-whole` do.

Prints one line of JSON: versions, violations of each, seconds (start of the interpreter and imports left
out) and peak memory in MiB.
"""

import json
import resource
import sys
import time


def with_pandas(directory, whole=False):
    import pandas

    start = time.perf_counter()
    rows = pandas.read_csv(
        f"{directory}/per_iteration_requests.csv",
        usecols=None if whole else ["iteration_id", "request_id", "tokens_generated", "scheduled_tokens"],
    )
    steps = pandas.read_csv(
        f"{directory}/per_iteration.csv", usecols=None if whole else ["iteration_id", "total_tokens"]
    )
    sums = rows.groupby("iteration_id")["scheduled_tokens"].sum()
    totals = steps.set_index("iteration_id")["total_tokens"]
    sums = sums.reindex(totals.index, fill_value=0)
    uneven = int((sums != totals).sum())
    falls = int((rows.groupby("request_id")["tokens_generated"].diff() < 0).sum())
    return pandas.__version__, uneven, falls, time.perf_counter() - start


def with_polars(directory, whole=False):
    import polars as pl

    start = time.perf_counter()
    if whole:
        rows = pl.read_csv(f"{directory}/per_iteration_requests.csv")
        steps = pl.read_csv(f"{directory}/per_iteration.csv")
        sums = rows.group_by("iteration_id").agg(pl.col("scheduled_tokens").sum())
        joined = steps.join(sums, on="iteration_id", how="left")
        uneven = joined.filter(pl.col("scheduled_tokens").fill_null(0) != pl.col("total_tokens")).height
        falls = rows.filter(pl.col("tokens_generated").diff().over("request_id") < 0).height
        return pl.__version__, uneven, falls, time.perf_counter() - start
    rows = pl.scan_csv(f"{directory}/per_iteration_requests.csv").select(
        "iteration_id", "request_id", "tokens_generated", "scheduled_tokens"
    )
    steps = pl.scan_csv(f"{directory}/per_iteration.csv").select("iteration_id", "total_tokens")
    sums = rows.group_by("iteration_id").agg(pl.col("scheduled_tokens").sum())
    uneven = (
        steps.join(sums, on="iteration_id", how="left")
        .filter(pl.col("scheduled_tokens").fill_null(0) != pl.col("total_tokens"))
        .select(pl.len())
    )
    falls = rows.group_by("request_id", maintain_order=False).agg(
        (pl.col("tokens_generated").diff() < 0).sum().alias("falls")
    )
    uneven, falls = pl.collect_all([uneven, falls.select(pl.col("falls").sum())])
    return pl.__version__, uneven.item(), falls.item() or 0, time.perf_counter() - start


def with_duckdb(directory, whole=False):
    import duckdb

    start = time.perf_counter()
    db = duckdb.connect()
    db.execute(
        "create table rows as select row_number() over () as nr, "
        + ("* " if whole else "iteration_id, request_id, tokens_generated, scheduled_tokens ")
        + f"from read_csv('{directory}/per_iteration_requests.csv')"
    )
    uneven = db.execute(
        "select count(*) from (select iteration_id, total_tokens from "
        f"read_csv('{directory}/per_iteration.csv')) steps left join "
        "(select iteration_id, sum(scheduled_tokens) as tokens from rows group by iteration_id) sums "
        "using (iteration_id) where coalesce(tokens, 0) <> total_tokens"
    ).fetchone()[0]
    falls = db.execute(
        "select count(*) from (select tokens_generated - lag(tokens_generated) over "
        "(partition by request_id order by nr) as rise from rows) where rise < 0"
    ).fetchone()[0]
    return duckdb.__version__, uneven, falls, time.perf_counter() - start


PEERS = {"pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb}

if __name__ == "__main__":
    peer = sys.argv[1].removesuffix("-whole") if len(sys.argv) == 3 else None
    if peer not in PEERS:
        sys.exit(__doc__)
    version, uneven, falls, seconds = PEERS[peer](sys.argv[2], whole=sys.argv[1] != peer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "peer": f"{sys.argv[1]} {version}",
                "uneven_steps": uneven,
                "falls": falls,
                "seconds": round(seconds, 3),
                "peak_mib": round(peak),
            }
        )
    )
