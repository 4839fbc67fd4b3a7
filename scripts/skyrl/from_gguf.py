"""Turns a GGUF file of a Llama model, quantised or not, into the folder SkyRL reads: config, safetensors, tokenizer. Needs the package gguf.

    from_gguf.py FILE.gguf FOLDER
"""
import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
SPECIAL = 3  # the type of a control token

reader = GGUFReader(sys.argv[1])
folder = Path(sys.argv[2])


def field(name):
    return reader.fields[name].contents()


def of_model(name):
    return field(f"{field('general.architecture')}.{name}")


HEADS = {"attn_q": of_model("attention.head_count"), "attn_k": of_model("attention.head_count_kv")}


def restored(weight, heads):
    """GGUF keeps the two halves of each rotated pair of rows side by side; here they are apart."""
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def tensors():
    found = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        name = tensor.name.removesuffix(".weight")
        if name in WHOLE:
            found[f"{WHOLE[name]}.weight"] = np.ascontiguousarray(weight)
            continue
        _, layer, part = name.split(".")
        weight = restored(weight, HEADS[part]) if part in HEADS else weight
        found[f"model.layers.{layer}.{LAYER[part]}.weight"] = np.ascontiguousarray(weight)
    return found


def config(weights):
    hidden = of_model("embedding_length")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": weights["model.embed_tokens.weight"].shape[0],
        "hidden_size": hidden,
        "intermediate_size": of_model("feed_forward_length"),
        "num_hidden_layers": of_model("block_count"),
        "num_attention_heads": HEADS["attn_q"],
        "num_key_value_heads": HEADS["attn_k"],
        "head_dim": hidden // HEADS["attn_q"],
        "rms_norm_eps": float(of_model("attention.layer_norm_rms_epsilon")),
        "rope_theta": float(of_model("rope.freq_base")),
        "max_position_embeddings": of_model("context_length"),
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": int(field("tokenizer.ggml.bos_token_id")),
        "eos_token_id": int(field("tokenizer.ggml.eos_token_id")),
        "torch_dtype": "float32",
    }


def save_tokenizer():
    tokens, merges, kinds = (field(f"tokenizer.ggml.{name}") for name in ["tokens", "merges", "token_type"])
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token, kind in zip(tokens, kinds) if kind == SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    end = tokens[field("tokenizer.ggml.eos_token_id")]
    card = {"eos_token": end, "pad_token": end, "bos_token": tokens[field("tokenizer.ggml.bos_token_id")]}
    if "tokenizer.chat_template" in reader.fields:
        card["chat_template"] = field("tokenizer.chat_template")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **card}))


folder.mkdir(parents=True, exist_ok=True)
weights = tensors()
save_file(weights, str(folder / "model.safetensors"))
(folder / "config.json").write_text(json.dumps(config(weights)))
save_tokenizer()
