"""A scheduler logger in Python, right by default and wrong on demand.

`--mistake early-flush`: the flush comes when the model's output arrives, and clears the rows of
the step that has not ended. `--mistake preempted-time`: the clock of a request starts anew when it
is resumed, and the time it was preempted is booked nowhere. `--mistake lost-completion`: rows of
requests that completed since the last flush are not written at shutdown.
`--mistake crash | hang | noise`: the process misbehaves at the third step.
"""

import argparse
import csv
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "python"))
import schedlog_adapter  # noqa: E402

HEADERS = {
    "per_request": "request_id,arrival_time,first_scheduled_time,completion_time,waiting_time,"
    "execution_time,e2e_latency,input_tokens,output_tokens,ttft,tpot,throughput,preemption_count,"
    "eviction_count,kv_cache_blocks,kv_cache_memory_bytes,priority_score,finish_reason,"
    "cached_tokens,recomputed_tokens,scheduled_tokens",
    "per_iteration": "iteration_id,start_time,end_time,duration,scheduling_overhead,"
    "forward_pass_duration,output_processing_duration,batch_size,total_tokens,prefill_tokens,"
    "decode_tokens,kv_cache_used,kv_cache_total,running_count,waiting_count,preempted_count,"
    "scheduler_action,admitted_count,resumed_count,completed_count,evicted_blocks",
    "per_iteration_requests": "iteration_id,request_id,state,queue_position,waiting_reason,"
    "tokens_generated,kv_cache_blocks,time_in_state,scheduled_tokens,computed_tokens",
    "events": "timestamp,event_type,request_id,details",
    "state_transitions": "request_id,timestamp,state,duration_in_prev_state,prev_state",
}


class Request:
    def __init__(self, request_id, input_tokens, priority, now):
        self.id, self.input_tokens, self.priority = request_id, input_tokens, priority
        self.arrival = self.since = now
        self.state = "waiting"
        self.waiting = self.running = 0
        self.first_scheduled = self.first_token = None
        self.outputs = self.preemptions = self.evictions = 0
        self.cached = self.recomputed = self.scheduled = 0
        self.computed_before = self.computed_at_preemption = 0
        self.transitions = []

    def book(self, now):
        spent = now - self.since
        if self.state == "running":
            self.running += spent
        else:
            self.waiting += spent
        self.since = now
        return spent

    def enter(self, state, now):
        previous = self.state
        spent = self.book(now)
        self.state = state
        self.transitions.append([self.id, now, state, spent, previous])


class Step:
    def __init__(self, number, now):
        self.number, self.start = number, now
        self.decided = self.output = None
        self.kv = (0, 0, 0)
        self.batch = self.prefill = self.decode = self.running = self.waiting = 0
        self.preempted = self.admitted = self.resumed = 0
        self.rows, self.first_tokens, self.done = [], [], []

    def action(self):
        for count, name in (
            (self.preempted, "preempt"),
            (self.admitted, "admit_new"),
            (self.resumed, "resume"),
            (self.batch, "continue"),
        ):
            if count:
                return name
        return "idle"


