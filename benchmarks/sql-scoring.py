"""Times the evaluator of the LSE reference code on (prediction, gold) pairs; sql-scoring.ts runs it and compares.

Usage: sql-scoring.py CHECKOUT DATABASES PAIRS.json, where CHECKOUT is a clone of github.com/chenyn66/learning-to-self-evolve.
Prints one JSON object: pairs found right, and seconds for each number of threads, its result cache switched off.
"""
import concurrent.futures
import json
import os
import sys
import time
import types

checkout, databases, pairs_file = sys.argv[1:]
os.environ.update(BIRD_DB_ROOTS=databases, LSE_BIRD_DATA_ROOT=os.path.dirname(pairs_file), SQL_CACHE="0")
# The package's own __init__ imports the model server; only the evaluator is wanted.
package = types.ModuleType("lse")
package.__path__ = [os.path.join(checkout, "lse")]
sys.modules["lse"] = package
import lse.bird.eval as reference  # noqa: E402

reference.print = lambda *args, **kwargs: None
with open(pairs_file, encoding="utf-8") as file:
    pairs = json.load(file)


def right(pair):
    return reference.eval_bird_ex(pair["prediction"], {"db_id": pair["db"], "SQL": pair["gold"]}, split="dev")[0]


seconds = {}
found = 0
for threads in (1, 4):
    started = time.perf_counter()
    if threads == 1:
        found = sum(map(right, pairs))
    else:
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(right, pairs))
    seconds[threads] = time.perf_counter() - started
print(json.dumps({"right": found, "seconds": seconds}))
