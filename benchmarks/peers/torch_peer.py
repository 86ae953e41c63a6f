"""The mixture-of-experts blocks of the transformers library on PyTorch, and example 01's model made of them. Answers
compare.py. A variant is a block and how it multiplies: "Mixtral, eager", "Qwen3-MoE, grouped_mm", ..."""

import sys

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.numpy import load_file
from torch import nn
from transformers.models.mixtral.modeling_mixtral import MixtralConfig, MixtralSparseMoeBlock
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeConfig, Qwen3MoeRMSNorm, Qwen3MoeSparseMoeBlock

import problem
from dialogue import serve

THREADS = int(sys.argv[1])
torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)


def make_block(variant, sizes, parameters):
    """A block of those parameters, which it shares with the others."""
    name, implementation = variant.split(", ")
    common = dict(hidden_size=sizes["hidden"], hidden_act="silu", num_experts_per_tok=sizes["top_k"])
    if name == "Mixtral":
        config = MixtralConfig(intermediate_size=sizes["intermediate"], num_local_experts=sizes["experts"], **common)
        Block = MixtralSparseMoeBlock
    else:
        config = Qwen3MoeConfig(
            moe_intermediate_size=sizes["intermediate"], num_experts=sizes["experts"], norm_topk_prob=True, **common
        )
        Block = Qwen3MoeSparseMoeBlock
    config._experts_implementation = implementation
    with torch.device("meta"):
        block = Block(config)
    block.gate.weight = parameters["router.weight"]
    block.experts.gate_up_proj = parameters["experts.gate_up"]
    block.experts.down_proj = parameters["experts.down"]
    return block.train()


def make_parameters(arrays, sizes, dtype=torch.float32):
    """Parameters by our names, in the shapes of transformers: gate and up are one matrix."""
    parameters = {}
    for name in list(arrays):
        array = arrays.pop(name)
        if name.endswith("gate_up"):
            array = array.reshape(sizes["experts"], -1, sizes["hidden"])
        parameters[name] = nn.Parameter(torch.from_numpy(array).to(dtype, copy=True))
    return parameters


def numbers(tensor, shape=None):
    array = tensor.detach().float().numpy()
    return np.ascontiguousarray(array if shape is None else array.reshape(shape))


def first_and_last(name, tensor, sizes):
    """As our side writes them: of the experts' tensors only two matrices."""
    e, d = sizes["experts"], sizes["hidden"]
    if tensor.shape[0] == e and e > 2 and "experts." in name:
        tensor = tensor[[0, e - 1]]
    return numbers(tensor, (len(tensor), 2, -1, d) if name.endswith("gate_up") else None)


class Layer:
    def __init__(self, type, sizes, weights, tokens):
        self.sizes = sizes
        dtype = torch.bfloat16 if type == "bfloat16" else torch.float32
        self.parameters = make_parameters(problem.read_weights(weights, type), sizes, dtype)
        self.blocks = {}
        self.tokens = {name: torch.from_numpy(array).to(dtype) for name, array in load_file(tokens).items()}
        self.optimiser = torch.optim.AdamW(self.parameters.values(), lr=1e-5, fused=True)

    def run(self, task, variant, tokens, batch):
        if variant not in self.blocks:
            self.blocks[variant] = make_block(variant, self.sizes, self.parameters)
        block = self.blocks[variant]
        x = self.tokens[f"x.{tokens}"][batch][None]
        if task == "forward":
            with torch.inference_mode():
                self.y = block(x)
            return
        self.optimiser.zero_grad()
        self.x = x.detach().requires_grad_()
        self.y = block(self.x)
        self.y.backward(self.tokens[f"dy.{tokens}"][batch][None])
        if task == "step":
            self.optimiser.step()

    def results(self, task):
        found = {"y": numbers(self.y[0])}
        if task != "forward":
            found["dx"] = numbers(self.x.grad[0])
        for name, parameter in self.parameters.items():
            if task == "backward":
                found[f"gradient.{name}"] = first_and_last(name, parameter.grad, self.sizes)
            if task == "step":
                found[f"parameter.{name}"] = first_and_last(name, parameter, self.sizes)
        return found


class LanguageModel:
    """examples/01_language_model/model.hpp, and a step of its trainer."""

    def __init__(self, type, sizes, weights, tokens):
        self.sizes = sizes
        p = self.parameters = make_parameters(load_file(weights), sizes)
        self.tokens = {name: torch.from_numpy(array).long() for name, array in load_file(tokens).items()}
        self.models = {}
        decays = lambda name: p[name].dim() > 1 and name != "embedding.weight"
        groups = [
            {"params": [p[name] for name in p if decays(name)], "weight_decay": 0.1},
            {"params": [p[name] for name in p if not decays(name)], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.99), fused=True)

    def make(self, variant):
        layers = []
        for i in range(2):
            prefix = f"blocks.{i}."
            inside = prefix + "1."
            of_block = {n.removeprefix(inside): p for n, p in self.parameters.items() if n.startswith(inside)}
            block = make_block(variant, self.sizes, of_block)
            block.gate.register_forward_hook(lambda module, inputs, outputs: self.routed.append(outputs))
            norm = Qwen3MoeRMSNorm(self.sizes["hidden"])
            norm.weight = self.parameters[prefix + "0.weight"]
            layers.append((norm, block))
        norm = Qwen3MoeRMSNorm(self.sizes["hidden"])
        norm.weight = self.parameters["blocks.2.weight"]
        return layers, norm

    def balance(self, logits, ids):
        """Switch's loss with fractions of assignments, and the z-loss."""
        e = self.sizes["experts"]
        load = torch.bincount(ids.reshape(-1), minlength=e) / ids.numel()
        switch = e * (load * logits.softmax(-1).mean(0)).sum()
        return 0.05 * switch + 0.001 * logits.logsumexp(-1).square().mean()

    def run(self, task, variant, tokens, batch):
        if variant not in self.models:
            self.models[variant] = self.make(variant)
        layers, norm = self.models[variant]
        p = self.parameters
        self.routed = []
        self.optimiser.zero_grad()
        h = F.embedding(self.tokens[f"ids.{tokens}"][batch], p["embedding.weight"]).flatten(1)
        h = F.linear(h, p["projection.weight"])[None]
        for before, block in layers:
            h = h + block(before(h))
        logits = F.linear(norm(h)[0], p["head.weight"])
        self.loss = F.cross_entropy(logits, self.tokens[f"targets.{tokens}"][batch])
        total = self.loss + sum(self.balance(logits, ids) for logits, _, ids in self.routed)
        total.backward()
        nn.utils.clip_grad_norm_(p.values(), 1.0)
        self.optimiser.step()

    def results(self, task):
        found = {f"parameter.{name}": first_and_last(name, p, self.sizes) for name, p in self.parameters.items()}
        return {"loss": numbers(self.loss).reshape(1), **found}


def machine():
    return {
        "version": f"{torch.__version__}, transformers {transformers.__version__}",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


serve(machine, lambda type, **rest: LanguageModel(type, **rest) if type == "language model" else Layer(type, **rest))
