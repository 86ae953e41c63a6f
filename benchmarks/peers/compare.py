"""One layer, the same weights and tokens, ours and its peers in turn, in one run. benchmarks/peers/run starts it.

Each comparison has a reference, the eager Qwen3-MoE block of transformers in float32. Who does not agree with it is not
timed. Then, again and again: a peer takes a turn, we take one, the next peer takes one, we take one, ..."""

import argparse
import collections
import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import platform
import statistics
import sys

import numpy as np
from safetensors.numpy import load_file

import problem
import report
from dialogue import Cannot, Peer

HERE = pathlib.Path(__file__).resolve().parent


# ------------------------------------------------------------------------------------------------- what is compared


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the table: a process, and which of its variants."""

    process: str
    variant: str = ""

    def __str__(self):
        return f"{self.process}, {self.variant}" if self.variant else self.process


OURS = Method("moe")
REFERENCE = Method("PyTorch", "Qwen3-MoE, eager")
PYTORCH = [
    Method("PyTorch", f"{block}, {how}") for block in ("Qwen3-MoE", "Mixtral") for how in ("eager", "grouped_mm")
]
OPENBLAS = [Method("OpenBLAS", "experts on threads"), Method("OpenBLAS", "sgemm on threads")]
ONNX = [Method("ONNX Runtime MoE")]
QMOE = [Method("ONNX Runtime QMoE", f"{of} activations") for of in ("float", "int8")]
GGML = [Method("ggml")]


@dataclasses.dataclass(frozen=True)
class Type:
    """A type of weights: what it takes, how well results agree, and who is asked. A new one is a line."""

    bytes: float  # of a weight, its share of a scale included, in the smallest of the formats compared
    tolerance: float  # |result - reference| / |reference|, in the 2-norm
    peers: list


TYPES = {
    "float32": Type(4, 2e-5, PYTORCH + ONNX + OPENBLAS + GGML),
    "bfloat16": Type(2, 2e-2, PYTORCH + ONNX + GGML),
    # Ours codes int8 anew, a scale for each output where the file has one for 32 weights, and rounds rows by 256.
    "int8": Type(1, 4e-2, QMOE[1:] + GGML),
    "int4": Type(0.5 + 2 / problem.QUANTISED_BLOCK, 2e-2, QMOE + GGML),
}
TRAINED = {"float32"}
TASKS = ["forward", "backward", "step"]  # each includes the one before; step: with AdamW


# ---------------------------------------------------------------------------------------------------------- processes


def environment(threads, passive=False):
    """What all get alike: so many threads, huge pages from malloc (ours asks for them), their defaults otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    waiting = {"OMP_WAIT_POLICY": "passive"} if passive else {}
    return kept | waiting | {
        "OMP_NUM_THREADS": str(threads),
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "THP_MEM_ALLOC_ENABLE": "1",  # PyTorch's own allocator
        "TRANSFORMERS_VERBOSITY": "error",
    }


class Processes:
    """The peers that are running, each with what it has open."""

    def __init__(self, build, threads, passive):
        self.environment, self.peers = environment(threads, passive), {}
        python = lambda script: [sys.executable, str(HERE / script), str(threads)]
        self.commands = {
            "moe": [str(build / "moe_peer")],
            "OpenBLAS": [str(build / "moe_peer_openblas")],
            "ggml": [str(build / "moe_peer_ggml")],
            "PyTorch": python("torch_peer.py"),
            "ONNX Runtime MoE": python("onnxruntime_peer.py"),
            "ONNX Runtime QMoE": python("onnxruntime_peer.py"),
        }
        if not os.path.exists(*self.commands["ggml"]):  # run has said why
            del self.commands["ggml"]

    def __getitem__(self, name):
        if name not in self.commands:
            raise Cannot("it could not be built here")
        if name not in self.peers:
            self.peers[name] = Peer(self.commands[name], self.environment)
        return self.peers[name]

    def close(self, name):
        if name in self.peers:
            self.peers.pop(name).close()

    def close_all(self):
        for name in list(self.peers):
            self.close(name)


