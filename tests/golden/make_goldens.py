#!/usr/bin/env python3
"""Writes qwen3_moe.hpp: what PyTorch and transformers compute, for the tests to compare with.

    pip install torch==2.15.0 transformers==5.23.0 numpy==2.4.6      (in a virtual environment; CPU is enough)
    python tests/golden/make_goldens.py             writes tests/golden/qwen3_moe.hpp
    python tests/golden/make_goldens.py --check     computes everything again and compares it with that file

Nothing here repeats a formula: each number comes out of the public function that its comment names, the gradients out
of autograd. All of it runs in double. Where the published code casts to float by itself (the router's softmax, RMSNorm,
the load-balancing loss), `torch.float32` means double while it runs (`widened`); every such result is also computed
without that and must agree to float's precision, or the script stops.

Inputs are multiples of 1/8 (or as noted), so they are exact in float as well.
"""

import argparse
import contextlib
import pathlib
import random
import re
import sys
import unittest.mock

import torch
import torch.nn.functional as F
import transformers
from transformers.models.mixtral import modeling_mixtral
from transformers.models.qwen3_moe import modeling_qwen3_moe as qwen3

HEADER = pathlib.Path(__file__).resolve().parent / "qwen3_moe.hpp"
DOUBLE = torch.float64
WIDTH = 118


# -------------------------------------------------------------------------------------------------------------- tools


def eighths(seed, *shape, bound=8, denominator=8):
    """Pseudo-random multiples of 1 / denominator in [-bound / denominator, bound / denominator]."""
    draw = random.Random(seed).random  # the one method whose stream Python promises to keep
    count = torch.Size(shape).numel()
    numbers = [(int(draw() * (2 * bound + 1)) - bound) / denominator for _ in range(count)]
    return torch.tensor(numbers, dtype=DOUBLE).reshape(shape)


