"""Quantiles of scheduler logs as pandas computes them, one line each, logs divided by a blank line."""

import sys

import pandas as pd


def show(group, frame, columns):
    for column in columns:
        values = frame[column].dropna()
        figures = [values.quantile(q) for q in (0.5, 0.9, 0.99)] if len(values) else []
        texts = " ".join(repr(float(figure)) for figure in figures)
        print(f"{group} {column} {len(values)} {texts}".rstrip())


for log in sys.argv[1:]:
    requests = pd.read_csv(f"{log}/per_request.csv")
    requests["queueing"] = requests["first_scheduled_time"] - requests["arrival_time"]
    latencies = ["ttft", "tpot", "e2e_latency", "waiting_time", "execution_time", "queueing"]
    show("all", requests, latencies)
    show("finished", requests[requests["finish_reason"].isin(["stop", "length"])], latencies)

    steps = pd.read_csv(f"{log}/per_iteration.csv")
    steps["kv_utilisation"] = steps["kv_cache_used"] / steps["kv_cache_total"]
    columns = ["duration", "scheduling_overhead", "forward_pass_duration", "output_processing_duration"]
    columns += ["batch_size", "total_tokens", "prefill_tokens", "decode_tokens"]
    columns += ["kv_utilisation", "running_count", "waiting_count"]
    show("steps", steps, columns)
    print()
