"""Questions and answers between the driver and a peer: a JSON object a line, over stdin and stdout.

A peer is a process of its own. It runs while it has a question to answer; otherwise it is stopped, so that its threads,
which may well spin for their next work, take nothing from the one that is measured."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time


class Cannot(Exception):
    """What a library does not offer: the table says why, and goes on."""


def _end_with_the_driver():
    """A stopped process would stay for ever where the driver is killed: Linux kills it then (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Peer:
    """The driver's end."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True, preexec_fn=_end_with_the_driver,
        )  # fmt: skip
        self._stop()

    def ask(self, do, **question):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.write(json.dumps({"do": do, **question}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended with status {self.process.wait()} when asked to {do}")
        self._stop()
        answer = json.loads(line)
        if "cannot" in answer:
            raise Cannot(answer["cannot"])
        if "error" in answer:
            raise RuntimeError(f"{self.process.args}, asked to {do}: {answer['error']}")
        return answer

    def close(self):
        os.kill(self.process.pid, signal.SIGCONT)
        self.process.stdin.close()
        self.process.wait()

    def _stop(self):
        os.kill(self.process.pid, signal.SIGSTOP)


def serve(machine, open_):
    """A peer's end: "machine" by machine(), "open" by open_(type, sizes, weights, tokens). What that returns has
    run(task, variant, tokens, batch) and results(task), a dictionary of arrays."""
    from safetensors.numpy import save_file

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    subject = None

    def answer(question):
        nonlocal subject
        what = question.pop("do")
        if what == "machine":
            return machine()
        if what == "open":
            subject = None
            subject = open_(**question)
            return {}
        task, variant, tokens = question["task"], question["variant"], question["tokens"]
        if what == "time":
            seconds = []
            for batch in question["batches"]:
                begin = time.perf_counter()
                subject.run(task, variant, tokens, batch)
                seconds.append(time.perf_counter() - begin)
            return {"seconds": seconds[question["warm_up"] :]}  # the first finds cold caches and sleeping threads
        if what == "write":
            subject.run(task, variant, tokens, question["batch"])
            save_file(subject.results(task), question["to"])
            return {}
        raise ValueError(f"cannot do '{what}'")

    for line in sys.stdin:
        try:
            reply = answer(json.loads(line))
        except Cannot as reason:
            reply = {"cannot": str(reason)}
        except Exception as error:  # the driver says it, and stops
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
