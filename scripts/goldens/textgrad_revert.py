"""Writes test/golden/textgrad-revert.json: which prompts the published loop of TextGrad keeps, for scripted scores on its validation set.

Usage: python3 scripts/goldens/textgrad_revert.py CHECKOUT    (from this repository's root; needs numpy)
CHECKOUT is https://github.com/zou-group/textgrad: the loop is no part of the package. Its `run_validation_revert` runs unchanged.
"""
import ast
import json
import random
import subprocess
import sys
import types

import numpy

CHECKOUT, PATH = sys.argv[1], "evaluation/prompt_optimization.py"
COMMIT = "75e912e210864b61999781778cdf756d4468120f"
source = subprocess.run(["git", "-C", CHECKOUT, "show", f"{COMMIT}:{PATH}"], capture_output=True, text=True, check=True).stdout
function = next(n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == "run_validation_revert")
function.args.args[0].annotation = None
space = {"np": numpy, "eval_dataset": lambda *_: next(answers), "print": lambda *_: None}
exec(compile(ast.Module([function], []), PATH, "exec"), space)

rng = random.Random(20261121)
runs = []
for problems in (1, 5, 10, 50):
    scores = [[int(rng.random() < 0.5) for _ in range(problems)] for _ in range(41)]
    answers = iter(scores[1:])
    prompt = types.SimpleNamespace(value="0")
    prompt.set_value = lambda value: setattr(prompt, "value", value)
    results = {"validation_acc": [scores[0]], "prompt": ["0"]}
    kept = []
    for step in range(1, len(scores)):
        prompt.value = str(step)
        space["run_validation_revert"](prompt, results, None, None, None)
        results["prompt"].append(prompt.value)
        kept.append(prompt.value == str(step))
    runs.append({"problems": problems, "right": [sum(s) for s in scores], "kept": kept})

with open("test/golden/textgrad-revert.json", "w") as file:
    head = {"repository": "https://github.com/zou-group/textgrad", "commit": COMMIT, "file": PATH, "script": "scripts/goldens/textgrad_revert.py"}
    rows = ",\n".join(f"  {json.dumps(run, separators=(',', ':'))}" for run in runs)
    file.write(json.dumps(head, indent=1).removesuffix("\n}") + f',\n "runs": [\n{rows}\n ]\n}}\n')
