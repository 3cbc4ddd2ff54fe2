"""Spleeter with five stems: what its U-Nets hear at the bottom is the embedding.

The graph follows the code of its authors (deezer/spleeter, model/functions/unet.py and
configs/5stems/base_config.json): waveform, transform, five U-Nets, masks, five waveforms. Only
the encoders, between the magnitudes and the sixth convolution of each, are run here.

Since July 2020 the authors put a frame of zeros in front of the waveform. Whether the published
file does is not known; it makes no difference where magnitudes are fed, and the graph written
here does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from embedlib.models.essentia import TRUST_FIRST_NOTES, essentia_weights
from embedlib.models.graph_writer import GraphWriter, numbered
from embedlib.models.layers import Layers
from embedlib.models.shaping import concat, first_along, length, pad_end, unstack
from embedlib.models.spec import EMBEDDINGS, ModelSpec, Output
from embedlib.models.stft import N_BINS, write_inverse_stft, write_stft

SPLEETER_PAPER = (
    "R. Hennequin, A. Khlif, F. Voituret, M. Moussallam: Spleeter: a fast and efficient music "
    "source separation tool with pre-trained models. Journal of Open Source Software 5(50), 2020"
)

# In the order of the authors' configuration, which numbers the layers.
STEMS = ("vocals", "piano", "drums", "bass", "other")

_ENCODER_FILTERS = (16, 32, 64, 128, 256, 512)
_DECODER_FILTERS = (256, 128, 64, 32, 16, 1)
_EPSILON = 1e-10  # EstimatorSpecBuilder.EPSILON


def write_spleeter(writer: GraphWriter, layers: Layers, spec: ModelSpec) -> None:
    """Write Spleeter, from waveform to waveforms.

    Parameters
    ----------
    writer : GraphWriter
        Empty.
    layers : Layers
        That add to `writer`.
    spec : ModelSpec
        Shape of a chunk of magnitudes.
    """
    n_frames, n_bins, n_channels = spec.input_shape
    waveform = writer.placeholder("waveform", shape=(-1, n_channels))
    stft = write_stft(writer, waveform)
    chunks = _partition(writer, stft, n_frames=n_frames, n_channels=n_channels)
    magnitudes = writer.op("ComplexAbs", "Abs", [chunks], T="complex64", Tout="float32")
    kept_bins = writer.const("n_bins", n_bins)
    image = first_along(writer, magnitudes, name="strided_slice", axis=2, stop=kept_bins)
    logits = [
        _write_unet(writer, layers, image, names=_LayerNames(stem), spec=spec)
        for stem in range(len(STEMS))
    ]
    masks = _ratio_masks(writer, logits, image)
    for stem, mask in zip(STEMS, masks, strict=True):
        _write_waveform(writer, mask, stft=stft, waveform=waveform, stem=stem, spec=spec)


def _partition(writer: GraphWriter, stft: str, *, n_frames: int, n_channels: int) -> str:
    """Cut a transform into chunks of `n_frames`, the last one filled with zeros."""
    with writer.name_scope("partition"):
        total = length(writer, stft, name="n_frames", axis=0, dtype="complex64")
        size = writer.const("segment_len", n_frames)
        rest = writer.op("FloorMod", "FloorMod", [total, size], T="int32")
        gap = writer.op("Sub", "sub", [size, rest], T="int32")
        missing = writer.op("FloorMod", "FloorMod_1", [gap, size], T="int32")
        padded = pad_end(
            writer, stft, name="Pad", axis=0, rank=3, n_zeros=missing, dtype="complex64"
        )
        target = writer.const("Reshape/shape", [-1, n_frames, N_BINS, n_channels])
        return writer.op("Reshape", "Reshape", [padded, target], T="complex64", Tshape="int32")


@dataclass(frozen=True, slots=True)
class _LayerNames:
    """Names of the layers of one U-Net; Keras numbers those of all U-Nets through."""

    stem: int

    def convolution(self, index: int) -> str:
        return numbered("conv2d", self.stem * (len(_ENCODER_FILTERS) + 1) + index)

    def transposed(self, index: int) -> str:
        return numbered("conv2d_transpose", self.stem * len(_DECODER_FILTERS) + index)

    def norm(self, index: int) -> str:
        n_norms = len(_ENCODER_FILTERS) + len(_DECODER_FILTERS)
        return numbered("batch_normalization", self.stem * n_norms + index)

    def joined(self, index: int) -> str:
        return numbered("concatenate", self.stem * (len(_DECODER_FILTERS) - 1) + index)

    def elu(self, index: int, *, decoder: bool) -> str:
        # One layer each for encoder and decoder, whose calls are numbered.
        return f"{numbered('elu', 2 * self.stem + decoder)}/{numbered('Elu', index)}"


def _write_unet(
    writer: GraphWriter, layers: Layers, image: str, *, names: _LayerNames, spec: ModelSpec
) -> str:
    *rows_columns, n_channels = spec.input_shape
    convolutions = _encode(writer, layers, image, names=names, n_in=n_channels)
    decoded = _decode(writer, layers, convolutions, names=names, rows_columns=rows_columns)
    return layers.conv2d(
        decoded,
        name=names.convolution(len(_ENCODER_FILTERS)),
        kernel=(4, 4, _DECODER_FILTERS[-1], n_channels),
        dilations=(2, 2),
        activation=None,
    )


def _encode(
    writer: GraphWriter, layers: Layers, image: str, *, names: _LayerNames, n_in: int
) -> list[str]:
    """Give the six convolutions, before their batch norms; the last is the bottleneck."""
    convolutions = []
    for index, n_out in enumerate(_ENCODER_FILTERS):
        name, kernel = names.convolution(index), (5, 5, n_in, n_out)
        convolved = layers.conv2d(image, name=name, kernel=kernel, strides=(2, 2), activation=None)
        convolutions.append(convolved)
        normal = layers.batch_norm(convolved, name=names.norm(index), n_channels=n_out)
        image = writer.op("Elu", names.elu(index, decoder=False), [normal])
        n_in = n_out
    return convolutions


def _decode(
    writer: GraphWriter,
    layers: Layers,
    convolutions: list[str],
    *,
    names: _LayerNames,
    rows_columns: list[int],
) -> str:
    """Enlarge the bottleneck to the size of the input, beside each convolution on the way."""
    image, n_in = convolutions[-1], _ENCODER_FILTERS[-1]
    for index, n_out in enumerate(_DECODER_FILTERS):
        halvings = len(_DECODER_FILTERS) - 1 - index
        enlarged = layers.conv2d_transpose(
            image,
            name=names.transposed(index),
            kernel=(5, 5, n_out, n_in),
            strides=(2, 2),
            rows_columns=[size >> halvings for size in rows_columns],
        )
        active = writer.op("Elu", names.elu(index, decoder=True), [enlarged])
        norm_name = names.norm(len(_ENCODER_FILTERS) + index)
        image = layers.batch_norm(active, name=norm_name, n_channels=n_out)
        if halvings:
            beside = [convolutions[halvings - 1], image]
            image = concat(writer, beside, name=f"{names.joined(index)}/concat", axis=3)
        n_in = 2 * n_out
    return image


def _ratio_masks(writer: GraphWriter, logits: list[str], image: str) -> list[str]:
    """Make of the softmax over the stems the share that each has of the energy."""
    with writer.name_scope("masks"):
        stacked = writer.op("Pack", "stack", logits, N=len(logits), axis=4)
        softmax = writer.op("Softmax", "Softmax", [stacked])
        shares = unstack(writer, softmax, name="unstack", axis=4, n_parts=len(logits))
        energies = []
        for index, share in enumerate(shares):
            spectrogram = writer.op("Mul", f"spectrogram_{index}", [share, image])
            energies.append(writer.op("Square", f"energy_{index}", [spectrogram]))
        total = writer.op("AddN", "AddN", energies, N=len(energies))
        floor = writer.const("epsilon", _EPSILON, dtype="float32")
        floors = writer.const("epsilon_per_stem", _EPSILON / len(logits), dtype="float32")
        whole = writer.op("Add", "whole", [total, floor])
        parts = [writer.op("Add", f"part_{i}", [part, floors]) for i, part in enumerate(energies)]
        return [writer.op("RealDiv", f"mask_{i}", [part, whole]) for i, part in enumerate(parts)]


def _write_waveform(
    writer: GraphWriter, mask: str, *, stft: str, waveform: str, stem: str, spec: ModelSpec
) -> None:
    """Apply a mask to the transform, zeros above its highest bin, and go back to samples."""
    _, n_bins, n_channels = spec.input_shape
    with writer.name_scope(f"separate_{stem}"):
        around = writer.const("Pad/paddings", [[0, 0], [0, 0], [0, N_BINS - n_bins], [0, 0]])
        wide = writer.op("Pad", "Pad", [mask, around], Tpaddings="int32")
        target = writer.const("Reshape/shape", [-1, N_BINS, n_channels])
        joined = writer.op("Reshape", "Reshape", [wide, target], Tshape="int32")
        n_frames = length(writer, stft, name="n_frames", axis=0, dtype="complex64")
        kept = first_along(writer, joined, name="strided_slice_1", axis=0, stop=n_frames)
        factors = writer.op("Cast", "Cast", [kept], T=None, SrcT="float32", DstT="complex64")
        masked = writer.op("Mul", "masked", [factors, stft], T="complex64")
        n_samples = length(writer, waveform, name="n_samples", axis=0)
        samples = write_inverse_stft(writer, masked, n_samples=n_samples)
    writer.op("Identity", f"waveform_{stem}", [samples])


_BOTTLENECKS = tuple(
    f"{_LayerNames(stem).convolution(len(_ENCODER_FILTERS) - 1)}/BiasAdd"
    for stem in range(len(STEMS))
)

_SUM = Output(EMBEDDINGS, _BOTTLENECKS, 1280, readout="spleeter-sum", n_vectors=16)

SPLEETER_5S = ModelSpec(
    name="spleeter-5s-3",
    title="Spleeter, five stems, bottlenecks",
    # Patches of 512 frames of 4096 samples, 1024 apart, which do not overlap as frames.
    front_end="stereo-44k",
    patch_frames=511 * 1024 + 4096,
    hop_frames=512 * 1024,
    last_patch="pad",
    patch_input="spleeter-stft",
    # The transform in the graph is seven times slower than ours; magnitudes enter behind it. The
    # first convolution takes them, whatever their node is called.
    input_node="input of conv2d/Conv2D",
    input_shape=(512, 1024, 2),
    # What the paper's code reads and how it pools: MTG's musicnn-training, feature_spleeter.py.
    outputs=(_SUM,),
    n_trainable=49_118_745,  # 9,823,749 per stem, of which 4,367,600 come before the bottleneck
    batch_size=1,  # measured: no other is faster
    weights=essentia_weights("source-separation/spleeter/spleeter-5s-3.pb", licence="MIT (Deezer)"),
    citation=SPLEETER_PAPER,
    variants=(
        # The code of the time of the paper fed the mono mix twice.
        ("paper", (("front_end", "mono-44k"),)),
        # The text of the paper says maximum, its code takes the sum.
        ("max", (("outputs", (replace(_SUM, readout="spleeter-max"),)),)),
    ),
    notes=TRUST_FIRST_NOTES,
    # The logarithms of its readout magnify what bf16 loses: relative l2 6e-3 at the bottlenecks,
    # 0.16 in the vectors (docs/models.json).
    takes_bf16=False,
    write_graph=write_spleeter,
)

SPECS = (SPLEETER_5S,)
