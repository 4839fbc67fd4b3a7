"""Writes test/golden/reference.json: what the reference code of "Learning to Self-Evolve" (arXiv:2603.18620) does.

Usage: python3 scripts/goldens/reference.py CHECKOUT    (from this repository's root; needs torch for the advantages)
CHECKOUT is https://github.com/chenyn66/learning-to-self-evolve. Its own files run unchanged; imports that play no part here (plots, agents,
environments) are stubbed, and the scores that models would give are scripted.
"""
import ast
import asyncio
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import types
from typing import Optional

import torch

CHECKOUT = sys.argv[1]
COMMIT = "9eb5eac05e8810f903477595992ee30281d59f68"  # the files were read at this commit; checked below where git is at hand
os.environ["PRINT_RATE"] = "0"


def stub(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, os.path.join(CHECKOUT, path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for name in ("networkx", "matplotlib", "matplotlib.pyplot", "lse"):
    stub(name)
sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]
stub("omegaconf", OmegaConf=None)
stub("lse.agents", BirdAgent=None, MMLUAgent=None)
stub("lse.envs", BatchBird=None, BatchMMLU=None)
helpers = load("lse.helpers", "lse/helpers.py")
tree = load("lse.core.tree", "lse/core/tree.py")
rewards = load("lse_reward_fn", "verl/verl/utils/lse_reward_fn.py")


def selections():
    """Trees grown by select + add_node with scripted scores; null = the child is never scored."""
    rng = random.Random(20261121)
    fine = [rng.random() for _ in range(200)]
    coarse = [rng.choice([0.25, 0.5, 0.75]) for _ in range(200)]
    unscored = [None if rng.random() < 0.3 else rng.random() for _ in range(100)]
    collapse = [0.56, 0.3, 0.28, 0.31, 0.29] * 10
    out = []
    for name, scores in (("fine", fine), ("coarse", coarse), ("unscored", unscored), ("collapse", collapse)):
        for criterion, c in (("ucb", 2.0), ("ucb", 0.1), ("ucb", 0.0), ("best", 2.0), ("deepest", 2.0)):
            t = tree.EvolutionTree(selection=criterion, ucb_c=c)
            t.update_node(0, performance=0.5)
            picked = []
            for i, score in enumerate(scores):
                node = t.select()
                picked.append(node.id)
                child = t.add_node(node, "", i, [])
                if score is not None:
                    t.update_node(child, performance=score)
            out.append({"scores": name, "selection": criterion, "c": c, "picked": picked})
    return {"root": 0.5, "scores": {"fine": fine, "coarse": coarse, "unscored": unscored, "collapse": collapse}, "runs": out}


def reward_cases():
    """compute_score on whole responses; the holdout score of the new prompt is scripted."""
    out = []
    good = "<prompt>Answer in one short sentence.</prompt>"
    solutions = [good, "I think.\n" + good + "\nDone.", "<prompt>too short</prompt>", "no tag at all", "<prompt>never closed, so invalid",
                 "<prompt>   padded   </prompt>", "<prompt>0123456789</prompt>", "<prompt>outer <prompt>inner words</prompt> outer</prompt>"]
    for solution in solutions:
        for before, after in ((0.5, 0.625), (0.5, 0.5), (0.7, 0.1), (0.0, 1.0), (1.0, 0.0)):
            async def scripted(*_args, after=after):
                return after
            rewards._compute_bird_score = scripted
            got = asyncio.run(rewards.compute_score("bird", solution, None, {"performance": before}))
            out.append({"solution": solution, "before": before, "after": after, "score": got["score"], "reward": got["reward"]})
    return out


def advantages():
    """The two outcome advantages of the trainer, alone in a module: its other imports need a GPU installation."""
    source = open(os.path.join(CHECKOUT, "verl/verl/trainer/ppo/core_algos.py")).read()
    wanted = ("compute_delta_outcome_advantage", "compute_logit_delta_advantage")
    body = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name in wanted]
    scope = {"torch": torch, "Optional": Optional, "AlgoConfig": dict, "register_adv_est": lambda _: lambda f: f}
    exec(compile(ast.Module(body, []), "core_algos.py", "exec"), scope)
    rng = random.Random(7)
    batches = [
        {"before": [0.5, 0.5, 0.3, 0.8], "after": [0.625, 0.4, 0.3, 0.9]},
        {"before": [0.5, 0.5, 0.2], "after": [0.75, None, 0.1]},  # null = invalid edit
        {"before": [0.5], "after": [0.7]},
        {"before": [0.0, 1.0, 0.5, 0.5], "after": [0.5, 0.5, 1.0, 0.0]},  # the edges; -Infinity is written as a string
        {"before": [rng.random() for _ in range(32)], "after": [rng.random() for _ in range(32)]},
    ]
    out = []
    for batch in batches:
        # As compute_score gives them: an invalid edit has score -1 and reward -1.
        score = [-1.0 if a is None else a for a in batch["after"]]
        delta = [-1.0 if a is None else a - b for a, b in zip(batch["after"], batch["before"])]
        mask = torch.ones(len(score), 1, dtype=torch.float64)
        column = lambda values: torch.tensor(values, dtype=torch.float64).unsqueeze(-1)
        for option in ("none", "std_norm", "whitening"):
            config = {} if option == "none" else {option: True}
            d, _ = scope[wanted[0]](column(delta), mask, config=config)
            l, _ = scope[wanted[1]](column(delta), mask, token_level_scores=column(score), config=config)
            number = lambda v: v if abs(v) != float("inf") else str(v)
            out.append({**batch, "option": option, "delta": [number(v) for v in d[:, 0].tolist()], "logit_delta": [number(v) for v in l[:, 0].tolist()]})
    return out


