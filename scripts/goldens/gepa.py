# /// script
# requires-python = ">=3.11"
# dependencies = ["gepa==0.1.4"]
# ///
"""Writes test/golden/gepa.json: the decisions of gepa.optimize where the model and the metric are pure functions of text.

Usage: PYTHONHASHSEED=0 python3 -P scripts/goldens/gepa.py [FILE]    (-P: the file has the name of the package; npm run parity does this)
The package runs unchanged. Its sources of chance are watched: each draw is kept with what it was drawn from, and so is the order in which
its sets of candidates come out, which decides between candidates of equal mean.
"""
import json
import random
import sys
import types
from importlib.metadata import version

import gepa
import gepa.api
from gepa.adapters.default_adapter.default_adapter import DefaultAdapter
from gepa.core.adapter import EvaluationBatch
from gepa.strategies.instruction_proposal import InstructionProposalSignature
from gepa.strategies.proposal_sampling import PxNSampling, SameParentSampling


assert not sys.flags.hash_randomization, "set PYTHONHASHSEED=0: the order of sets decides between equals"


def fnv(text):
    """FNV-1a, 32 bits."""
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def scripted_score(id, candidate, flat):
    """A fifth word lifts no more than a third; problems of the validation set are never quite right."""
    if flat:
        return 0.5
    names = list(candidate)
    text = candidate[names[fnv(id) % len(names)]]
    level = fnv(f"{text}|{id}") % 4 + min(2, text.count(" "))
    return min(level, 3 if id[0] == "v" else 4) / 4


