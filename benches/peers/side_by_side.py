#!/usr/bin/env python3
"""`schedlog check` and its peers on one log, on one machine, in one run.

    side_by_side.py DIR [--rounds 3] [--schedlog target/release/schedlog] [--peers pandas,polars,duckdb]

The rounds take turns, so that all see the same load of the machine. Times are those of whole processes, start
included, with the files in the page cache.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

PEERS = [peer + suffix for suffix in ("", "-whole") for peer in ("pandas", "polars", "duckdb")]
HERE = pathlib.Path(__file__).parent


def run(command):
    """Seconds, processor seconds, peak MiB and standard output of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} failed with {process.returncode}: {output.decode()}")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--schedlog", default="target/release/schedlog")
    parser.add_argument("--peers", default=",".join(PEERS))
    options = parser.parse_args()
    peers = [peer for peer in options.peers.split(",") if peer]
    commands = {"schedlog": [options.schedlog, "check", options.directory]}
    for peer in peers:
        commands[peer] = [sys.executable, str(HERE / "peers.py"), peer, options.directory]

    rows = 0
    for name in os.listdir(options.directory):
        with open(os.path.join(options.directory, name), "rb") as file:
            lines = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 18), b""))
        rows += lines if name == "per_iteration_requests.csv" else 0

    results = {name: [] for name in commands}
    names = {"schedlog": "schedlog, all rules"}
    for _ in range(options.rounds):
        for name, command in commands.items():
            seconds, cpu, peak, output = run(command)
            results[name].append((seconds, cpu, peak))
            if name != "schedlog":
                told = json.loads(output)
                names[name] = told["peer"]
                if told["uneven_steps"] or told["falls"]:
                    sys.exit(f"{name} finds fault with a correct log: {told}")

    print(f"{rows - 1} rows, {os.cpu_count()} processors, {options.rounds} rounds")
    print(f"{'':24} {'seconds min/median/max':>26} {'ns/row':>8} {'cpu s':>7} {'MiB':>6}   ratio min/median/max")
    for name, rounds in results.items():
        seconds = sorted(each[0] for each in rounds)
        ratios = sorted(each[0] / own[0] for each, own in zip(rounds, results["schedlog"]))
        middle = statistics.median(seconds)
        print(
            f"{names[name]:24} {seconds[0]:8.2f} {middle:8.2f} {seconds[-1]:8.2f} "
            f"{middle / rows * 1e9:8.0f} {statistics.median(each[1] for each in rounds):7.2f} "
            f"{max(each[2] for each in rounds):6.0f}   "
            f"{ratios[0]:.1f} {statistics.median(ratios):.1f} {ratios[-1]:.1f}"
        )


if __name__ == "__main__":
    main()
