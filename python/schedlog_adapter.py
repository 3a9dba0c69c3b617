"""Drives a scheduler logger written in Python from `schedlog fuzz --logger`.

Standard library only. A logger is any object with the hooks of the vLLM v1 scheduler logger:

    record_request_arrival(request_id, input_tokens, priority)
    begin_iteration()
    record_schedule(kv_cache_used, kv_cache_total, evicted_blocks)
    record_request_preempted(request_id, computed_tokens, blocks)
    record_request_scheduled(request_id, cached_tokens)
    record_request_resumed(request_id, cached_tokens)
    record_kv_cache_allocated(request_id, blocks)
    record_running(request_id, kv_cache_blocks, scheduled_tokens, computed_tokens, prefill)
    record_waiting(request_id, reason)
    record_model_output()
    record_tokens_generated(request_id, tokens, rejected_drafts)
    finalize_request(request_id, finish_reason, blocks, computed_tokens)
    end_iteration()
    shutdown()

A hook that the logger does not have is not called. `finalize_request` is called for a request that
an output finished and for one that was aborted; a logger that tells them apart has
`record_request_completed` and `record_request_dropped` instead. Loggers whose hooks have other
names or parameters are wrapped: subclass `Adapter` and override `call`.

Time: `time.perf_counter_ns`, `time.perf_counter`, `time.monotonic_ns`, `time.monotonic`,
`time.time_ns` and `time.time` are replaced by the virtual clock. So call them as `time.x()`; a
name imported with `from time import x` before this module keeps the real clock.

Use:

    import schedlog_adapter
    from my_logger import SchedulerLogger

    def make(directory, settings, run):
        return SchedulerLogger(directory, flush_every=settings["flush_interval_iterations"])

    schedlog_adapter.serve(make, name="my logger", overlapping_steps=False)
"""

import json
import sys
import time

PROTOCOL = 1


class VirtualClock:
    """The time of the scheduler under simulation, in place of the machine's."""

    def __init__(self):
        self.now_ns = 0

    def install(self):
        time.perf_counter_ns = time.monotonic_ns = time.time_ns = lambda: self.now_ns
        time.perf_counter = time.monotonic = time.time = lambda: self.now_ns / 1e9


class Adapter:
    """One logger at a time, from `start` to `shutdown` or `kill`."""

    # Hooks of the protocol under the names that a logger has for them, the first that is there.
    NAMES = {
        "record_request_completed": ("record_request_completed", "finalize_request"),
        "record_request_dropped": ("record_request_dropped", "finalize_request"),
    }
    DEFAULTS = {"record_request_dropped": {"computed_tokens": 0}}

    def __init__(self, make, clock):
        self.make = make
        self.clock = clock
        self.logger = None

    def start(self, message):
        self.clock.now_ns = 0
        self.logger = self.make(message["directory"], message["settings"], message["run"])

    def hook(self, message):
        self.clock.now_ns = message["now"]
        name = message["hook"]
        arguments = {
            key: value for key, value in message.items() if key not in ("type", "hook", "now")
        }
        for own_name in self.NAMES.get(name, (name,)):
            method = getattr(self.logger, own_name, None)
            if method is not None:
                extra = self.DEFAULTS.get(name, {}) if own_name != name else {}
                self.call(method, {**extra, **arguments})
                return

    def call(self, method, arguments):
        method(**arguments)


def serve(make, name="python logger", adapter=Adapter, **supports):
    """Answers the protocol on standard input and output until the input ends.

    `make(directory, settings, run)` makes a fresh logger. `supports` limits what it is asked for:
    overlapping_steps, speculative_decoding, prefix_caching, priority, aborts (all true unless
    said otherwise) and log_levels (all three).
    """
    clock = VirtualClock()
    clock.install()
    answers = sys.stdout
    session = adapter(make, clock)
    for line in sys.stdin:
        message = json.loads(line)
        kind = message["type"]
        if kind == "hook":
            session.hook(message)
            if message["hook"] != "shutdown":
                continue
            session.logger = None
        elif kind == "start":
            session.start(message)
        elif kind == "kill":
            session.logger = None
        answer = {"ok": True}
        if kind == "hello":
            answer.update(protocol=PROTOCOL, name=name, supports=supports)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