# ---------------------------------------------------------------------------------------------------------- agreement


def disagreement(found, reference, before):
    """The worst |found - reference| / |reference| of all results. Of parameters after a step, what the step has changed
    is compared: `before` has what they were."""
    worst = 0.0
    for name, expected in reference.items():
        was = before.get(name.removeprefix("parameter."), 0) if name.startswith("parameter.") else 0
        difference = np.linalg.norm((found[name].astype(np.float64) - expected).ravel())
        size = np.linalg.norm((expected.astype(np.float64) - was).ravel())
        worst = max(worst, float(difference / size) if size > 0 else float(difference))
    return worst if np.isfinite(worst) else float("inf")


def first_and_last(name, array, experts):
    return array[[0, -1]] if "experts." in name and experts > 2 else array


class Comparison:
    """One type of weights, or the language model: opens, checks and times."""

    def __init__(self, run, type_, sizes, weights, tokens, work, tolerance):
        self.run, self.type, self.sizes, self.work, self.tolerance = run, type_, sizes, work, tolerance
        self.files = dict(weights=str(weights), tokens=str(tokens))
        self.open = set()

    def ask(self, method, do, **question):
        """Opens first what the process has not open."""
        peer = self.run.processes[method.process]
        if method.process not in self.open:
            peer.ask("open", type=self.type, sizes=dataclasses.asdict(self.sizes), **self.files)
            self.open.add(method.process)
        return peer.ask(do, variant=method.variant, **question)

    def results(self, method, task, tokens):
        path = self.run.folder / "results.safetensors"
        self.ask(method, "write", task=task, tokens=tokens, batch=0, to=str(path))
        return load_file(path)

    def close(self):
        self.run.processes.close_all()
        self.open.clear()

    def agreeing(self, task, tokens, methods, reference, before):
        """What the methods whose results agree with the reference differ by."""
        good = {}
        for method in methods:
            what = dict(task=task, type=self.type, tokens=tokens, method=str(method))
            try:
                if task in STEPS:  # which change the weights
                    self.run.processes.close(method.process)
                    self.open.discard(method.process)
                error = disagreement(self.results(method, task, tokens), reference, before)
            except Cannot as reason:
                self.run.note(**what, cannot=str(reason))
                continue
            tolerance = self.tolerance * (1500 if task in STEPS else 1)  # AdamW's first step is a sign
            say(f"  {method}: {error:.1e}" + ("" if error <= tolerance else f", more than {tolerance:.0e}: not timed"))
            if error <= tolerance:
                good[method] = error
            else:
                self.run.note(**what, cannot=f"its results differ by {error:.1e}", wrong=True)
        return good

    def measure(self, task, tokens, good):
        """Turns, and what they say."""
        batches = itertools.cycle(range(self.sizes.batches[self.sizes.tokens.index(tokens)]))
        seconds, ratios, estimate = collections.defaultdict(list), collections.defaultdict(list), {}

        def turn(method):
            """As many runs as fit into a turn, after one to warm up; a run that takes seconds needs none."""
            fit = int(self.run.turn_seconds / estimate[method]) if method in estimate else 0
            warm_up = estimate.get(method, 0) < 2
            count = max(1, min(16, fit)) + warm_up
            question = dict(task=task, tokens=tokens, batches=list(itertools.islice(batches, count)), warm_up=warm_up)
            taken = self.ask(method, "time", **question)["seconds"]
            estimate[method] = statistics.median(taken)
            return taken

        peers = [method for method in good if method != OURS] or [OURS]
        for _ in range(self.run.rounds):
            for method in peers:
                if sum(seconds[method]) > self.run.patience:
                    continue
                theirs = turn(method)
                seconds[method] += theirs
                if OURS in good and method != OURS:
                    ours = turn(OURS)
                    seconds[OURS] += ours
                    ratios[method].append(statistics.median(theirs) / statistics.median(ours))
        for method in good:
            median = statistics.median(seconds[method])
            self.run.record(
                task=task, type=self.type, tokens=tokens, method=str(method), seconds=median,
                quartiles=list(np.quantile(seconds[method], [0.25, 0.75])), count=len(seconds[method]),
                times_ours=statistics.median(ratios[method]) if ratios[method] else None,
                error=good[method], **self.work(task, tokens),
            )  # fmt: skip
            times = f", {statistics.median(ratios[method]):.2f} times ours" if ratios[method] else ""
            say(f"  {method}: {median * 1e3:.2f} ms{times}")


