"""Writes a Qwen3 model of 86,400 random weights: config, safetensors, and a tokenizer of one token a character.

    tiny_model.py FOLDER

Token ids: 0 <pad>, 1 <eos>, 2 <bos>, and c - 29 for the characters c = 32 to 124.
"""
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SPECIAL = ["<pad>", "<eos>", "<bos>"]
VOCABULARY = SPECIAL + [chr(c) for c in range(32, 125)]
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": len(VOCABULARY),
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "attention_bias": False,
    "hidden_act": "silu",
    "bos_token_id": 2,
    "eos_token_id": 1,
    "torch_dtype": "float32",
}


def weights():
    chance = np.random.default_rng(0)
    hidden, inner, size = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["head_dim"]
    queries, keys = CONFIG["num_attention_heads"] * size, CONFIG["num_key_value_heads"] * size

    def normal(*shape):
        return (chance.standard_normal(shape) * 0.08).astype(np.float32)

    def ones(n):
        return np.ones(n, np.float32)

    tensors = {
        "model.embed_tokens.weight": normal(len(VOCABULARY), hidden),
        "model.norm.weight": ones(hidden),
        "lm_head.weight": normal(len(VOCABULARY), hidden),
    }
    for i in range(CONFIG["num_hidden_layers"]):
        layer = {
            "self_attn.q_proj": normal(queries, hidden),
            "self_attn.k_proj": normal(keys, hidden),
            "self_attn.v_proj": normal(keys, hidden),
            "self_attn.o_proj": normal(hidden, queries),
            "self_attn.q_norm": ones(size),
            "self_attn.k_norm": ones(size),
            "mlp.gate_proj": normal(inner, hidden),
            "mlp.up_proj": normal(inner, hidden),
            "mlp.down_proj": normal(hidden, inner),
            "input_layernorm": ones(hidden),
            "post_attention_layernorm": ones(hidden),
        }
        tensors |= {f"model.layers.{i}.{name}.weight": value for name, value in layer.items()}
    return tensors


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(VOCABULARY)}, unk_token="<pad>"))
tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern="", behavior="isolated")
tokenizer.decoder = decoders.Fuse()
tokenizer.save(str(folder / "tokenizer.json"))
special = {"eos_token": "<eos>", "pad_token": "<pad>", "bos_token": "<bos>"}
(folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special}))
(folder / "config.json").write_text(json.dumps(CONFIG))
save_file(weights(), str(folder / "model.safetensors"))
