"""Starts a SkyRL server of the Tinker API on the CPU, without uv, torch or peft.

    serve.py --base-model FOLDER --backend jax --port 8000 --database-url sqlite:////run/tinker.db --checkpoints-base /run/checkpoints
    serve.py --engine ...        the engine's process, which the server starts itself

What it works around, in SkyRL 0.4.0: its engine is started with `uv run`; on Python 3.11 its types are refused by pydantic; torch and peft
are imported for images and for a file of five lines, and are several gigabytes.
"""
import argparse
import json
import os
import sys
import types
import typing
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def accept_typed_dicts():
    """pydantic takes typing.TypedDict from Python 3.12 on, and before that the one of typing_extensions."""
    if sys.version_info < (3, 12):
        import typing_extensions

        typing.TypedDict = typing_extensions.TypedDict


def do_without_torch():
    """The renderer names torch for images only. No stub is left behind: transformers looks for torch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.modules["torch"] = types.ModuleType("torch")
        import skyrl.backends.renderer  # noqa: F401

        del sys.modules["torch"]


class LoraConfig:
    """The part of peft that writes adapter_config.json."""

    def __init__(self, base_model_name_or_path, r, lora_alpha):
        self.fields = {
            "base_model_name_or_path": str(base_model_name_or_path),
            "r": r,
            "lora_alpha": lora_alpha,
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
        }

    def save_pretrained(self, folder):
        (Path(folder) / "adapter_config.json").write_text(json.dumps(self.fields))


def do_without_peft():
    try:
        import peft  # noqa: F401
    except ImportError:
        peft = types.ModuleType("peft")
        peft.LoraConfig = LoraConfig
        sys.modules["peft"] = peft


def run_engine():
    sys.argv.remove("--engine")
    from skyrl.tinker import engine

    engine.main()


def run_server():
    import uvicorn
    from skyrl.tinker import api
    from skyrl.tinker.config import EngineConfig, add_model, config_to_argv

    api._build_uv_run_cmd_engine = lambda _, config: [sys.executable, os.path.abspath(__file__), "--engine", *config_to_argv(config)]
    parser = argparse.ArgumentParser()
    add_model(parser, EngineConfig)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    given = {name: value for name, value in vars(args).items() if name in EngineConfig.model_fields}
    api.app.state.engine_config = EngineConfig.model_validate(given)
    uvicorn.run(api.app, host=args.host, port=args.port, log_level="warning", timeout_keep_alive=75)


accept_typed_dicts()
do_without_torch()
do_without_peft()
if __name__ == "__main__":
    run_engine() if "--engine" in sys.argv else run_server()