STEPS = {"step", "model step"}


# ------------------------------------------------------------------------------------------------------------ the run


class Run:
    def __init__(self, options):
        self.folder, self.rounds = options.out, options.rounds
        self.turn_seconds, self.patience = options.turn_seconds, options.patience
        self.processes = Processes(options.build, options.threads, options.passive)
        self.cells, self.cannot, self.limits = [], [], {}

    def record(self, **cell):
        self.cells.append({**cell, **self.limits})

    def note(self, **why):
        self.cannot.append(why)

    def measure_limits(self):
        """Of the machine, now: what others do to its memory changes within minutes, so each table's cells have their own."""
        tries = [self.processes["moe"].ask("machine") for _ in range(3)]  # of which the best: one may be disturbed
        self.limits = {name: max(machine[name] for machine in tries) for name in ("fma_peak", "read_bandwidth")}


def say(text):
    print(text, flush=True)


def layer_work(sizes, hit, bytes_):
    """What a pass does at least: arithmetic of the products, and the bytes of weights, gradients and moments."""

    def work(task, tokens):
        each = sizes.weights_per_expert()
        rows, read, all_ = tokens * sizes.top_k, hit[tokens] * bytes_, sizes.experts * bytes_
        flops = 2 if task == "forward" else 6
        moved = {"forward": read, "backward": 2 * read + all_, "step": 2 * read + 8 * all_}[task]
        return {"flops": flops * each * rows, "bytes": moved * each}

    return work


def compare_layer(run, options):
    sizes = problem.Sizes(
        options.experts, options.hidden, options.intermediate, options.top_k,
        options.tokens, [problem.batches_for(n) for n in options.tokens],
    )  # fmt: skip
    weights, tokens = run.folder / "weights.safetensors", run.folder / "tokens.safetensors"
    say("writing weights and tokens")
    hit = problem.write_layer(sizes, weights, tokens)
    plain = {}
    if "step" in options.tasks:
        plain = {name: first_and_last(name, w, sizes.experts) for name, w in load_file(weights).items()}
    for name in options.types:
        type_ = TYPES[name]
        tasks = [task for task in TASKS if task in options.tasks and (task == "forward" or name in TRAINED)]
        comparison = Comparison(run, name, sizes, weights, tokens, layer_work(sizes, hit, type_.bytes), type_.tolerance)
        referee = Comparison(
            run, name if name.startswith("int") else "float32", sizes, weights, tokens, None, type_.tolerance
        )
        references = {}
        for task in tasks:
            for n in sizes.tokens if task != "step" else sizes.tokens[-1:]:
                references[task, n] = referee.results(REFERENCE, task, n)
        referee.close()
        for task in tasks:
            if task == "step":
                methods = [OURS] + [m for m in type_.peers if m in PYTORCH and "grouped_mm" in m.variant]
            else:
                methods = [OURS, *type_.peers]
            checked = {}
            for n in sizes.tokens:
                say(f"{task}, {name}, {n} tokens")
                if task == "step":  # one check, at the largest batch, from fresh weights
                    checked = checked or comparison.agreeing(
                        task, sizes.tokens[-1], methods, references[task, sizes.tokens[-1]], plain
                    )
                    good = checked
                else:
                    good = comparison.agreeing(task, n, methods, references[task, n], plain)
                run.measure_limits()
                comparison.measure(task, n, good)
        comparison.close()