class SchedulerLogger:
    def __init__(self, directory, settings, mistake=None):
        self.mistake = mistake
        self.bytes_per_block = settings["kv_bytes_per_block"]
        self.flush_iterations = settings["flush_interval_iterations"]
        self.flush_ns = settings["flush_interval_ns"]
        self.requests, self.step, self.steps = {}, None, 0
        self.unflushed, self.last_flush = 0, time.perf_counter_ns()
        self.files, self.rows = {}, {name: [] for name in HEADERS}
        for name, header in HEADERS.items():
            self.files[name] = open(os.path.join(directory, name + ".csv"), "w", newline="")
            self.files[name].write(header + "\n")

    def event(self, now, kind, request_id, **details):
        self.rows["events"].append([now, kind, request_id, json.dumps(details)])

    def record_request_arrival(self, request_id, input_tokens, priority):
        now = time.perf_counter_ns()
        self.requests[request_id] = Request(request_id, input_tokens, priority, now)
        self.event(now, "request_arrived", request_id, input_tokens=input_tokens, priority=priority)

    def begin_iteration(self):
        self.step = Step(self.steps, time.perf_counter_ns())
        self.steps += 1

    def record_schedule(self, kv_cache_used, kv_cache_total, evicted_blocks):
        self.step.decided = time.perf_counter_ns()
        self.step.kv = (kv_cache_used, kv_cache_total, evicted_blocks)

    def record_request_preempted(self, request_id, computed_tokens, blocks):
        request, now = self.requests[request_id], self.step.decided
        request.enter("preempted", now)
        request.preemptions += 1
        request.computed_at_preemption = computed_tokens
        request.computed_before = max(request.computed_before, computed_tokens)
        self.step.preempted += 1
        self.event(now, "request_preempted", request_id, iteration_id=self.step.number,
                   computed_tokens=computed_tokens)

    def record_request_scheduled(self, request_id, cached_tokens):
        request, now = self.requests[request_id], self.step.decided
        request.enter("running", now)
        request.first_scheduled, request.cached = now, cached_tokens
        self.step.admitted += 1
        self.event(now, "request_scheduled", request_id, iteration_id=self.step.number,
                   cached_tokens=cached_tokens)

    def record_request_resumed(self, request_id, cached_tokens):
        request, now = self.requests[request_id], self.step.decided
        if self.mistake == "preempted-time":
            request.since = now
        request.enter("running", now)
        request.cached += max(0, cached_tokens - request.computed_before)
        self.step.resumed += 1
        self.event(now, "request_resumed", request_id, iteration_id=self.step.number,
                   cached_tokens=cached_tokens)
        lost = request.computed_at_preemption - cached_tokens
        if lost > 0:
            request.evictions += 1
            self.event(now, "request_evicted", request_id, iteration_id=self.step.number,
                       lost_tokens=lost)

    def record_running(self, request_id, kv_cache_blocks, scheduled_tokens, computed_tokens,
                       prefill):
        request, step = self.requests[request_id], self.step
        request.scheduled += scheduled_tokens
        request.recomputed += min(scheduled_tokens,
                                  max(0, request.computed_before - computed_tokens))
        if scheduled_tokens:
            step.batch += 1
            if prefill:
                step.prefill += scheduled_tokens
            else:
                step.decode += scheduled_tokens
        step.rows.append([step.number, request_id, "running", step.running, "", request.outputs,
                          kv_cache_blocks, step.decided - request.since, scheduled_tokens,
                          computed_tokens])
        step.running += 1

    def record_waiting(self, request_id, reason):
        request, step = self.requests[request_id], self.step
        step.rows.append([step.number, request_id, request.state, step.waiting, reason,
                          request.outputs, 0, step.decided - request.since, 0, 0])
        step.waiting += 1

    def record_model_output(self):
        self.step.output = time.perf_counter_ns()
        if self.mistake == "early-flush" and self.flush_is_due():
            self.flush()
            self.step.rows.clear()
        if self.steps == 3 and self.mistake == "crash":
            raise RuntimeError("the third step is too much")
        if self.steps == 3 and self.mistake == "noise":
            print("debug: third step")
        while self.steps == 3 and self.mistake == "hang":
            pass

    def record_tokens_generated(self, request_id, tokens, rejected_drafts):
        request = self.requests[request_id]
        if request.outputs == 0 and tokens:
            self.step.first_tokens.append(request)
        request.outputs += tokens

    def finalize_request(self, request_id, finish_reason, blocks, computed_tokens):
        if finish_reason in ("abort", "error"):
            self.finish(self.requests[request_id], finish_reason, blocks)
        else:
            done = (self.requests[request_id], finish_reason, blocks, computed_tokens)
            self.step.done.append(done)

    def finish(self, request, reason, blocks):
        now = time.perf_counter_ns()
        request.enter("completed", now)
        self.event(now, "request_completed", request.id, finish_reason=reason,
                   output_tokens=request.outputs)
        self.write_request(request, reason, blocks, now)
        del self.requests[request.id]

    def write_request(self, request, reason, blocks, completion):
        e2e = "" if completion == "" else completion - request.arrival
        ttft = "" if request.first_token is None else request.first_token - request.arrival
        tpot, throughput = "", ""
        if e2e != "" and ttft != "" and request.outputs > 1:
            tpot = (e2e - ttft) // (request.outputs - 1)
        if e2e != "" and e2e > 0:
            scaled = (request.outputs * 10**15 + e2e // 2) // e2e
            throughput = f"{scaled // 10**6}.{scaled % 10**6:06d}"
        first = "" if request.first_scheduled is None else request.first_scheduled
        self.rows["per_request"].append([
            request.id, request.arrival, first, completion, request.waiting, request.running, e2e,
            request.input_tokens, request.outputs, ttft, tpot, throughput, request.preemptions,
            request.evictions, blocks, blocks * self.bytes_per_block, request.priority, reason,
            request.cached, request.recomputed, request.scheduled])
        self.rows["state_transitions"].extend(request.transitions)

    def end_iteration(self):
        step, now = self.step, time.perf_counter_ns()
        for request in step.first_tokens:
            request.first_token = now
            self.event(now, "first_token_generated", request.id, iteration_id=step.number)
        for request, reason, blocks, computed in step.done:
            step.rows.append([step.number, request.id, "completed", "", "", request.outputs, blocks,
                              0, 0, computed])
            self.finish(request, reason, blocks)
        used, total, evicted = step.kv
        self.rows["per_iteration"].append([
            step.number, step.start, now, now - step.start, step.decided - step.start,
            step.output - step.decided, now - step.output, step.batch, step.prefill + step.decode,
            step.prefill, step.decode, used, total, step.running, step.waiting, step.preempted,
            step.action(), step.admitted, step.resumed, len(step.done), evicted])
        self.rows["per_iteration_requests"].extend(step.rows)
        self.step = None
        self.unflushed += 1
        if self.flush_is_due():
            self.flush()

    def flush_is_due(self):
        return (self.unflushed >= self.flush_iterations
                or time.perf_counter_ns() - self.last_flush >= self.flush_ns)

    def flush(self):
        for name, rows in self.rows.items():
            csv.writer(self.files[name], lineterminator="\n").writerows(rows)
            self.files[name].flush()
            rows.clear()
        self.unflushed, self.last_flush = 0, time.perf_counter_ns()

    def shutdown(self):
        # A step under way ends with the scheduler; one that has decided nothing leaves no trace.
        if self.step is not None and self.step.decided is not None:
            if self.step.output is None:
                self.step.output = time.perf_counter_ns()
            self.end_iteration()
        if self.mistake == "lost-completion":
            self.rows["per_request"].clear()
        now = time.perf_counter_ns()
        for request in self.requests.values():
            request.book(now)
            self.write_request(request, "unfinished", 0, "")
        self.flush()
        for file in self.files.values():
            file.close()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mistake")
    mistake = arguments.parse_args().mistake
    schedlog_adapter.serve(
        lambda directory, settings, run: SchedulerLogger(directory, settings, mistake),
        name="example logger",
        overlapping_steps=False,
        speculative_decoding=False,
        log_levels=["standard"],
    )


if __name__ == "__main__":
    main()
