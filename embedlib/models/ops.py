"""The TensorFlow ops that a graph may hold, and the shape that each gives.

`SHAPE_RULES` is the allow-list: an op without a rule is refused. All of them are pure functions
of their inputs (`RandomUniform` of inactive dropout apart); none reads or writes a file or runs
foreign code. They are the ops of the Essentia models that were looked at (MusiCNN, VGG-I,
Tempo-CNN, VGGish), of the graphs that are written here, and those that TensorFlow's and ONNX's
converters make of the layers of the others. A call of a function is one of them because
`parse_graph` looks into every function of the graph.
"""

from __future__ import annotations

from embedlib.models import array_rules as arrays
from embedlib.models import layer_rules as layers
from embedlib.models.known import Rule, Shape

__all__ = ["CALL_OPS", "SHAPE_RULES", "Shape"]

CALL_OPS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Ops that run a function of the graph's library."""

_ELEMENT_BY_ELEMENT = (
    "Abs AddN BiasAdd Ceil ComplexAbs Cos Elu Erf Exp Floor FusedBatchNorm FusedBatchNormV2 "
    "FusedBatchNormV3 LeakyRelu Log Log1p LogSoftmax LogicalNot Neg OnesLike Reciprocal Relu "
    "Relu6 Round Rsqrt Selu Sigmoid Sign Sin Softmax Softplus Sqrt Square Tanh ZerosLike"
)
_PASSED_ON = "Cast Identity Merge StopGradient Switch"
_TWO_BROADCAST = (
    "Complex Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr Maximum Minimum "
    "NotEqual Pow RealDiv SquaredDifference"
)
_NO_RULE = (
    "BatchMatMul BatchMatMulV2 BatchToSpaceND BroadcastTo Einsum GatherNd IdentityN NoOp "
    "PartitionedCall Rank ResizeBilinear ReverseV2 Select SelectV2 Size Slice "
    "SpaceToBatchND SparseToDense SplitV StatefulPartitionedCall Tile TopKV2 Where"
)

SHAPE_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENT_BY_ELEMENT.split(), arrays.same_shape),
    **dict.fromkeys(_PASSED_ON.split(), arrays.as_input),
    **dict.fromkeys(_TWO_BROADCAST.split(), arrays.broadcast),
    **dict.fromkeys(_NO_RULE.split(), arrays.unknown),
    "Add": arrays.ADD,
    "AddV2": arrays.ADD,
    "AvgPool": layers.pool,
    "ConcatV2": arrays.concat,
    "Const": arrays.unknown,  # its tensor is in the graph; `graph.list_nodes` reads it
    "Conv2D": layers.conv2d,
    "Conv2DBackpropInput": layers.conv2d_transpose,
    "DepthwiseConv2dNative": layers.depthwise_conv2d,
    "ExpandDims": arrays.expand_dims,
    "Fill": arrays.of_shape,
    "FloorDiv": arrays.FLOOR_DIV,
    "FloorMod": arrays.FLOOR_MOD,
    "GatherV2": arrays.gather,
    "IRFFT": layers.transform(real=True),
    "MatMul": layers.mat_mul,
    "Max": arrays.reduce,
    "MaxPool": layers.pool,
    "Mean": arrays.reduce,
    "Min": arrays.reduce,
    "MirrorPad": arrays.pad,
    "Mul": arrays.MUL,
    "Pack": arrays.pack,
    "Pad": arrays.pad,
    "PadV2": arrays.pad,
    "Placeholder": arrays.placeholder,
    "Prod": arrays.reduce,
    "RFFT": layers.transform(real=False),
    "RandomUniform": arrays.of_shape,
    "Range": arrays.vector,
    "Reshape": arrays.reshape,
    "Shape": arrays.shape_of,
    "Split": arrays.split,
    "Squeeze": arrays.squeeze,
    "StridedSlice": arrays.strided_slice,
    "Sub": arrays.SUB,
    "Sum": arrays.reduce,
    "Transpose": arrays.transpose,
    "Unpack": arrays.unpack,
}
