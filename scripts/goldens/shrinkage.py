"""Writes test/golden/shrinkage.json: tree shrinkage by dense linear algebra in numpy.
Usage: python3 scripts/goldens/shrinkage.py    (from the repository's root; needs numpy)
"""
import json
import numpy as np

ROOT, EDIT, DRIFT, POOLED = 0.1, 0.06, -0.015, 0.9


def shrunk(per, parent):
    """Posterior means of nodes given per-problem means per [nodes, problems]."""
    nodes, n = per.shape
    paths = []  # the edits from the root down to each node
    for c in range(nodes):
        paths.append(set() if parent[c] is None else paths[parent[c]] | {c})
    shared = np.array([[len(a & b) for b in paths] for a in paths])
    S = ROOT**2 + EDIT**2 * shared
    V = np.atleast_2d(np.cov(per)) / n
    variance = np.trace(V) / nodes
    correlated = (V.sum() - np.trace(V)) / max(1, nodes * (nodes - 1))
    pooled = np.full((nodes, nodes), correlated)
    np.fill_diagonal(pooled, variance)
    V = (1 - POOLED) * V + POOLED * pooled
    y = per.mean(1)
    mu = y[0] + DRIFT * np.array([len(p) for p in paths])
    return mu + S @ np.linalg.inv(S + V) @ (y - mu)


rng = np.random.default_rng(20261121)
cases = []
for nodes, n, draws in [(1, 5, 1), (2, 2, 1), (3, 10, 2), (6, 50, 2), (12, 50, 2), (26, 50, 8), (26, 100, 1)]:
    parent = [None] + [int(rng.integers(c)) for c in range(1, nodes)]
    p = 1 / (1 + np.exp(-2.5 * rng.standard_normal(n) + rng.normal(0.3, 1, (nodes, n))))
    per = rng.binomial(draws, p) / draws
    cases.append({"parent": parent, "per": per.tolist(), "shrunk": shrunk(per, parent).tolist()})
with open("test/golden/shrinkage.json", "w") as f:
    json.dump({"package": "numpy", "version": np.__version__, "script": "scripts/goldens/shrinkage.py", "cases": cases}, f)
    f.write("\n")
