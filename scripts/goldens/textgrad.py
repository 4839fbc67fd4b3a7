# /// script
# requires-python = ">=3.11"
# dependencies = ["textgrad==0.1.8"]
# ///
"""Writes test/golden/textgrad.json: what textgrad 0.1.8 does, driven by an engine whose answers are pure functions of text.

Usage: python3 -P scripts/goldens/textgrad.py [FILE]    (-P: the file has the name of the package; npm run parity does all this)
Kept are kinds and contents of calls, by tag, sorted: the package walks over sets, so the order of calls is arbitrary. Its prose is not kept.
"""
import importlib.metadata
import json
import os
import re
import sys
import tempfile

os.environ["TEXTGRAD_LOG_DIR"] = tempfile.mkdtemp()
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network while it is imported

import textgrad as tg
from textgrad.autograd.string_based_ops import StringBasedFunction
from textgrad.optimizer.optimizer import TextualGradientDescentwithMomentum

JUDGE = "Judge the answer."


def inside(tag, text):
    found = re.search(rf"<{tag}>\s?(.*?)\s?</{tag}>", text, re.S)
    return found and found.group(1)


class Scripted(tg.EngineLM):
    """Answers by the tags of a prompt alone, and keeps what it was asked."""

    model_string = "scripted"

    def __init__(self, context, silent=False):
        self.context, self.silent, self.calls, self.steps = context, silent, [], []

    def generate(self, prompt, system_prompt=None, **_):
        if system_prompt == JUDGE:
            return self.keep(f"judged: {prompt}", kind="judge", variable=prompt)
        if system_prompt == self.context.value:
            return self.keep(f"{prompt}, I say {prompt}", kind="answer", variable=prompt)
        variable = prompt and inside("VARIABLE", prompt)
        if prompt and "<CONTEXT>" in prompt:
            self.steps.append(prompt)
            remarks = sorted(re.findall(r"<FEEDBACK>(.*?)</FEEDBACK>", prompt.split("</CONTEXT>")[0], re.S))
            answer = f"<IMPROVED_VARIABLE>Revised after {len(remarks)} remarks: {variable}</IMPROVED_VARIABLE>"
            return self.keep(answer, kind="step", variable=variable, constraints=inside("CONSTRAINTS", prompt), remarks=remarks)
        if prompt is None:
            return self.keep("<IMPROVED_VARIABLE>out of nothing</IMPROVED_VARIABLE>", kind="step", prompt=None)
        role = "context" if variable == self.context.get_short_value() else "answer"
        chained = re.search(r"following feedback on the (?:LM_OUTPUT|OUTPUT_OF_FUNCTION): (.*?) </OBJECTIVE_FUNCTION>", prompt, re.S)
        seen = {"feedback": chained.group(1)} if chained else {}
        for name, tag in (("system", "LM_SYSTEM_PROMPT"), ("input", "LM_INPUT"), ("output", "LM_OUTPUT"), ("result", "OUTPUT_OF_FUNCTION")):
            if inside(tag, prompt) is not None:
                seen[name] = inside(tag, prompt)
        answer = "" if self.silent and role == "answer" else f"shorten this {role}: {variable}"
        return self.keep(answer, kind="CHAIN" if chained else "BASE", role=role, variable=variable, **seen)

    def __call__(self, prompt, **kwargs):
        return self.generate(prompt, **kwargs)

    def keep(self, answer, **call):
        self.calls.append(call)
        return answer


def fixed(value, role):
    return tg.Variable(value, requires_grad=False, role_description=role)


def one_step(optimizer, engine, context, questions, loss, summed=True):
    """One pass of the published loop over a batch."""
    optimizer.zero_grad()
    model = tg.BlackboxLLM(engine, context)
    metric = StringBasedFunction(lambda prediction, gold: int(prediction.value == gold.value), function_purpose="compares")
    judge = tg.TextLoss(fixed(JUDGE, "how to judge"), engine)
    answers = [model(fixed(q, "query")) for q in questions]
    losses = [judge(a) if loss == "judge" else metric(inputs=dict(prediction=a, gold=fixed("yes", "gold"))) for a in answers]
    (tg.sum(losses) if summed else losses[0]).backward(engine)
    optimizer.step()
    return [a.value for a in answers]


