"""Opens exports with the readers that are installed: read_exports.py LOG PARQUET_DIR|- OCEL_FILE|-.

Prints a line per reader; exits with 1 if one of them reads something else than the log says.
"""

import csv
import importlib.util
import json
import sys

log, parquet, ocel = sys.argv[1:4]
TABLES = "per_request per_iteration per_iteration_requests events state_transitions".split()
has = importlib.util.find_spec


def rows(table):
    with open(f"{log}/{table}.csv", newline="") as file:
        return list(csv.DictReader(file))


def same(text, value):
    if value is None or text == "":
        return value is None and text == ""
    return json.loads(text) == json.loads(value) if text.startswith("{") else (
        float(text) == value if isinstance(value, (int, float)) else text == value
    )


def compare(reader, table, found):
    expected = rows(table)
    assert len(expected) == len(found), (reader, table, len(found))
    for line, (row, other) in enumerate(zip(expected, found), 2):
        assert list(row) == list(other), (reader, table, list(other))
        for column in row:
            assert same(row[column], other[column]), (reader, table, line, column, other[column])


if parquet != "-":
    if has("pyarrow"):
        import pyarrow.parquet as pq

        for table in TABLES:
            compare("pyarrow", table, pq.read_table(f"{parquet}/{table}.parquet").to_pylist())
        print("pyarrow: five tables as in the log")
    else:
        print("skipped: pyarrow is not installed")
    if has("duckdb"):
        import duckdb

        for table in TABLES:
            result = duckdb.sql(f"select * from '{parquet}/{table}.parquet'")
            names = result.columns
            compare("duckdb", table, [dict(zip(names, row)) for row in result.fetchall()])
        print("duckdb: five tables as in the log")
    else:
        print("skipped: duckdb is not installed")

if ocel != "-":
    if has("pm4py"):
        import pm4py

        read = pm4py.read_ocel2_json(ocel)
        assert len(read.events) == len(rows("events")) + len(rows("per_iteration")), len(read.events)
        assert len(read.objects) == len(rows("per_request")) + len(rows("per_iteration"))
        batches = sum(int(row["batch_size"]) for row in rows("per_iteration"))
        qualifiers = read.relations["ocel:qualifier"]
        assert qualifiers.isin(["scheduled", "completed"]).sum() == batches
        print("pm4py: events, objects and relations as in the log")
    else:
        print("skipped: pm4py is not installed")
