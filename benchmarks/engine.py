"""The PyTorch side of engine.ts: the same transformer on one CPU thread, float32.

Width 128, 4 layers, 4 heads, MLP x 4, vocabulary 512; a training step is forward, backward and Adam on 32 sequences of 256 tokens, drawing
is 64 sequences of 40 tokens with a KV cache. Usage: engine.py SECONDS. Prints one JSON object, the least of the calls, in milliseconds.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, LAYERS, HEADS, VOCABULARY, LENGTH, BATCH = 128, 4, 4, 512, 256, 32
torch.set_num_threads(1)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.mlp_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.into, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x, cache=None, at=0):
        b, t, _ = x.shape
        parts = self.into(self.attention_norm(x)).split(WIDTH, -1)
        q, k, v = (part.view(b, t, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        if cache is not None:
            cache[0][:, :, at : at + t], cache[1][:, :, at : at + t] = k, v
            k, v = cache[0][:, :, : at + t], cache[1][:, :, : at + t]
        taken = F.scaled_dot_product_attention(q, k, v, is_causal=t > 1)
        x = x + self.out(taken.transpose(1, 2).reshape(b, t, WIDTH))
        return x + self.down(F.relu(self.up(self.mlp_norm(x))).square())


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.RMSNorm(WIDTH)

    def forward(self, tokens, caches=None, at=0):
        x = self.embedding(tokens) + self.positions(torch.arange(at, at + tokens.shape[1]))
        for i, block in enumerate(self.blocks):
            x = block(x, caches[i] if caches else None, at)
        return self.norm(x) @ self.embedding.weight.T


model = Transformer()
adam = torch.optim.Adam(model.parameters(), 1e-3)
tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1))


def train():
    adam.zero_grad()
    F.cross_entropy(model(tokens[:, :-1]).reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1)).backward()
    adam.step()


@torch.no_grad()
def sample():
    shape = (64, HEADS, 40, WIDTH // HEADS)
    caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in range(LAYERS)]
    last = torch.randint(VOCABULARY, (64, 1))
    for at in range(40):
        last = torch.multinomial(F.softmax(model(last, caches, at)[:, -1], -1), 1)


def timed(call):
    call()
    walls, cpus, end = [], [], time.perf_counter() + float(sys.argv[1])
    while time.perf_counter() < end or len(walls) < 3:
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"step": min(walls) * 1e3, "cpu": min(cpus) * 1e3}


print(json.dumps({"version": torch.__version__, "train": timed(train), "sample": {"tokens": 64 * 40, **timed(sample)}}))
