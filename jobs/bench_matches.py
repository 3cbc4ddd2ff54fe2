"""The cases of `bench.py extract`.

Quality 1 and batches of 64 are the defaults of MonoLoader and TensorflowPredictMusiCNN. Quality 4
is what Essentia's example scripts take, and one patch per call is the fastest for this model.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench_cases import (
    BF16,
    TWO_CORES,
    Case,
    Contender,
    local,
    loop,
    oracle,
    pool,
    ray_data,
    through_ray,
    versus,
)
from bench_figures import Comparison

from embedlib.models.registry import paper_models

NO_OVERLAP_FRAMES = 187
N_MODELS = (1, 2, 4)
"""Of the pipelines of Ray Data, beside all eight."""


def musicnn() -> Case:
    """Give one model at its default hop: the loop, a pool around it, one core, two cores."""
    peers = (
        loop("essentia", like="essentia-q0"),
        loop("essentia-batch1", batch_size=1, like="essentia"),
        loop("essentia-q4", quality=4, like="essentia-q0"),
        loop("essentia-q4-batch1", quality=4, batch_size=1, like="essentia-q4"),
    )
    pools = (
        pool("essentia-pool", batch_size=64, like="essentia"),
        pool("essentia-pool-batch1", batch_size=1, like="essentia"),
    )
    ours = (
        local("embedlib-f32", like="essentia-q0"),
        local("embedlib-bf16", like="embedlib-f32", options=BF16, needs="bf16"),
    )
    return Case(
        "musicnn",
        "MusiCNN, published weights, default hop",
        (*peers, *pools, *ours, *_one_and_two("embedlib-{}")),
        (
            *versus(_names(ours), _names(peers)),
            *versus(["embedlib-2-cores"], _names(pools)),
            _twice("embedlib-2-cores", "embedlib-1-core"),
        ),
        oracle(),
    )


def no_overlap() -> Case:
    """Give the same at a hop of one patch."""
    hop = {"patch_hop_frames": NO_OVERLAP_FRAMES}
    peers = (
        loop("essentia, hop 187", hop=NO_OVERLAP_FRAMES, like="essentia-q0"),
        loop(
            "essentia-batch1, hop 187",
            hop=NO_OVERLAP_FRAMES,
            batch_size=1,
            like="essentia, hop 187",
        ),
    )
    ours = (
        local("embedlib-f32, hop 187", options=hop, like="essentia-q0"),
        local(
            "embedlib-bf16, hop 187",
            options={**hop, **BF16},
            like="embedlib-f32, hop 187",
            needs="bf16",
        ),
    )
    return Case(
        "no-overlap",
        "MusiCNN without overlap of patches, hop 187",
        (*peers, *ours, *_one_and_two("embedlib-{}, hop 187", **hop)),
        (
            *versus(_names(ours), _names(peers)),
            _twice("embedlib-2-cores, hop 187", "embedlib-1-core, hop 187"),
        ),
        oracle(hop=NO_OVERLAP_FRAMES),
    )


def family() -> Case:
    """Give four models of one front end: one pass, and four loops."""
    models = paper_models()[:4]
    peers = (
        loop("four loops", models=models, like="essentia-q0"),
        loop("four loops, batch 1", models=models, batch_size=1, like="four loops"),
    )
    ours = (
        local("family, one pass f32", models=models, like="essentia-q0"),
        local(
            "family, one pass bf16",
            models=models,
            options=BF16,
            like="family, one pass f32",
            needs="bf16",
        ),
    )
    title = "MusiCNN, MusiCNN-T200, VGG-I, VGG-I-T200: one pass, and a run of the loop for each"
    pairs = versus(_names(ours), _names(peers))
    return Case("family", title, (*peers, *ours), pairs, oracle(models))


def eight() -> Case:
    """Give all models on two cores: one pass, and pipelines of Ray Data."""
    models = paper_models()
    peers = (
        ray_data("Ray Data, Essentia", engine="essentia", models=models, like="essentia-q0"),
        ray_data("Ray Data, ours f32", engine="ours", models=models, like="eight, one pass f32"),
        ray_data(
            "Ray Data, ours bf16",
            engine="ours",
            models=models,
            options=BF16,
            like="eight, one pass bf16",
            audio="some more music",
            needs="bf16",
        ),
    )
    ours = (
        through_ray("eight, one pass f32", models=models, like="essentia-q0"),
        through_ray(
            "eight, one pass bf16",
            models=models,
            options=BF16,
            like="eight, one pass f32",
            audio="some more music",
            needs="bf16",
        ),
    )
    return Case(
        "eight",
        "All eight models on two cores: one pass, and a pipeline of Ray Data",
        (*peers, *ours),
        (
            *versus(_names(ours), _names(peers[:1])),
            Comparison("eight, one pass f32", "Ray Data, ours f32"),
            Comparison("eight, one pass bf16", "Ray Data, ours bf16"),
        ),
        oracle(models),
    )


def clips() -> Case:
    """Give files of a second."""
    peer = loop("clips, essentia", like="essentia-q0", audio="clips")
    ours = (
        local("clips, embedlib-f32", like="essentia-q0", audio="clips"),
        local(
            "clips, embedlib-bf16",
            like="clips, embedlib-f32",
            audio="clips",
            options=BF16,
            needs="bf16",
        ),
    )
    pairs = versus(_names(ours), [peer.name])
    return Case("clips", "MusiCNN on short clips", (peer, *ours), pairs, oracle(audio="clips"))


def pipelines() -> Case:
    """Give some models on two cores: one pass, and pipelines of Ray Data."""
    contenders: list[Contender] = []
    pairs: list[Comparison] = []
    for n_models in N_MODELS:
        made = _pipelines(n_models)
        contenders += made
        *peers, ours = _names(made)
        pairs += versus([ours], peers)
    title = "One, two and four models on two cores: one pass, and a pipeline of Ray Data"
    return Case("ray-data", title, tuple(contenders), tuple(pairs), oracle(paper_models()[:4]))


def _pipelines(n_models: int) -> list[Contender]:
    models, word = paper_models()[:n_models], f"{n_models} of eight"
    ours = f"{word}, one pass f32"
    return [
        ray_data(f"{word}, Ray Data, Essentia", engine="essentia", models=models, like=ours),
        ray_data(
            f"{word}, Ray Data, ours f32",
            engine="ours",
            models=models,
            like=ours,
            audio="some more music",
        ),
        through_ray(ours, models=models, like="essentia-q0", audio="some more music"),
    ]


def _one_and_two(name: str, **options: int) -> tuple[Contender, Contender]:
    """Give one core and two, of which nothing but the speed is looked at."""
    return (
        local(name.format("1-core"), options=options, audio="more music", needs=TWO_CORES),
        through_ray(name.format("2-cores"), options=options, audio="more music"),
    )


def _twice(ours: str, other: str) -> Comparison:
    return Comparison(ours, other, figure="stream_speed", n_times=2)


def _names(contenders: Sequence[Contender]) -> list[str]:
    return [contender.name for contender in contenders]


CASES = {
    case.name: case for case in (musicnn(), no_overlap(), family(), eight(), clips(), pipelines())
}

STARTS = {
    "start to first commit s, --local": Contender("--local", "start", {"local": True}),
    "start to first commit s, Ray": Contender("Ray", "start", n_cores=2, needs=TWO_CORES),
    "start to first commit s, Ray, eight models": Contender(
        "Ray, eight models", "start", models=paper_models(), n_cores=2, needs=TWO_CORES
    ),
}
"""Runs of which nothing but the first commit is looked at, by the figure that it gives."""