def compare_language_model(run, options):
    """examples/01_language_model, with its default sizes, on this project's own pages."""
    sizes = problem.Sizes(16, 128, 256, 2, [1024], [32])
    weights, tokens = run.folder / "model.safetensors", run.folder / "text.safetensors"
    root = HERE.parent.parent
    text = b"".join(path.read_bytes() for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))])
    problem.write_language_model(sizes, text, 16, 32, weights, tokens)
    active = 128 * (512 + 256) + 2 * (128 * 16 + 2 * sizes.weights_per_expert())
    work = lambda task, n: {"flops": 6 * active * n, "bytes": 0}
    comparison = Comparison(run, "language model", sizes, weights, tokens, work, TYPES["float32"].tolerance)
    say("a training step of example 01's model")
    reference = comparison.results(REFERENCE, "model step", 1024)
    comparison.close()
    before = {name: first_and_last(name, w, sizes.experts) for name, w in load_file(weights).items()}
    good = comparison.agreeing("model step", 1024, [OURS, *PYTORCH], reference, before)
    run.measure_limits()
    comparison.measure("model step", 1024, good)
    comparison.close()


def cpu_name():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    field = lambda key: next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "?")
    return f"{field('model name')} (family {field('cpu family')}, model {field('model')})"


def parse():
    numbers = lambda text: [int(part) for part in text.split(",")]

    def names(allowed):
        return lambda text: [part for part in text.split(",") if part in allowed or sys.exit(f"there is no '{part}'")]

    p = argparse.ArgumentParser(prog="benchmarks/peers/run", description=__doc__.splitlines()[0])
    p.add_argument("--build", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    p.add_argument("--out", type=pathlib.Path, default="build/peers", help="folder for peers.json, .md, .svg")
    p.add_argument("--document", action="store_true", help="put tables and plot into docs/")
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--passive", action="store_true", help="threads that wait sleep: for a machine with other work")
    p.add_argument("--rounds", type=int, default=15, help="turns that each peer takes")
    p.add_argument("--turn-seconds", type=float, default=0.4, help="how long a turn is about")
    p.add_argument("--patience", type=float, default=30, help="seconds after which a peer takes no more turns")
    p.add_argument("--types", type=names(TYPES), default=list(TYPES))
    p.add_argument("--tasks", type=names([*TASKS, "model"]), default=[*TASKS, "model"])
    p.add_argument("--tokens", type=numbers, default=[1, 16, 512])
    for size, value in dict(experts=64, hidden=2048, intermediate=1024, top_k=8).items():
        p.add_argument(f"--{size.replace('_', '-')}", type=int, default=value)
    return p.parse_args()


def main():
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    try:
        compared = {name: run.processes[name].ask("machine") for name in run.processes.commands}
        run.processes.close_all()
        if [task for task in options.tasks if task in TASKS]:
            compare_layer(run, options)
        if "model" in options.tasks:
            compare_language_model(run, options)
    finally:
        run.processes.close_all()
    result = {
        "date": datetime.date.today().isoformat(),
        "command": "benchmarks/peers/run " + " ".join(sys.argv[3:]),
        "cpu": cpu_name(),
        "system": platform.platform(),
        "threads": options.threads,
        "waiting": "passive" if options.passive else "as each library chooses",
        "sizes": {name: getattr(options, name) for name in ("hidden", "intermediate", "experts", "top_k")},
        "compared": compared,
        "cells": run.cells,
        "cannot": run.cannot,
    }
    (options.out / "peers.json").write_text(json.dumps(result, indent=1) + "\n")
    report.write(result, options.out)
    if options.document:
        report.document(result, HERE.parent.parent / "docs")
    say(f"written: {options.out}/peers.json, peers.md, peers.svg")
    if any(why.get("wrong") for why in run.cannot):
        sys.exit("some results do not agree: see the table")


if __name__ == "__main__":
    main()
