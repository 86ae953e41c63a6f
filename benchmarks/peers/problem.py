"""What all peers compute: weights and tokens, written once to files that each of them reads."""

import dataclasses

import numpy as np
from safetensors.numpy import load_file, save_file

QUANTISED_BLOCK = 32  # weights of a row that share a scale


@dataclasses.dataclass
class Sizes:
    experts: int
    hidden: int
    intermediate: int
    top_k: int
    tokens: list  # how many a batch has
    batches: list  # how many of that size there are

    def weights_per_expert(self):
        return 3 * self.hidden * self.intermediate


def batches_for(tokens):
    """Batches to take in turn: as many as together hit more weights than a cache holds."""
    return 4 if tokens >= 512 else 32


def chosen(logits, k):
    return np.argpartition(-logits, k - 1, axis=-1)[..., :k]


def decided_tokens(random, router, k, count):
    """Normal tokens whose k-th and next logit lie so far apart that rounding to two bytes does not swap them: every
    peer sends a token to the same experts."""
    kept = np.empty((0, router.shape[1]), np.float32)
    while len(kept) < count:
        x = random.standard_normal((2 * count + 16, router.shape[1]), np.float32)
        order = -np.sort(-(x @ router.T), axis=-1)
        if router.shape[0] > k:
            x = x[order[:, k - 1] - order[:, k] > 0.04]
        kept = np.concatenate([kept, x])
    return kept[:count]


def write_layer(sizes, weights_path, tokens_path):
    """Returns, for each size of batch, how many experts a batch hits on average."""
    random = np.random.default_rng(1)
    e, d, f = sizes.experts, sizes.hidden, sizes.intermediate
    normal = lambda *shape: random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))
    router = normal(e, d)
    save_file(
        {"router.weight": router, "experts.gate_up": normal(e, 2, f, d), "experts.down": normal(e, d, f)}, weights_path
    )
    tokens, hit = {}, {}
    for n, batches in zip(sizes.tokens, sizes.batches):
        x = decided_tokens(random, router, sizes.top_k, batches * n).reshape(batches, n, d)
        tokens[f"x.{n}"] = x
        tokens[f"dy.{n}"] = random.standard_normal((batches, n, d), np.float32)
        hit[n] = float(np.mean([len(np.unique(chosen(batch @ router.T, sizes.top_k))) for batch in x]))
    save_file(tokens, tokens_path)
    return hit


def write_language_model(sizes, text, context, embedding, weights_path, tokens_path):
    """The model of examples/01_language_model with its default sizes, and windows of a text: bytes, and the byte that
    follows each."""
    random = np.random.default_rng(2)
    e, d, f = sizes.experts, sizes.hidden, sizes.intermediate
    normal = lambda *shape: random.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[-1]))
    weights = {
        "embedding.weight": random.standard_normal((256, embedding), np.float32),
        "projection.weight": normal(d, context * embedding),
        "blocks.2.weight": np.ones(d, np.float32),
        "head.weight": normal(256, d),
    }
    for block in ("blocks.0", "blocks.1"):
        weights[f"{block}.0.weight"] = np.ones(d, np.float32)
        weights[f"{block}.1.router.weight"] = normal(e, d)
        weights[f"{block}.1.experts.gate_up"] = normal(e, 2, f, d)
        weights[f"{block}.1.experts.down"] = normal(e, d, f)
    save_file(weights, weights_path)

    [n], [batches] = sizes.tokens, sizes.batches
    data = np.frombuffer(text, np.uint8).astype(np.int32)
    at = random.integers(context, len(data), (batches, n))
    ids = data[at[..., None] + np.arange(-context, 0)]
    save_file({f"ids.{n}": np.ascontiguousarray(ids), f"targets.{n}": data[at]}, tokens_path)


def quantise(weights, bits):
    """Codes in 0 .. 2^bits - 1 and a scale for each QUANTISED_BLOCK of a row; code 2^(bits-1) is zero. Four bits as
    moe::int4 has them, so that all have the same weights: the number of largest magnitude is -8 times a scale that is
    rounded to bfloat16."""
    middle = 2 ** (bits - 1)
    blocks = weights.reshape(*weights.shape[:-1], -1, QUANTISED_BLOCK)
    if bits == 4:
        extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], -1)
        scales = bfloat16(extreme / -middle)
    else:
        scales = np.abs(blocks).max(-1, keepdims=True) / (middle - 1)
    codes = np.clip(np.rint(blocks / np.where(scales == 0, 1, scales)), -middle, middle - 1) + middle
    return codes.astype(np.uint8).reshape(weights.shape), scales[..., 0].astype(np.float32)


def bfloat16(numbers):
    """Rounded to the nearest, ties to even."""
    bits = numbers.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32)


def dequantised(weights, bits):
    codes, scales = quantise(weights, bits)
    blocks = codes.reshape(*weights.shape[:-1], -1, QUANTISED_BLOCK).astype(np.float32) - 2 ** (bits - 1)
    return (blocks * scales[..., None]).reshape(weights.shape)


def read_weights(path, type_):
    """float32 arrays by name; of quantised experts, what their codes mean."""
    weights = load_file(path)
    if type_.startswith("int"):
        for name in ("experts.gate_up", "experts.down"):
            for expert in weights[name]:
                expert[...] = dequantised(expert, int(type_[3:]))
    return weights