def step(name, *, context="Answer the question.", questions=("q1", "q2", "q3"), loss="judge", summed=True, silent=False, constraints=()):
    variable = tg.Variable(context, requires_grad=True, role_description="system prompt to the language model")
    engine = Scripted(variable, silent)
    optimizer = tg.TextualGradientDescent(engine=engine, parameters=[variable], constraints=list(constraints))
    answers = one_step(optimizer, engine, variable, questions, loss, summed)
    return {
        "name": name, "context": context, "loss": loss, "summed": summed, "silent": silent, "constraints": constraints,
        "examples": [{"question": q, "answer": a} for q, a in zip(questions, answers)],
        "calls": sorted(engine.calls, key=lambda call: json.dumps(call, sort_keys=True)),
        "after": variable.value,
    }


LONG = " ".join(f"w{i}" for i in range(25))
STEPS = [
    step("three answers, judged and summed"),
    step("three answers, judged and summed, with constraints", constraints=("Keep it short.", "Name no product.")),
    step("one answer, judged, not summed", questions=("q1",), summed=False),
    step("three answers, compared with what is right, and summed", loss="metric"),
    step("one answer, compared, not summed", questions=("q1",), loss="metric", summed=False),
    step("a long context and long answers", context=LONG, questions=(LONG.replace("w", "q"), "q2")),
    step("a long context and long answers, compared", context=LONG, questions=(LONG.replace("w", "q"), "q2"), loss="metric"),
    step("a critic that says nothing", silent=True),
]


def second_prompt(memory):
    """The prompt of the second update, after one with the same feedback. The context's number of words stays the same."""
    variable = tg.Variable("Answer the question.", requires_grad=True, role_description="system prompt")
    engine = Scripted(variable)
    optimizer = tg.TextualGradientDescent(engine=engine, parameters=[variable], gradient_memory=memory)
    for _ in range(2):
        one_step(optimizer, engine, variable, ("q1",), "judge")
    return engine.steps[-1]


def with_momentum():
    variable = tg.Variable("Answer the question.", requires_grad=True, role_description="system prompt")
    engine = Scripted(variable)
    one_step(TextualGradientDescentwithMomentum(engine, [variable], momentum_window=2), engine, variable, ("q1",), "judge")
    return [call for call in engine.calls if call["kind"] == "step"]


def window_of_none():
    variable = tg.Variable("x", requires_grad=True, role_description="system prompt")
    try:
        TextualGradientDescentwithMomentum(Scripted(variable), [variable], momentum_window=0)
        return None
    except Exception as error:
        return type(error).__name__


def reading(completion):
    """What an update makes of a completion; null = it throws."""
    variable = tg.Variable("x", requires_grad=True, role_description="system prompt")
    engine = Scripted(variable)
    engine.generate = lambda *_, **__: completion
    try:
        tg.TextualGradientDescent(engine=engine, parameters=[variable]).step()
        return {"completion": completion, "value": variable.value}
    except IndexError:
        return {"completion": completion, "value": None}


O, C = "<IMPROVED_VARIABLE>", "</IMPROVED_VARIABLE>"
COMPLETIONS = [
    f"{O}a new one{C}", f"So: {O}\n two lines\nof it \n{C} Done.", "no tags at all", "", f"{O}cut off before the e", f"only an end{C}",
    f"{O}first{C} or {O}second{C}", f"{O}{C}", f"{O}a {O}nested{C} one{C}", "<improved_variable>lower case</improved_variable>",
]
TEXTS = ["", "one two", " ".join("abcdefghijklmnopqrst"), " ".join("abcdefghijklmnopqrstu"), LONG, LONG.replace(" ", "\n"), LONG.replace(" ", "  ")]

golden = {
    "package": "textgrad",
    "version": importlib.metadata.version("textgrad"),
    "script": "scripts/goldens/textgrad.py",
    "judge": JUDGE,
    "steps": STEPS,
    "short": [{"text": t, "short": tg.Variable(t, role_description="x").get_short_value()} for t in TEXTS],
    "readings": [reading(c) for c in COMPLETIONS],
    "gradientMemoryChangesThePrompt": second_prompt(2) != second_prompt(0),
    "momentumSteps": with_momentum(),
    "windowOfNoneThrows": window_of_none(),
}
rows = ("steps", "short", "readings")
head = json.dumps({key: value for key, value in golden.items() if key not in rows}, indent=1).removesuffix("\n}")
tables = [f' "{key}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in golden[key]) + "\n ]" for key in rows]
with open(sys.argv[1] if len(sys.argv) > 1 else "test/golden/textgrad.json", "w", encoding="utf-8") as file:
    file.write(",\n".join([head, *tables]) + "\n}\n")
