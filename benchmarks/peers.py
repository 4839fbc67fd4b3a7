"""Runs gepa.optimize against an OpenAI-compatible server; peers.ts runs it and compares.

Usage: peers.py BASE_URL SPLITS.json ITERATIONS WORKERS. Prints one JSON object as its last line: wall and CPU seconds of the
optimization alone, imports not counted, and candidates scored on the whole validation set.
"""
import json
import os
import re
import sys
import time

url, splits, iterations, workers = sys.argv[1:]
os.environ.update(OPENAI_API_KEY="x", OPENAI_API_BASE=url, OPENAI_BASE_URL=url, LITELLM_LOCAL_MODEL_COST_MAP="True")
import gepa  # noqa: E402
import litellm  # noqa: E402
from gepa.adapters.default_adapter.default_adapter import DefaultAdapter  # noqa: E402
from gepa.lm import LM  # noqa: E402

litellm.telemetry = False
with open(splits, encoding="utf-8") as file:
    rows = json.load(file)
examples = {
    name: [{"input": r["input"], "additional_context": {}, "answer": r["expected"]} for r in rows[name]] for name in rows
}


model = LM("openai/toy")


def reflect(prompt):
    # The server takes every message with <prompt> in it for a request to edit: an instruction must not carry the tag.
    return re.sub(r"</?prompt>", "", model(prompt))


class Stop:
    def __call__(self, state):
        return state.i + 1 >= int(iterations)


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
    logger=Quiet(),
    seed=0,
)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "candidates": len(result.candidates),
            "best": max(result.val_aggregate_scores),
        }
    )
)
