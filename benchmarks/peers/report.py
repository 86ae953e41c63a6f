"""The results as a table and a plot."""

import re

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "moe"  # the same file for the same numbers
import matplotlib.pyplot as plt

TITLES = {
    "forward": "forward",
    "backward": "forward and backward",
    "step": "forward, backward and AdamW",
    "model step": "a training step of example 01's model",
}
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def title(task, type_):
    return TITLES[task] + ("" if task == "model step" else f", {type_}")


def time_of(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def of_limit(cell):
    """The part of its time that the machine's nearest limit would take, and that limit's name."""
    arithmetic = cell["flops"] / cell["fma_peak"] / cell["seconds"]
    memory = cell["bytes"] / cell["read_bandwidth"] / cell["seconds"]
    return (memory, "bandwidth") if memory > arithmetic else (arithmetic, "peak")


def groups(result):
    """(task, type) -> method -> tokens -> cell, in the order of the run."""
    found = {}
    for cell in result["cells"]:
        methods = found.setdefault((cell["task"], cell["type"]), {})
        methods.setdefault(cell["method"], {})[cell["tokens"]] = cell
    return found


def text_of(cell):
    part, limit = of_limit(cell)
    text = f"{time_of(cell['seconds'])}, {part * 100:.0f} % of the {limit}"
    return text if cell["times_ours"] is None else f"{text}, **{cell['times_ours']:.2f}**"


def reasons(result, task, type_):
    by_reason = {}
    for why in result["cannot"]:
        if (why["task"], why["type"]) == (task, type_):
            by_reason.setdefault((why["method"], why["cannot"]), []).append(str(why["tokens"]))
    return [f"- {method}, T = {', '.join(at)}: {reason}." for (method, reason), at in by_reason.items()]


def span(result, limit, digits):
    """The least and the most that was measured of a limit, in 10^9."""
    values = sorted({f"{cell[limit] * 1e-9:{digits}}" for cell in result["cells"]}, key=float)
    return " to ".join(values[:1] + values[-1:][: len(values) - 1]) if values else "?"


def markdown(result):
    s, versions = result["sizes"], result["compared"]
    lines = [
        f"{result['date']}, {result['cpu']}, {result['threads']} threads, waiting: {result['waiting']}; "
        "layer (hidden, intermediate, experts, top_k) = "
        f"({s['hidden']}, {s['intermediate']}, {s['experts']}, {s['top_k']}). Measured before each row of cells, the machine "
        f"reached {span(result, 'fma_peak', '.0f')} GFLOP/s of float multiply-adds and "
        f"{span(result, 'read_bandwidth', '.1f')} GB/s of reading. "
        f"moe {versions['moe']['version']} ({versions['moe']['instructions']}, g++ {versions['moe']['compiler']}); "
        f"PyTorch {versions['PyTorch']['version']} ({versions['PyTorch']['instructions']}); "
        f"ONNX Runtime {versions['ONNX Runtime MoE']['version']}; "
        f"{versions['OpenBLAS']['version'].strip()}, its kernel {versions['OpenBLAS']['kernel']}"
        + (f"; ggml {versions['ggml']['version']} ({versions['ggml']['instructions']})" if "ggml" in versions else "")
        + ".",
        "",
        f"`{result['command'].strip()}`",
    ]
    keys = list(dict.fromkeys([*groups(result), *((why["task"], why["type"]) for why in result["cannot"])]))
    for task, type_ in keys:
        methods = groups(result).get((task, type_), {})
        tokens = sorted({n for cells in methods.values() for n in cells})
        lines += ["", f"### {title(task, type_)}", ""]
        if methods:
            lines += [f"| | {' | '.join(f'T = {n}' for n in tokens)} |", "|---" * (len(tokens) + 1) + "|"]
        for method, cells in methods.items():
            row = [text_of(cells[n]) if n in cells else "-" for n in tokens]
            lines.append(f"| {method} | {' | '.join(row)} |")
        why = reasons(result, task, type_)
        lines += ([""] if why else []) + why
    return "\n".join(lines) + "\n"


def plot(result, path):
    """A panel for each task and type: how near each comes to the machine's limit."""
    found = groups(result)
    if not found:
        return
    names = list(dict.fromkeys(method for methods in found.values() for method in methods))
    dark_and_light = plt.get_cmap("tab20").colors
    colours = dict(zip(names, dark_and_light[::2] + dark_and_light[1::2]))
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 3.2 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(found) :]:
        axis.axis("off")
    for axis, ((task, type_), methods) in zip(axes.flat, found.items()):
        tokens = sorted({n for cells in methods.values() for n in cells})
        width = 0.8 / len(methods)
        for i, (method, cells) in enumerate(methods.items()):
            at = [(j + (i - (len(methods) - 1) / 2) * width, cells[n]) for j, n in enumerate(tokens) if n in cells]
            heights = [of_limit(cell)[0] * 100 for _, cell in at]
            axis.bar([x for x, _ in at], heights, width * 0.9, color=colours[method], label=method)
        axis.set_xticks(range(len(tokens)), [f"T = {n}" for n in tokens])
        axis.set_title(title(task, type_), fontsize=10)
        axis.set_ylabel("% of the machine's limit")
        axis.set_ylim(bottom=0)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colours[name]) for name in names]
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def write(result, folder):
    (folder / "peers.md").write_text(markdown(result))
    plot(result, folder / "peers.svg")


def document(result, docs):
    """Table and plot into the documentation, between its marks."""
    page = docs / "performance.md"
    text = page.read_text()
    inside = f"{BEGIN}\n{markdown(result)}\n![How near each comes to the machine's limit](peers.svg)\n{END}"
    new, count = re.subn(f"{BEGIN}.*{END}", lambda _: inside, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{page} has no place marked by {BEGIN} and {END}")
    page.write_text(new)
    plot(result, docs / "peers.svg")
