"""A first come, first served scheduler with paged memory, right by default and wrong on demand.

It follows vLLM's rules without prefix caching, overlap and drafts. `--mistake victim`: the request
that runs longest is preempted, instead of the last one. `--mistake budget`: decodes do not count
against the token budget.
"""

import argparse
import json
import sys


class Request:
    def __init__(self, arrival):
        self.id = arrival["request_id"]
        self.length = self.prompt = sum(count for _, count in arrival["prompt"])
        self.max_tokens = arrival["max_tokens"]
        self.outputs = self.computed = self.blocks = 0


class Scheduler:
    def __init__(self, config, stop_token, mistake):
        self.mistake, self.stop_token = mistake, stop_token
        self.block_size = config["block_size"]
        self.total = self.free = config["num_gpu_blocks"] - 1
        self.watermark = int(config["watermark"] * config["num_gpu_blocks"])
        self.budget = min(config["max_num_batched_tokens"], config["max_num_scheduled_tokens"])
        self.seats = config["max_num_active_seqs"]
        self.max_len = config["max_model_len"]
        self.chunked = config["enable_chunked_prefill"]
        self.threshold = config["long_prefill_token_threshold"]
        self.reserve = config["scheduler_reserve_full_isl"]
        self.running, self.waiting, self.batch = [], [], []

    def blocks_of(self, tokens):
        return -(-tokens // self.block_size)

    def release(self, request):
        self.free += request.blocks
        request.blocks = 0

    def take(self, request, tokens):
        missing = self.blocks_of(tokens) - request.blocks
        if missing > self.free:
            return False
        self.free -= max(0, missing)
        request.blocks += max(0, missing)
        return True

    def drop(self, ids):
        for request in [r for r in self.running + self.waiting if r.id in ids]:
            (self.running if request in self.running else self.waiting).remove(request)
            self.release(request)

    def schedule(self, arrivals, aborts):
        self.waiting.extend(Request(arrival) for arrival in arrivals)
        self.drop(aborts)
        crowd = len(self.running) + len(self.waiting)
        cap = self.threshold if self.threshold and crowd > 1 else self.max_len + 1
        left, self.batch, preempted = self.budget, [], []
        left = self.serve_running(cap, left, preempted)
        if not preempted:
            self.serve_waiting(cap, left)
        for request, tokens in self.batch:
            request.computed += tokens
        return {
            "preempted": preempted,
            "batch": [[request.id, tokens] for request, tokens in self.batch],
            "running": [request.id for request in self.running],
            "waiting": [request.id for request in self.waiting],
            "kv_cache_used": self.total - self.free,
        }

    def serve_running(self, cap, left, preempted):
        index = 0
        while index < len(self.running) and left > 0:
            request = self.running[index]
            tokens = min(request.length - request.computed, cap, left,
                         self.max_len - 1 - request.computed)
            index += 1
            if tokens <= 0:
                continue
            while not self.take(request, request.computed + tokens):
                victim = self.running.pop(0 if self.mistake == "victim" else -1)
                preempted.append(victim.id)
                self.batch = [entry for entry in self.batch if entry[0] is not victim]
                self.release(victim)
                victim.computed = 0
                self.waiting.insert(0, victim)
                if victim is request:
                    return left
            self.batch.append((request, tokens))
            if self.mistake != "budget" or request.computed < request.prompt:
                left -= tokens
        return left

    def serve_waiting(self, cap, left):
        while self.waiting and left > 0 and len(self.running) < self.seats:
            request = self.waiting[0]
            tokens = min(request.length, cap)
            if tokens > left:
                if not self.chunked:
                    return
                tokens = left
            spare = self.free - (self.watermark if self.running else 0)
            if self.reserve and self.blocks_of(min(request.length, self.max_len)) > spare:
                return
            if self.blocks_of(tokens) > spare:
                return
            self.take(request, tokens)
            self.running.append(self.waiting.pop(0))
            self.batch.append((request, tokens))
            left -= tokens

    def update(self, outputs, aborts):
        self.drop(aborts)
        finished, requests = [], {request.id: request for request in self.running}
        for request_id, tokens in outputs:
            request = requests[request_id]
            request.length += len(tokens)
            request.outputs += len(tokens)
            reason = None
            if tokens[-1] == self.stop_token:
                reason = "stop"
            elif request.length >= self.max_len or request.outputs >= request.max_tokens:
                reason = "length"
            if reason:
                finished.append([request_id, reason])
                self.running.remove(request)
                self.release(request)
        return {"finished": finished}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mistake")
    mistake = arguments.parse_args().mistake
    scheduler = None
    for line in sys.stdin:
        message = json.loads(line)
        kind, answer = message["type"], {"ok": True}
        if kind == "hello":
            supports = {"overlapping_steps": False, "prefix_caching": False, "priority": False}
            answer.update(protocol=1, name="example scheduler", supports=supports)
        elif kind == "start":
            scheduler = Scheduler(message["config"], message["stop_token_id"], mistake)
        elif kind == "schedule":
            answer.update(scheduler.schedule(message["arrivals"], message["aborts"]))
        elif kind == "update":
            answer.update(scheduler.update(message["outputs"], message["aborts"]))
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