@contextlib.contextmanager
def widened():
    """While this holds, code that asks for torch.float or torch.float32, or calls .float(), gets double."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(unittest.mock.patch.object(torch, "float", DOUBLE))
        stack.enter_context(unittest.mock.patch.object(torch, "float32", DOUBLE))
        stack.enter_context(unittest.mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        yield


def wide_and_plain(compute):
    """compute() in double throughout, after comparing it with the published code as it stands."""
    plain = compute()
    with widened():
        wide = compute()
    for name, value in wide.items():
        assert not value.is_floating_point() or value.dtype == DOUBLE, f"{name} is not double"
        torch.testing.assert_close(plain[name].double(), value.double(), rtol=1e-5, atol=1e-5)
    return wide


def leaf(tensor):
    return tensor.detach().clone().requires_grad_()


def assert_no_ties(scores, top_k, gap=0.05):
    """Not even nearly: the choice and its order must be the same in float."""
    best = scores.topk(top_k + 1, dim=-1).values
    assert (best[:, :-1] - best[:, 1:]).min() > gap, "choose other seeds: two of a token's best logits are too close"


# ----------------------------------------------------------------------------------------------------------- subjects

TOKENS, EXPERTS, HIDDEN, INTERMEDIATE = 7, 6, 3, 17  # no size fits a vector; 17 is a panel of 16 and one more


def moe_block(inputs, top_k, normalise):
    config = qwen3.Qwen3MoeConfig(
        hidden_size=HIDDEN,
        moe_intermediate_size=INTERMEDIATE,
        num_experts=EXPERTS,
        num_experts_per_tok=top_k,
        norm_topk_prob=normalise,
        hidden_act="silu",
    )
    config._experts_implementation = "eager"

    def compute():
        block = qwen3.Qwen3MoeSparseMoeBlock(config).double()
        with torch.no_grad():
            block.gate.weight.copy_(inputs["router_weight"])
            block.experts.gate_up_proj.copy_(torch.cat([inputs["gate_proj"], inputs["up_proj"]], dim=1))
            block.experts.down_proj.copy_(inputs["down_proj"])
        x = leaf(inputs["x"])
        logits, gates, ids = block.gate(x)
        y = block(x.unsqueeze(0)).squeeze(0)
        (y * inputs["r"]).sum().backward()
        for parameter in block.parameters():  # terms that cancel may leave some 1e-17: write 0
            parameter.grad[parameter.grad.abs() < 1e-15] = 0
        d_gate_proj, d_up_proj = block.experts.gate_up_proj.grad.chunk(2, dim=1)
        return dict(
            logits=logits.detach(),
            ids=ids,
            gates=gates.detach(),
            y=y.detach(),
            d_x=x.grad,
            d_router_weight=block.gate.weight.grad,
            d_gate_proj=d_gate_proj,
            d_up_proj=d_up_proj,
            d_down_proj=block.experts.down_proj.grad,
        )

    return wide_and_plain(compute)


def make_qwen3():
    inputs = dict(
        x=eighths(26, TOKENS, HIDDEN, bound=12),
        router_weight=eighths(28, EXPERTS, HIDDEN),
        gate_proj=eighths(3, EXPERTS, INTERMEDIATE, HIDDEN),
        up_proj=eighths(4, EXPERTS, INTERMEDIATE, HIDDEN),
        down_proj=eighths(5, EXPERTS, HIDDEN, INTERMEDIATE),
        r=eighths(6, TOKENS, HIDDEN),
    )
    kept = moe_block(inputs, 2, False)
    normalised = moe_block(inputs, 2, True)
    top3 = moe_block(inputs, 3, True)
    logits = kept["logits"]
    assert_no_ties(logits, 3)
    assert torch.equal(kept["ids"], normalised["ids"])
    loads = torch.bincount(kept["ids"].reshape(-1), minlength=EXPERTS).tolist()
    assert loads.count(0) == 1, f"choose other seeds: at top_k 2 one expert shall be idle, loads are {loads}"

    matrices = "[experts, out, in]"
    parts = [
        Field("ids", kept["ids"], "[tokens, top_k], best first"),
        Field("gates", kept["gates"], "[tokens, top_k], in the order of ids"),
        Field("y", kept["y"], "[tokens, hidden]"),
        Field("d_x", kept["d_x"], "[tokens, hidden]"),
        Field("d_router_weight", kept["d_router_weight"], "[experts, hidden]"),
        Field("d_gate_proj", kept["d_gate_proj"], "[experts, intermediate, hidden]", digits=9),
        Field("d_up_proj", kept["d_up_proj"], "[experts, intermediate, hidden]", digits=9),
        Field("d_down_proj", kept["d_down_proj"], "[experts, hidden, intermediate]", digits=9),
    ]

    def filled(values, fields):
        return [Field(f.name, values[f.name], f.comment, f.digits) for f in fields]

    outputs = [Field("top_k", 2), Field("normalise", False), *parts]
    outputs_normalised = [Field("top_k", 2), Field("normalise", True), *filled(normalised, parts)]
    outputs_top3 = [Field("top_k", 3), Field("normalise", True), *filled(top3, parts[:5])]
    return Struct(
        "Qwen3Moe",
        "qwen3",
        "transformers' Qwen3MoeSparseMoeBlock: softmax over all experts, the top_k best, their gates kept or normalised to\n"
        "sum 1 (norm_topk_prob), SwiGLU experts: down(silu(gate x) * up x). Gradients are those of sum(y * r). The d_*_proj\n"
        f"have 9 digits. At top_k 2 the loads are {loads}: where one is 0, the expert's gradients are 0.",
        [
            Constant("tokens", TOKENS),
            Constant("experts", EXPERTS),
            Constant("hidden", HIDDEN),
            Constant("intermediate", INTERMEDIATE),
            Field("x", inputs["x"], "[tokens, hidden]"),
            Field("r", inputs["r"], "[tokens, hidden]"),
            Field("router_weight", inputs["router_weight"], "[experts, hidden]"),
            Field("gate_proj", inputs["gate_proj"], f"{matrices} = [experts, intermediate, hidden]"),
            Field("up_proj", inputs["up_proj"], f"{matrices} = [experts, intermediate, hidden]"),
            Field("down_proj", inputs["down_proj"], f"{matrices} = [experts, hidden, intermediate]"),
            Field("logits", logits, "[tokens, experts]"),
            Struct("Outputs", "kept", "norm_topk_prob = false, top_k 2", outputs),
            Struct("Outputs", "normalised", "norm_topk_prob = true, top_k 2", outputs_normalised),
            Struct("Top3", "top3", "norm_topk_prob = true, top_k 3", outputs_top3),
        ],
    )


def make_load_balancing():
    tokens, experts = 8, 6
    z = eighths(54, tokens, experts, bound=40, denominator=16)
    mask = torch.tensor([1, 1, 0, 1, 1, 1, 0, 1])
    assert_no_ties(z, 2)

    def run(function, top_k, attention_mask):
        def compute():
            logits = leaf(z)
            loss = function((logits,), experts, top_k, attention_mask)
            loss.backward()
            return dict(loss=loss.detach(), d_logits=logits.grad)

        return wide_and_plain(compute)

    def both(top_k, attention_mask=None):
        result = run(qwen3.load_balancing_loss_func, top_k, attention_mask)
        other = run(modeling_mixtral.load_balancing_loss_func, top_k, attention_mask)
        assert torch.equal(result["loss"], other["loss"]) and torch.equal(result["d_logits"], other["d_logits"])
        return [Field("loss", result["loss"]), Field("d_logits", result["d_logits"], "[tokens, experts]")]

    return Struct(
        "LoadBalancing",
        "load_balancing",
        "transformers' load_balancing_loss_func (Qwen3-MoE's and Mixtral's give the same). It leaves out the 1 / k of\n"
        "E * sum_e f_e P_e with f_e = 1 / (k T) * (choices of e): it is k times as large, and k at uniform load.\n"
        "Logits are multiples of 1/16.",
        [
            Constant("tokens", tokens),
            Constant("experts", experts),
            Field("logits", z, "[tokens, experts]"),
            Field("mask", mask, "[tokens], 1 = real, 0 = padding; for `masked` alone"),
            Struct("Loss", "top1", "top_k = 1", both(1)),
            Struct("Loss", "top2", "top_k = 2", both(2)),
            Struct("Loss", "masked", "top_k = 2, attention_mask = mask: padding is neither in f nor in P", both(2, mask)),
        ],
    ), z


def make_z_loss(z):
    logits = leaf(z)
    loss = torch.logsumexp(logits, dim=-1).square().mean()
    loss.backward()
    return Struct(
        "ZLoss",
        "z_loss",
        "Plain PyTorch, no published module: torch.logsumexp(logits, -1).square().mean(), of load_balancing.logits.",
        [Field("loss", loss.detach()), Field("d_logits", logits.grad, "[tokens, experts]")],
    )


def make_adamw():
    size, steps = 6, 5
    lr, beta1, beta2, eps, decay = [0.01, 0.02, 0.02, 0.015, 0.005], 0.9, 0.95, 1e-3, 0.1
    start = eighths(21, size)
    gradients = eighths(25, steps, size)
    gradients[1] /= 4
    gradients[:2, 3] = 0
    parameter = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.AdamW([parameter], betas=(beta1, beta2), eps=eps, weight_decay=decay, foreach=False)
    values = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr[step]
        parameter.grad = gradients[step].clone()
        optimizer.step()
        values.append(parameter.detach().clone())
    state = optimizer.state[parameter]

    norms, clipped = [], []
    for row in gradients:
        pieces = [torch.nn.Parameter(torch.zeros(4, dtype=DOUBLE)), torch.nn.Parameter(torch.zeros(2, dtype=DOUBLE))]
        pieces[0].grad, pieces[1].grad = row[:4].clone(), row[4:].clone()
        norms.append(torch.nn.utils.clip_grad_norm_(pieces, max_norm=1.0))
        clipped.append(torch.cat([piece.grad for piece in pieces]))
    norms = torch.stack(norms)
    assert (norms < 1).any() and (norms > 1).any()

    return Struct(
        "AdamW",
        "adamw",
        "torch.optim.AdamW: decay is decoupled, parameter *= 1 - lr * weight_decay first; eps is added to the root of the\n"
        "bias-corrected second moment, and is large here so that its place shows.",
        [
            Constant("size", size),
            Constant("steps", steps),
            Field("lr", torch.tensor(lr, dtype=DOUBLE), "[steps]"),
            Field("beta1", beta1),
            Field("beta2", beta2),
            Field("eps", eps),
            Field("weight_decay", decay),
            Field("start", start, "[size]"),
            Field("gradients", gradients, "[steps, size]"),
            Field("values", torch.stack(values), "[steps, size], the parameter after each step"),
            Field("first_moment", state["exp_avg"], "[size], after the last step"),
            Field("second_moment", state["exp_avg_sq"], "[size], after the last step"),
        ],
    ), Struct(
        "Clip",
        "clip",
        "torch.nn.utils.clip_grad_norm_ on each row of adamw.gradients, given as two tensors of 4 and 2 elements. PyTorch\n"
        "multiplies by min(1, max_norm / (norm + 1e-6)): without that 1e-6 the result differs by 1e-6 relatively.",
        [
            Field("max_norm", 1.0),
            Field("norms", norms, "[steps], before clipping"),
            Field("clipped", torch.stack(clipped), "[steps, size]"),
        ],
    )


def make_cosine():
    warmup, total = 4, 20
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, warmup, total)
    multipliers = []
    for _ in range(total + 1):
        multipliers.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return Struct(
        "Cosine",
        "cosine",
        "transformers.get_cosine_schedule_with_warmup: the factor on lr at step s, counted from 0 (so the first is 0), up\n"
        "to s = training_steps, where it is 0. (Beyond that transformers lets the cosine rise again.)",
        [
            Field("warmup_steps", warmup),
            Field("training_steps", total),
            Field("multipliers", torch.tensor(multipliers, dtype=DOUBLE), "[training_steps + 1]"),
        ],
    )


def make_cross_entropy():
    tokens, classes = 5, 11
    values = eighths(31, tokens, classes, bound=24)
    values[3] += 1000.0
    values[4] *= 32.0
    targets = torch.tensor([0, 10, 4, 7, 2])
    logits = leaf(values)
    loss = F.cross_entropy(logits, targets)
    loss.backward()
    return Struct(
        "CrossEntropy",
        "cross_entropy",
        "torch.nn.functional.cross_entropy, mean over the tokens, in nats. The logits of token 3 are shifted by 1000, those\n"
        "of token 4 are 32 times as far apart.",
        [
            Constant("tokens", tokens),
            Constant("classes", classes),
            Field("logits", values, "[tokens, classes]"),
            Field("targets", targets, "[tokens]"),
            Field("loss", loss.detach()),
            Field("d_logits", logits.grad, "[tokens, classes]"),
        ],
    )


def make_rms_norm():
    tokens, hidden, eps = 4, 6, 1e-5
    values = eighths(41, tokens, hidden, bound=16)
    values[1] /= 512  # here eps counts
    values[2] = 0
    weight = eighths(42, hidden, bound=12)
    r = eighths(43, tokens, hidden)

    def compute():
        norm = qwen3.Qwen3MoeRMSNorm(hidden, eps=eps).double()
        with torch.no_grad():
            norm.weight.copy_(weight)
        x = leaf(values)
        y = norm(x)
        (y * r).sum().backward()
        return dict(y=y.detach(), d_x=x.grad, d_weight=norm.weight.grad)

    result = wide_and_plain(compute)
    return Struct(
        "RmsNorm",
        "rms_norm",
        "transformers' Qwen3MoeRMSNorm: weight * x / sqrt(mean(x^2) + eps). Gradients are those of sum(y * r). Token 1 is so\n"
        "small that eps counts, token 2 is all zeros.",
        [
            Constant("tokens", tokens),
            Constant("hidden", hidden),
            Field("eps", eps),
            Field("weight", weight, "[hidden]"),
            Field("x", values, "[tokens, hidden]"),
            Field("r", r, "[tokens, hidden]"),
            Field("y", result["y"], "[tokens, hidden]"),
            Field("d_x", result["d_x"], "[tokens, hidden]"),
            Field("d_weight", result["d_weight"], "[hidden]"),
        ],
    )


def make_activations():
    points = torch.tensor([-100, -30, -5, -0.75, 0, 0.5, 3, 30, 100], dtype=DOUBLE)

    def run(name, comment, function):
        x = leaf(points)
        value = function(x)
        value.sum().backward()
        fields = [Field("value", value, "[points]"), Field("derivative", x.grad, "[points]")]
        return Struct("Activation", name, comment, fields)

    return Struct(
        "Activations",
        "activations",
        "torch.nn.functional's gelu, silu and relu, and their derivatives, at x. Compare gelu absolutely: at -5 both forms\n"
        "lose digits to cancellation (1 + erf, 1 + tanh). PyTorch's relu has derivative 0 at 0.",
        [
            Constant("points", len(points)),
            Field("x", points, "[points]"),
            run("gelu_erf", 'gelu, approximate = "none"', lambda x: F.gelu(x)),
            run("gelu_tanh", 'gelu, approximate = "tanh"', lambda x: F.gelu(x, approximate="tanh")),
            run("silu", "silu", F.silu),
            run("relu", "relu", F.relu),
        ],
    )


# ---------------------------------------------------------------------------------------------------------------- C++


class Constant:
    """A size, `static constexpr int` of its struct."""

    def __init__(self, name, value):
        self.name, self.value = name, value


class Field:
    """A number or a tensor, a data member of its struct, written with so many significant digits."""

    def __init__(self, name, value, comment="", digits=12):
        self.name, self.comment, self.digits = name, comment, digits
        self.value = value.detach() if isinstance(value, torch.Tensor) else value

    def is_array(self):
        return isinstance(self.value, torch.Tensor) and self.value.dim() > 0

    def type(self):
        if isinstance(self.value, torch.Tensor):
            scalar = "double" if self.value.is_floating_point() else "int"
            return f"std::array<{scalar}, {self.value.numel()}>" if self.value.dim() else scalar
        return {bool: "bool", int: "int", float: "double"}[type(self.value)]

    def number(self, value):
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        return f"{value + 0.0:.{self.digits}g}"  # -0.0 becomes 0

    def write(self, out, indent):
        if not self.is_array():
            value = self.value.item() if isinstance(self.value, torch.Tensor) else self.value
            out.append(f"{indent}.{self.name} = {self.number(value)},")
            return
        out.append(f"{indent}.{self.name} = {{")
        inner = indent + "  "
        if self.value.dim() == 3:
            for e, block in enumerate(self.value):
                out.append(f"{inner}// expert {e}")
                self.fill(out, inner, block)
        else:
            for row in self.value.reshape(-1, self.value.shape[-1]) if self.value.shape[-1] > 3 else [self.value]:
                self.fill(out, inner, row)
        out.append(f"{indent}}},")

    def fill(self, out, indent, values):
        line = indent
        for value in values.reshape(-1).tolist():
            text = self.number(value) + ","
            if len(line) + len(text) > WIDTH:
                out.append(line.rstrip())
                line = indent
            line += text + " "
        out.append(line.rstrip())


class Struct:
    def __init__(self, type_name, name, comment, members):
        self.type_name, self.name, self.comment, self.members = type_name, name, comment, members

    def declare(self, out, indent=""):
        out.append(f"{indent}struct {self.type_name} {{")
        inner, declared = indent + "  ", set()
        for member in self.members:
            if isinstance(member, Constant):
                out.append(f"{inner}static constexpr int {member.name} = {member.value};")
            elif isinstance(member, Field):
                comment = f"  // {member.comment}" if member.comment else ""
                out.append(f"{inner}{member.type()} {member.name};{comment}")
            else:
                if member.type_name not in declared:
                    declared.add(member.type_name)
                    out.append("")
                    member.declare(out, inner)
                out.append(f"{inner}{member.type_name} {member.name};  // {member.comment}")
        out.append(f"{indent}}};")

    def write(self, out, indent=""):
        for member in self.members:
            if isinstance(member, Field):
                member.write(out, indent + "  ")
            elif isinstance(member, Struct):
                out.append(f"{indent}  .{member.name} = {{")
                member.write(out, indent + "  ")
                out.append(f"{indent}  }},")


def make_header():
    torch.manual_seed(0)  # nothing below may depend on it
    torch.set_num_threads(1)
    load_balancing, z = make_load_balancing()
    adamw, clip = make_adamw()
    structs = [
        make_qwen3(), load_balancing, make_z_loss(z), adamw, clip,
        make_cosine(), make_cross_entropy(), make_rms_norm(), make_activations(),
    ]  # fmt: skip
    out = [
        "// Golden numbers: what public implementations compute. Written by a program, not by hand:",
        "//   python tests/golden/make_goldens.py",
        f"// with torch {torch.__version__.split('+')[0]} and transformers {transformers.__version__}, in double.",
        "// Arrays are row-major, matrices [out, in]. Inputs are exact, in float as well (but for adamw's and rms_norm's hyper-",
        "// parameters); results are rounded to 12 significant digits.",
        "#pragma once",
        "",
        "#include <array>",
        "",
        "// clang-format off",
        "namespace moe::golden {",
    ]
    for struct in structs:
        out.append("")
        out += [f"// {line}" for line in struct.comment.splitlines()]
        struct.declare(out)
        out.append(f"inline constexpr {struct.type_name} {struct.name}{{")
        struct.write(out)
        out.append("};")
    out += ["", "}  // namespace moe::golden", "// clang-format on", ""]
    return "\n".join(out)


# -------------------------------------------------------------------------------------------------------------- check

NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.])")


def differences(committed, computed):
    """A sentence for the first thing that differs, or None; and the largest relative difference of a number."""

    def take_apart(text):
        text = re.sub(r"//[^\n]*", "", text)
        return re.sub(r"\s+", " ", NUMBER.sub("#", text)), [float(n) for n in NUMBER.findall(text)]

    old_text, old = take_apart(committed)
    new_text, new = take_apart(computed)
    if old_text != new_text or len(old) != len(new):
        return "the file's structure differs", 0.0
    worst = 0.0
    for a, b in zip(old, new):
        if abs(a - b) > 1e-14:
            worst = max(worst, abs(a - b) / max(abs(a), abs(b)))
            if worst > 1.1e-8:  # one unit in the ninth digit; other CPUs differ in the sixteenth
                return f"{a!r} in the file is {b!r} when computed", worst
    return None, worst


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    if not parser.parse_args().check:
        HEADER.write_text(make_header())
        return 0
    sentence, worst = differences(HEADER.read_text(), make_header())
    print(f"{HEADER.name}: " + (sentence or f"the same numbers (largest relative difference {worst:.1e})"))
    return 1 if sentence else 0


if __name__ == "__main__":
    sys.exit(main())
