"""ONNX Runtime's MoE and QMoE operators, behind the product that makes the router's logits. Answers compare.py."""

import functools
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


def initialisers(type_, weights):
    """The arrays of a layer by the names of its inputs, one at a time."""
    yield "router", weights["router.weight"].T
    for name, matrices in (("fc1", interleaved(weights["experts.gate_up"])), ("fc2", weights["experts.down"])):
        if type_ == "float32":
            yield name, matrices
        else:
            codes, scales = zip(*(problem.quantise(matrix, int(type_[3:])) for matrix in matrices))
            yield name, packed(np.stack(codes), int(type_[3:]))
            yield f"{name}_scales", np.stack(scales)


def external(name, array, file):
    """A tensor whose elements lie in the file: nothing is in memory twice."""
    file.seek(-(-file.tell() // 4096) * 4096)
    tensor = TensorProto(name=name, dims=array.shape, data_location=TensorProto.EXTERNAL)
    tensor.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    for key, value in dict(location="weights", offset=file.tell(), length=array.nbytes).items():
        tensor.external_data.add(key=key, value=str(value))
    np.ascontiguousarray(array).tofile(file)
    return tensor


def session(type_, sizes, path, accuracy_level=None):
    attributes = ATTRIBUTES | dict(k=sizes["top_k"])
    if type_ == "float32":
        moe = helper.make_node("MoE", ["x", "logits", "fc1", "", "fc2"], ["y"], **attributes)
    else:
        attributes |= dict(expert_weight_bits=int(type_[3:]), block_size=problem.QUANTISED_BLOCK, weights_prepacked=0)
        inputs = ["x", "logits", "fc1", "fc1_scales", "", "fc2", "fc2_scales"]
        moe = helper.make_node("QMoE", inputs, ["y"], **attributes, accuracy_level=accuracy_level)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    if os.environ.get("OMP_WAIT_POLICY") == "passive":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "weights"), "wb") as file:
            tensors = [external(name, array, file) for name, array in initialisers(type_, load_file(path))]
        rows = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["tokens", sizes["hidden"]])
        logits = helper.make_node("MatMul", ["x", "router"], ["logits"])
        graph = helper.make_graph([logits, moe], "layer", [rows("x")], [rows("y")], tensors)
        onnx.save(model_of(graph), os.path.join(folder, "layer.onnx"))
        return onnxruntime.InferenceSession(
            os.path.join(folder, "layer.onnx"), options, providers=["CPUExecutionProvider"]
        )


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
        levels = {"": None, "float activations": 0, "int8 activations": 4}
        self.session_of = functools.cache(lambda variant: session(type_, sizes, weights, levels[variant]))
        self.tokens = load_file(tokens)
        self.y = {n: np.zeros((n, sizes["hidden"]), np.float32) for n in sizes["tokens"]}

    def run(self, task, variant, tokens, batch):
        if task != "forward":
            raise Cannot("ONNX Runtime's operators have no backward pass")
        session = self.session_of(variant)
        binding = session.io_binding()
        binding.bind_cpu_input("x", self.tokens[f"x.{tokens}"][batch])
        y = self.y[tokens]
        binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
        session.run_with_iobinding(binding)
        self.last = y

    def results(self, task):
        return {"y": self.last}


def machine():
    return {"version": onnxruntime.__version__, "threads": THREADS}


serve(machine, lambda type, sizes, weights, tokens: Layer(type, sizes, weights, tokens))