def repeats():
    """truncate_repetitive_suffix with the settings of configs/base.yaml, once, and until nothing changes."""
    rng = random.Random(3)
    letters = lambda n: "".join(rng.choice("abcdefgh \n,.") for _ in range(n))
    texts = ["", "short", "x" * 99, "x" * 100, "ok " + "!" * 250, "ok\n\n" + "=" * 300, "tail " + " " * 300, "a" * 150 + "\n" * 20,
             letters(40) + "0\n" * 80, letters(40) + "abc" * 33, letters(40) + "abc" * 34, letters(40) + "I agree." * 12, letters(40) + "I agree." * 13,
             "x" * 200 + "y" * 200, "SELECT 1;" + " OR 1=1" * 60, "q" + "wörter ändern so" * 20, letters(5000), letters(10) + "z" * 5000,
             letters(30) + ("line of thirty-two characters..\n" * 10), "mixed" + "ab" * 60 + "c" * 120, "ab" * 49 + "a", "ab" * 50 + "a", "\t\n" * 100]
    for _ in range(60):
        block = letters(rng.choice([1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 32, 64]))
        texts.append(letters(rng.randrange(60)) + block * rng.randrange(1, 60))
    out = []
    for text in texts:
        cut = lambda s: helpers.truncate_repetitive_suffix(s, min_run_length=100, lookback=4096)[0]
        once = settled = cut(text)
        while cut(settled) != settled:
            settled = cut(settled)
        out.append({"text": text, "once": len(once), "settled": len(settled)})
    return out


def extraction():
    """extract_from_tag(text, "prompt")."""
    texts = ["<prompt>a</prompt>", "<prompt>a <prompt>b</prompt> c</prompt>", "<prompt>a</prompt> then <prompt>b</prompt>", "a</prompt>", "<prompt>a",
             "</prompt><prompt>a</prompt>", "<prompt>a</prompt></prompt>", "<prompt><prompt>a</prompt>", "<PROMPT>a</PROMPT>", "<prompt></prompt>", "",
             "<prompt>a</prompt> <prompt>b", "x <prompt> spaced </prompt> y"]
    return [{"text": text, "found": helpers.extract_from_tag(text, "prompt")} for text in texts]


def saved():
    """A tree.json as save_tree writes it, every field in use."""
    t = tree.EvolutionTree(selection="ucb", ucb_c=0.5, base_instructions="Answer.")
    t.update_node(0, performance=0.5, summary=[{"accuracy": 0.5}], history=[[{"role": "user", "content": "q"}]],
                  self_evolve_prompt=[{"role": "system", "content": "Improve the prompt – bitte."}])
    for i, score in enumerate([0.625, 0.25, None]):
        parent = t.select()
        child = t.add_node(parent, f"Answer, version {i}: 日本語 \"quoted\"", i + 1, [{"role": "assistant", "content": "…"}])
        if score is not None:
            t.update_node(child, performance=score)
    with tempfile.TemporaryDirectory() as folder:
        t.save_tree(folder)
        return json.load(open(os.path.join(folder, "tree.json")))


if os.path.isdir(os.path.join(CHECKOUT, ".git")):
    head = subprocess.run(["git", "-C", CHECKOUT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert head == COMMIT, f"expected commit {COMMIT}, got {head}"
golden = {
    "repository": "https://github.com/chenyn66/learning-to-self-evolve",
    "commit": COMMIT,
    "script": "scripts/goldens/reference.py",
    "python": sys.version.split()[0],
    "torch": torch.__version__,
    "selections": selections(),
    "rewards": reward_cases(),
    "advantages": advantages(),
    "repeats": repeats(),
    "extraction": extraction(),
    "tree": saved(),
}
with open("test/golden/reference.json", "w") as f:
    json.dump(golden, f, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    f.write("\n")