def scripted_reflection(prompt):
    """One more word, in answers of several shapes; now and then the text as it was, or none."""
    text = prompt.split("\n===\n")[0]
    h = fnv(prompt)
    new = f"{text} w{h % 997}"
    shapes = [f"So:\n```\n{new}\n```", f"```text\n{new}\n```\nDone.", new, f"```\n{new}", f"``` {new} ```", f"{new}\n```"]
    if h % 11 == 0:
        return f"```\n{text}\n```"
    if h % 13 == 0:
        return "``````"
    return shapes[h // 16 % len(shapes)]


class Adapter:
    propose_new_texts = None

    def __init__(self, calls, flat):
        self.calls, self.flat = calls, flat

    def evaluate(self, batch, candidate, capture_traces=False):
        ids = [example["id"] for example in batch]
        self.calls.append({"kind": "evaluate", "context": dict(candidate), "ids": ids})
        scores = [scripted_score(id, candidate, self.flat) for id in ids]
        traces = [
            {"data": {"input": f"q {id}"}, "full_assistant_response": f" a {s} ", "feedback": f"it was {s}"}
            for id, s in zip(ids, scores)
        ]
        return EvaluationBatch(outputs=ids, scores=scores, trajectories=traces if capture_traces else None)

    make_reflective_dataset = DefaultAdapter.make_reflective_dataset


class Watched(random.Random):
    """Keeps each draw; what comes from a set is sorted, as its order says nothing."""

    draws = None

    def shuffle(self, x):
        super().shuffle(x)
        self.draws.append({"kind": "shuffle", "got": list(x)})

    def choice(self, seq):
        got = super().choice(seq)
        self.draws.append({"kind": "pick", "of": sorted(seq), "got": got})
        return got

    def sample(self, population, k, **rest):
        got = super().sample(population, k, **rest)
        self.draws.append({"kind": "sample", "of": sorted(population), "got": got})
        return got

    def choices(self, population, weights=None, **rest):
        got = super().choices(population, weights, **rest)
        of = sorted([p, w] for p, w in zip(population, weights))
        self.draws.append({"kind": "weighted", "of": of, "got": got[0]})
        return got


def watch(module, name):
    """The function keeps the order in which it looks at the candidates on the fronts."""
    function = getattr(module, name)

    def watched(fronts, *rest):
        Watched.draws.append({"kind": "order", "got": list(dict.fromkeys(p for front in fronts.values() for p in front))})
        return function(fronts, *rest)

    setattr(module, name, watched)


watch(gepa.strategies.candidate_selector, "select_program_candidate_from_pareto_front")
watch(gepa.proposer.merge, "find_dominator_programs")
gepa.api.random = types.SimpleNamespace(Random=Watched)


class Iterations:
    """What the package says of itself as it goes."""

    def __init__(self):
        self.all, self.end = [], None

    def on_iteration_start(self, event):
        calls = event["state"].total_num_evals
        self.all.append({"calls": calls, "parents": [], "batches": [], "skipped": 0, "rejected": 0, "accepted": []})

    def on_candidate_selected(self, event):
        self.all[-1]["parents"].append(event["candidate_idx"])

    def on_minibatch_sampled(self, event):
        self.all[-1]["batches"].append([f"t{id}" for id in event["minibatch_ids"]])

    def on_evaluation_skipped(self, event):
        self.all[-1]["skipped"] += 1

    def on_candidate_rejected(self, event):
        self.all[-1]["rejected"] += 1

    def on_candidate_accepted(self, event):
        self.all[-1]["accepted"].append({"parents": list(event["parent_ids"]), "node": event["new_candidate_idx"]})

    def on_merge_attempted(self, event):
        self.all[-1]["merge"] = {"parents": list(event["parent_ids"]), "context": event["merged_candidate"]}

    def on_merge_rejected(self, event):
        self.all[-1]["rejected"] += 1

    def on_optimization_end(self, event):
        self.end = event


class Quiet:
    def log(self, message):
        pass


def run(name, parts, train, val, cap, seed=0, flat=False, merge=False, parents=1, proposals=1, accept="strict_improvement"):
    calls, seen = [], Iterations()
    Watched.draws = []

    def reflect(prompt):
        answer = scripted_reflection(prompt)
        calls.append({"kind": "reflect", "prompt": fnv(prompt), "answer": answer})
        return answer

    context = {part: f"{name} {part}".replace(" ", "-") for part in parts}
    gepa.optimize(
        seed_candidate=context,
        trainset=[{"id": f"t{i}"} for i in range(train)],
        valset=[{"id": f"v{i}"} for i in range(val)],
        adapter=Adapter(calls, flat),
        reflection_lm=reflect,
        reflection_prompt_template="<curr_param>\n===\n<side_info>",
        max_metric_calls=cap,
        use_merge=merge,
        acceptance_criterion=accept,
        sampling_strategy=SameParentSampling(proposals) if parents == 1 else PxNSampling(parents, proposals),
        callbacks=[seen],
        logger=Quiet(),
        seed=seed,
    )
    state = seen.end["final_state"]
    return {
        "name": name,
        "settings": {
            "context": context,
            "parts": list(set(context)),  # the order in which the package joins them
            "train": train,
            "val": val,
            "cap": cap,
            "flat": flat,
            "merge": merge,
            "parents": parents,
            "proposals": proposals,
            "accept": accept,
        },
        "draws": Watched.draws,
        "calls": calls,
        "iterations": seen.all,
        "end": {
            "calls": seen.end["total_metric_calls"],
            "best": seen.end["best_candidate_idx"],
            "contexts": state.program_candidates,
            "parents": [[p for p in ps if p is not None] for ps in state.parent_program_for_candidate],
            "scores": [list(scores.values()) for scores in state.prog_candidate_val_subscores],
            "fronts": [sorted(front) for front in state.program_at_pareto_front_valset.values()],
            "next": state.named_predictor_id_to_update_next_for_program_candidate,
        },
    }


answers = [
    "```\nnew\n```", "```md\nnew\n```", "a\n```\nb\n```\nc\n```\nd\n```\ne", "``` one line ```", "```two words\nrest```", "no fence",
    "  ", "", "```", "``````", "```\nopen", "```py open\nrest", "closed\n```", "x ``` y", "````\nfour\n````", "```a\n\nb```\n", "```\n  indented\n```",
]  # fmt: skip
records = [
    {"Inputs": " q ", "Generated Outputs": "", "Feedback": "line\nline "},
    {"Inputs": {"a": {"b": {"c": {"d": {"e": "deep"}}}}, "empty": {}}, "Feedback": ["x", ["y"], []], "n": 0.5, "none": None},
]
golden = {
    "package": "gepa",
    "version": version("gepa"),
    "script": "scripts/goldens/gepa.py",
    "answers": [
        {"answer": a, "text": InstructionProposalSignature.output_extractor(a.strip())["new_instruction"]} for a in answers
    ],
    "rendered": {
        "records": records,
        "prompt": InstructionProposalSignature.prompt_renderer(
            {
                "current_instruction_doc": "now",
                "dataset_with_feedback": records,
                "prompt_template": "<curr_param>\n===\n<side_info>",
            }
        ),
    },
    "runs": [
        run("one part", ["instructions"], train=8, val=6, cap=150),
        run("round robin", ["plan", "style", "format"], train=7, val=9, cap=220, seed=1),
        run("equal is enough", ["a", "b"], train=10, val=5, cap=140, seed=2, accept="improvement_or_equal"),
        run("ties everywhere", ["a", "b"], train=6, val=4, cap=70, flat=True, accept="improvement_or_equal"),
        run("nothing is better", ["a", "b"], train=6, val=4, cap=60, flat=True),
        run("small train", ["a", "b"], train=2, val=5, cap=90, seed=3),
        run("one example", ["a"], train=1, val=3, cap=50, seed=4),
        run("four proposals", ["a", "b"], train=14, val=6, cap=300, seed=5, proposals=4),
        run("proposals wrap around", ["a"], train=7, val=5, cap=200, seed=6, proposals=5),
        run("merges", ["a", "b", "c"], train=12, val=12, cap=700, seed=7, merge=True),
        run("merges again", ["a", "b"], train=9, val=8, cap=500, seed=11, merge=True),
        run("too few to merge", ["a", "b"], train=9, val=4, cap=200, seed=9, merge=True),
        run("merges of proposals", ["a", "b", "c"], train=20, val=10, cap=700, seed=10, merge=True, proposals=3),
        run("two parents", ["a", "b"], train=14, val=14, cap=400, seed=12, parents=2),
        run("three parents, two proposals", ["a", "b", "c"], train=20, val=12, cap=700, seed=13, parents=3, proposals=2),
        run("parents on two minibatches", ["a", "b"], train=5, val=4, cap=300, seed=14, parents=4),
        run("merges of parents", ["a", "b", "c"], train=16, val=10, cap=800, seed=15, merge=True, parents=2, proposals=2),
    ],
}
with open(sys.argv[1] if len(sys.argv) > 1 else "test/golden/gepa.json", "w", encoding="utf-8") as file:
    rows = {**golden, "runs": None}
    head = json.dumps(rows, indent=1).removesuffix("null\n}")
    file.write(head + "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in golden["runs"]) + "\n]\n}\n")
