# Recipes for those who change schedlog. `just` lists them.

default:
    @just --list

# What CI runs: the tests, then format and lints.
check:
    .ci/run

# All tests; those that need ../shared say that they were skipped.
test *ARGS:
    cargo test {{ARGS}}

# The laws on other cases than CI's, ROUNDS times; what fails is kept under tests/proptest-regressions.
hunt ROUNDS *ARGS:
    for round in $(seq {{ROUNDS}}); do PROPTEST_RNG_SEED=$(date +%s) cargo test --test it -- {{ARGS}} || exit 1; done

# Accept the present output as golden, after reading the difference.
bless:
    INSTA_UPDATE=always cargo test
    git diff --stat -- snapshots docs

# Compare the model with every decision record there is.
conform-all:
    cargo run --release -- conform traces/vllm-0.32
    if [ -d ../shared/vllm-records ]; then cargo run --release -- conform ../shared/vllm-records; fi

# Tests of the exports with Parquet, which the default build leaves out.
parquet:
    cargo test --features parquet --test it -- export
    cargo clippy --features parquet --all-targets -- -D warnings

# A log to measure `check` with: ROWS rows in per_iteration_requests.csv, 256 running requests, ids
# as a completions server gives them. 20 million rows take 1.7 GB.
bench-log ROWS DIR:
    mkdir -p {{DIR}}
    cargo run --release -- generate --requests $(( {{ROWS}} / 514 )) --ids completion --arrival fixed \
        --rate 42.6 --input-length uniform:64:512 --output-length uniform:256:768 --out {{DIR}}.jsonl
    cargo run --release -- replay {{DIR}}.jsonl --latency fixed --out {{DIR}} --force

# Benchmarks of the reader and of `check`, and of the logger's hooks.
bench *ARGS:
    cargo bench --bench check -- {{ARGS}}
    cargo bench --bench hooks

# `check` and pandas, polars, DuckDB (where Python has them) on one log, in turns.
bench-peers DIR *ARGS:
    cargo build --release
    python3 benches/peers/side_by_side.py {{DIR}} {{ARGS}}
