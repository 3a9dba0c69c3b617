"""What notebooks do with a scheduler log: the columns that they select, and a figure of each."""

import sys

import pandas as pd

log = sys.argv[1]
requests = pd.read_csv(f"{log}/per_request.csv")
steps = pd.read_csv(f"{log}/per_iteration.csv")
events = pd.read_csv(f"{log}/events.csv")

print("requests", len(requests))
print("ttft p50 ms", requests["ttft"].quantile(0.5) / 1e6)
print("tpot p90 ms", round(requests["tpot"].quantile(0.9) / 1e6, 3))
print("preempted requests", int((requests["preemption_count"] > 0).sum()))
print("preemptions", len(events[events["event_type"] == "request_preempted"]))
utilisation = steps["kv_cache_used"] / steps["kv_cache_total"]
print("kv utilisation", round(utilisation.mean(), 4))
print("batch size at the busiest step", steps.set_index("iteration_id")["batch_size"].max())

if len(sys.argv) > 2:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.plot(steps["iteration_id"], utilisation)
    plt.plot(steps["iteration_id"], steps["batch_size"])
    plt.savefig(sys.argv[2])
