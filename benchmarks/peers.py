"""Runs gepa.optimize against an OpenAI-compatible server; peers.ts runs it and compares.

Usage: peers.py BASE_URL SPLITS.json CALLS WORKERS PROPOSALS. Prints one JSON object as its last line: wall and CPU seconds of the
optimization alone, imports not counted, candidates scored on the whole validation set, and the text of the best. It stops at the first
iteration that begins with so many calls made.
"""
import json
import os
import re
import sys
import time

url, splits, calls, workers, proposals = sys.argv[1:]
os.environ.update(OPENAI_API_KEY="x", OPENAI_API_BASE=url, OPENAI_BASE_URL=url, LITELLM_LOCAL_MODEL_COST_MAP="True")
import gepa  # noqa: E402
import litellm  # noqa: E402
from gepa.adapters.default_adapter.default_adapter import DefaultAdapter  # noqa: E402
from gepa.lm import LM  # noqa: E402
from gepa.strategies.proposal_sampling import PxNSampling  # noqa: E402

litellm.telemetry = False
with open(splits, encoding="utf-8") as file:
    rows = json.load(file)
examples = {
    name: [{"input": r["input"], "additional_context": {}, "answer": r["expected"]} for r in rows[name]] for name in rows
}


class Reflection(LM):
    """The server takes every message with <prompt> in it for a request to edit: an instruction must not carry the tag."""

    asked = 0

    def __call__(self, prompt):
        self.asked += 1
        return re.sub(r"</?prompt>", "", super().__call__(prompt))

    def batch_complete(self, messages, **rest):
        self.asked += len(messages)
        return [re.sub(r"</?prompt>", "", text) for text in super().batch_complete(messages, max_workers=int(workers))]


reflect = Reflection("openai/toy")


class Stop:
    def __call__(self, state):
        return state.total_num_evals + reflect.asked >= int(calls)


class Quiet:
    def log(self, message):
        pass


cpu, wall = time.process_time(), time.perf_counter()
result = gepa.optimize(
    seed_candidate={"instruction": "Answer with the label."},
    trainset=examples["train"],
    valset=examples["holdout"],
    adapter=DefaultAdapter(model="openai/toy", max_litellm_workers=int(workers)),
    reflection_lm=reflect,
    reflection_prompt_template="Improve this: <curr_param>\n\n<side_info>\n\nAnswer with <prompt>…</prompt>.",
    stop_callbacks=Stop(),
    sampling_strategy=PxNSampling(1, int(proposals)),
    logger=Quiet(),
    seed=0,
)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "candidates": len(result.candidates),
            "best": result.best_candidate["instruction"],
        }
    )
)
