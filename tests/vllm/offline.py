"""vLLM's offline engine in a process of its own: its state is global, and it is to be gone after the test.

As a program: questions and engine arguments as JSON in the first file, answers into the second.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.vllm.asking import Answer, Question

_TIMEOUT_S = 1200


def ask_vllm(
    model: Path, questions: Sequence[Question], max_new_tokens: int, folder: Path, **engine_args: object
) -> list[Answer]:
    """Each question's answer, in one start of the engine, one after the other."""
    job, answers, log = folder / "job.json", folder / "answers.json", folder / "vllm.log"
    asked = [{"messages": q.messages(), "max_patches": q.max_patches if q.images or q.earlier else None} for q in questions]
    job.write_text(json.dumps({"engine": {"model": str(model), **engine_args}, "asked": asked, "max_tokens": max_new_tokens}))
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.vllm.offline", str(job), str(answers)]
        done = subprocess.run(command, stdout=output, stderr=output, check=False, timeout=_TIMEOUT_S)
    said = log.read_text(errors="replace")
    assert done.returncode == 0, said[-4000:]
    assert "Multi-modal warmup completed" in said  # vLLM goes on without it, and then knows nothing of the memory needed
    return [Answer(**answer) for answer in json.loads(answers.read_text())]


def main(job: Path, answers: Path) -> None:
    from vllm import LLM, SamplingParams

    given = json.loads(job.read_text())
    llm = LLM(dtype="float32", seed=0, **given["engine"])
    sampling = SamplingParams(temperature=0, max_tokens=given["max_tokens"], repetition_penalty=1.0)
    got = []
    for asked in given["asked"]:
        budget = {"mm_processor_kwargs": {"max_patches": asked["max_patches"]}} if asked["max_patches"] else {}
        output = llm.chat(asked["messages"], sampling, use_tqdm=False, **budget)[0]
        made = output.outputs[0]
        is_cut = made.finish_reason == "length"
        ids = list(made.token_ids if is_cut else made.token_ids[:-1])
        got.append({"prompt_ids": output.prompt_token_ids, "new_ids": ids, "text": made.text, "is_cut": is_cut})
    answers.write_text(json.dumps(got))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
