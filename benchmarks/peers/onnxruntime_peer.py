"""ONNX Runtime's MoE and QMoE operators, behind the product that makes the router's logits. Answers compare.py."""

import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from safetensors.numpy import load_file

import problem
from dialogue import Cannot, serve

THREADS = int(sys.argv[1])
ATTRIBUTES = dict(
    activation_type="swiglu",
    swiglu_fusion=1,
    activation_alpha=1.0,
    activation_beta=0.0,
    normalize_routing_weights=1,
    domain="com.microsoft",
)


def interleaved(gate_up):
    """[E, 2, F, D] -> [E, 2 F, D], the only order that the CPU's operators take: g0, l0, g1, l1, ..."""
    e, _, f, d = gate_up.shape
    return np.ascontiguousarray(gate_up.transpose(0, 2, 1, 3)).reshape(e, 2 * f, d)


def packed(codes, bits):
    return codes if bits == 8 else codes[..., 0::2] | codes[..., 1::2] << 4


def model_of(graph):
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def session(type_, sizes, weights, accuracy_level=None):
    attributes = ATTRIBUTES | dict(k=sizes["top_k"])
    gate_up, down = interleaved(weights["experts.gate_up"]), weights["experts.down"]
    initial = {"router": np.ascontiguousarray(weights["router.weight"].T)}
    if type_ == "float32":
        initial |= {"fc1": gate_up, "fc2": down}
        moe = helper.make_node("MoE", ["x", "logits", "fc1", "", "fc2"], ["y"], **attributes)
    else:
        bits = int(type_[3:])
        for name, matrices in (("fc1", gate_up), ("fc2", down)):
            codes, scales = zip(*(problem.quantise(matrix, bits) for matrix in matrices))
            initial |= {name: packed(np.stack(codes), bits), f"{name}_scales": np.stack(scales)}
        attributes |= dict(expert_weight_bits=bits, block_size=problem.QUANTISED_BLOCK, weights_prepacked=0)
        attributes |= dict(accuracy_level=accuracy_level)
        moe = helper.make_node("QMoE", ["x", "logits", "fc1", "fc1_scales", "", "fc2", "fc2_scales"], ["y"], **attributes)
    rows = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", sizes["hidden"]])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "router"], ["logits"]), moe], "layer", [rows("x")], [rows("y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in initial.items()],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    if os.environ.get("OMP_WAIT_POLICY") == "passive":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "layer.onnx")
        onnx.save(model_of(graph), path, save_as_external_data=True, location="weights", size_threshold=1024)
        del graph
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def expect_bfloat16():
    """Raises Cannot, with what ONNX Runtime says to the smallest such layer"""
    shapes = {"x": [1, 16], "logits": [1, 2], "fc1": [2, 32, 16], "fc2": [2, 16, 16], "y": [1, 16]}
    info = {name: helper.make_tensor_value_info(name, TensorProto.BFLOAT16, shape) for name, shape in shapes.items()}
    moe = helper.make_node("MoE", ["x", "logits", "fc1", "", "fc2"], ["y"], **ATTRIBUTES, k=1)
    graph = helper.make_graph([moe], "layer", [info[name] for name in ("x", "logits", "fc1", "fc2")], [info["y"]])
    try:
        onnxruntime.InferenceSession(model_of(graph).SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Cannot(str(error).splitlines()[0].replace("|", " ")) from error
    raise Cannot("it has a MoE of bfloat16 by now, which onnxruntime_peer.py does not ask yet")


class Layer:
    def __init__(self, type_, sizes, weights, tokens):
        if type_ == "bfloat16":
            expect_bfloat16()
        weights = load_file(weights)
        levels = {"": None} if type_ == "float32" else {"float activations": 0, "int8 activations": 4}
        self.sessions = {variant: session(type_, sizes, weights, level) for variant, level in levels.items()}
        self.tokens = load_file(tokens)
        self.y = {n: np.zeros((n, sizes["hidden"]), np.float32) for n in sizes["tokens"]}

    def run(self, task, variant, tokens, batch):
        if task != "forward":
            raise Cannot("ONNX Runtime's operators have no backward pass")
        binding = self.sessions[variant].io_binding()
        binding.bind_cpu_input("x", self.tokens[f"x.{tokens}"][batch])
        y = self.y[tokens]
        binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
        self.sessions[variant].run_with_iobinding(binding)
        self.last = y

    def results(self, task):
        return {"y": self.last}


def machine():
    return {"version": onnxruntime.__version__, "threads": THREADS}


serve(machine, lambda type, sizes, weights, tokens: Layer(type, sizes, weights, tokens))
