import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from rksearch.arch import parse
from rksearch.arch.cost import layout_cost
from rksearch.arch.layout import layout
from rksearch.bench import contestants, dense, optimisations, usual
from rksearch.bench.allocation import allocated_peak
from rksearch.bench.contestants import Participant, Way
from rksearch.bench.optimisations import Pair, batched_gradients
from rksearch.bench.plain import PlainLoop
from rksearch.bench.roofline import Ceilings, roofline, step_bytes
from rksearch.bench.settings import BenchSettings
from rksearch.bench.tuned import TunedLoop
from rksearch.data.facts import dataset
from rksearch.models import build
from rksearch.recipes.recipe import Recipe
from rksearch.training.throughput import ImageSource
from rksearch.training.trainer import seed_everything
from tests.helpers.command_line import Answer, rksearch

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
DATA = replace(dataset("cifar10"), height=8, width=8)
SETTINGS = BenchSettings(device=CPU, precision="fp32", batch_size=6)


@pytest.mark.parametrize("variant", [dense.OutOfPlace, dense.Preallocated])
def test_every_variant_of_the_dense_block_computes_the_same(variant: type[nn.Module]) -> None:
    block = dense.dense_block(DATA).double()
    x = torch.randn(4, 24, 8, 8, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(4, 24 + 6 * 12, 8, 8, dtype=torch.float64)
    expected = block(x)
    wanted = torch.autograd.grad((expected * weights).sum(), [x, *block.parameters()])
    found = variant(block)(x)
    got = torch.autograd.grad((found * weights).sum(), [x, *block.parameters()])
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(got, wanted, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


def test_the_other_variant_of_the_time_step_is_the_same_step() -> None:
    step = dense.time_step(dataset("cifar10"))
    y = torch.randn(2, 12, 8, 8)
    assert torch.equal(dense.OfOneConcatenation(step)(y), step(y))


def test_the_usual_network_is_ours_but_for_the_order_of_its_transitions() -> None:
    images = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    found = []
    for change in (lambda model: model, usual.as_usually_written):
        seed_everything(0)
        model = change(build(parse("DenseNet-BC-16-k4"), DATA)).double()
        found.append(torch.autograd.grad(model(images).square().sum(), list(model.parameters())))
    assert {type(m) for m in model.modules() if isinstance(m, nn.BatchNorm2d)} == {nn.BatchNorm2d}
    assert sum(isinstance(m, usual.ConvolvedFirst) for m in model.modules()) == 2
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["DenseNet-BC-16-k4", "RKNet-k4-m1_1-2x2s_1x1"])
def test_batched_seeds_have_the_gradients_of_separate_networks(name: str) -> None:
    models = [build(parse(name), DATA).train() for _ in range(3)]
    images, labels = torch.randn(6, 3, 8, 8), torch.arange(6)
    together = batched_gradients(models, images, labels)()
    for i, model in enumerate(models):
        F.cross_entropy(model(images), labels).backward()
        for path, parameter in model.named_parameters():
            assert parameter.grad is not None
            assert torch.allclose(together[path][i], parameter.grad, rtol=1e-3, atol=1e-5), path  # type: ignore[index]


def test_the_works_of_a_pair_come_first_equally_often_and_keep_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @contextmanager
    def kept(device: torch.device) -> Iterator[None]:
        seen.append("kept")
        yield
        seen.append("returned")

    monkeypatch.setattr(optimisations, "freed_memory_kept", kept)
    pair = Pair(
        optimisation="x",
        subject="y",
        predicted=1,
        because="z",
        without=lambda: seen.append("without"),
        within=lambda: seen.append("within"),
    )
    optimisations._measure(pair, replace(SETTINGS, rounds=4))
    one, other = ["without", "within"], ["within", "without"]
    assert seen == ["kept", *one, *one, *other, *other, *one, "returned"]  # the first two are not timed


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_clocks_wait_for_a_device_that_works_on_beside_the_program(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append("cuda"))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    BenchSettings(device=torch.device(kind), precision="fp32").now_s()
    assert waited == [kind]


class Recorded:
    """A loop of five batches that notes what it does."""

    model = nn.Linear(1, 1)

    def __init__(self) -> None:
        self.done: list[str] = []

    def batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for _ in range(5):
            self.done.append("read")
            yield torch.zeros(1), torch.zeros(1)

    def step(self, images: torch.Tensor, labels: torch.Tensor, lr: float) -> None:
        self.done.append("step")

    def epoch(self) -> None:
        self.done.append("epoch")


@pytest.mark.parametrize(("workers", "others"), [(0, 0), (2, 4)])
def test_the_timed_epoch_is_charged_with_no_batch_of_another_pass(workers: int, others: int) -> None:
    """Persistent workers of a loader go on with a pass that nobody reads, and the next one waits for what they hold."""
    loop = Recorded()
    contestants._Loop(loop, replace(SETTINGS, workers=workers), compiled=False).turn()  # type: ignore[arg-type]
    assert loop.done == ["read", "step", *(["read"] * others), "epoch"]


def test_the_roofline_adds_up_a_network_by_hand() -> None:
    net = layout(parse("DenseNet-13-k4"), dataset("digits"))
    values = 0
    for row in net.rows:
        into, out = row.in_channels * row.in_size.area, row.out_channels * row.out_size.area
        factor_in, factor_out = {
            "conv": (3, 3),
            "linear": (3, 3),
            "norm": (8, 0),
            "avgpool": (2, 2),
            "global_pool": (2, 2),
        }[row.kind]
        values += factor_in * into + factor_out * out
    params = sum(p.numel() for p in build(net.spec, net.shape).parameters())
    assert step_bytes(net, 32, 2) == 32 * 2 * values + 40 * params
    ceilings = Ceilings(precision="bf16", matmul_flops=4e9, conv_flops=2e9, copy_bytes=1e9)
    bound = roofline(net, 32, ceilings)
    trained = net.as_trained()
    assert bound.memory_s == pytest.approx(step_bytes(trained, 32, 2) / 1e9)
    assert bound.flops == 6 * 32 * layout_cost(trained).macs
    assert bound.compute_s == pytest.approx(bound.flops / 4e9)
    assert bound.bound_s == max(bound.memory_s, bound.compute_s)


def test_the_allocated_peak_is_what_is_held_together() -> None:
    def work() -> None:
        first = torch.empty(1000)
        second = torch.empty(500)
        del first
        third = torch.empty(800)
        del second, third

    before = torch.empty(10**6)
    assert allocated_peak(work, CPU) == 4 * 1500
    assert allocated_peak(lambda: before.add_(1), CPU) < 100  # the number, as a tensor


@pytest.mark.parametrize(
    ("way", "copies"),
    [
        ("plain", 3),  # weights, momenta, gradients
        ("tuned", 4),  # and the sums of gradients and decayed weights, which the optimiser makes for all at once
        ("ours", 3),
    ],
)
def test_what_a_contestant_holds_is_counted_once(way: Way, copies: int) -> None:
    # Of few and small images: the activations take less than the weights.
    settings = replace(SETTINGS, batch_size=4, steps=2)
    arch = parse("ResNet-20")
    weights = 4 * sum(parameter.numel() for parameter in build(arch, DATA).parameters())
    participant = Participant(way=way, arch=arch, source=ImageSource(DATA, None, 0), settings=settings)
    with participant.seated() as contestant:
        peak = contestant.prepare().peak_mem_bytes
    assert copies * weights <= peak < (copies + 0.6) * weights


def test_the_plain_loop_learns_and_sees_augmented_images() -> None:
    recipe = Recipe(name="x", epochs=9, batch_size=10, lr=0.05)
    labels = torch.arange(40) % 10
    pixels = (labels * 25).to(torch.uint8)[:, None, None, None].expand(40, 3, 8, 8).contiguous()
    torch.manual_seed(0)
    loop = PlainLoop(build(parse("ResNet-8"), DATA), pixels, labels, DATA, recipe, CPU, workers=0)
    seen = torch.cat([images for images, _ in loop.batches()])
    assert seen.shape == (40, 3, 8, 8)
    black = (0 - DATA.mean[0]) / DATA.std[0]
    assert torch.isclose(seen[:, 0], torch.tensor(black)).any()  # the border of a shifted picture
    losses = [loop.epoch() for _ in range(6)]
    assert losses[-1] < 0.8 * losses[0]


def test_the_tuned_loop_augments_as_its_data_set_says() -> None:
    pixels, labels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8), torch.arange(12) % 10
    recipe = Recipe(name="x", epochs=9, batch_size=5, lr=0.05)
    torch.manual_seed(0)
    loop = TunedLoop(build(parse("ResNet-8"), DATA), pixels, labels, DATA, recipe, CPU)
    mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (DATA.mean, DATA.std))
    padded = F.pad((pixels.float() - mean) / std, (DATA.crop_padding,) * 4)
    crops = {
        tuple(crop.flatten().tolist()): (i, dy, dx, flipped)
        for i, image in enumerate(padded)
        for dy in range(2 * DATA.crop_padding + 1)
        for dx in range(2 * DATA.crop_padding + 1)
        for flipped, crop in enumerate((image[:, dy : dy + 8, dx : dx + 8], image[:, dy : dy + 8, dx : dx + 8].flip(2)))
    }
    seen = []
    for _ in range(6):
        batches = list(loop.batches())
        assert [len(x) for x, _ in batches] == [5, 5, 2]
        assert all(x.is_contiguous(memory_format=torch.channels_last) for x, _ in batches)
        places = [crops[tuple(image.flatten().tolist())] for x, _ in batches for image in x]
        assert sorted(i for i, *_ in places) == list(range(12))
        assert [labels[i] for i, *_ in places] == [label for _, y in batches for label in y]
        seen += places
    for choice in (1, 2, 3):  # rows, columns and mirrored or not: each differs from image to image
        assert len({place[choice] for place in seen}) == (2 if choice == 3 else 2 * DATA.crop_padding + 1)


def test_real_images_are_repeated_where_there_are_too_few() -> None:
    pixels, labels = torch.arange(3, dtype=torch.uint8)[:, None, None, None], torch.arange(3)
    taken, classes = ImageSource(DATA, (pixels, labels), 0).take(7)
    assert taken.flatten().tolist() == classes.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert ImageSource(DATA, None, 0).take(5)[0].shape == (5, 3, 8, 8)


@pytest.mark.slow
def test_bench_train_prints_json_and_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    arguments = ["--dataset", "digits", "--rounds", "2", "--steps", "2", "--batch-size", "128", "--threads", "1"]
    done = rksearch("bench", "train", "ResNet-8", *arguments, "--cpu-time", "--device", "cpu", "--to", str(path))
    assert done.returncode == 0, done.stderr
    assert "ResNet-8" in done.stdout
    assert "roofline" in done.stdout
    found = json.loads(path.read_text())
    (network,) = found["networks"]
    assert network["steps"] == 2
    assert set(found["yardsticks"]) == {"plain", "tuned"}
    assert set(network["sides"]) == {"plain", "tuned", "ours"}
    same = {"median": 1, "low": 1, "high": 1, "of_minima": 1}
    assert network["sides"]["plain"]["times_plain"] == network["sides"]["tuned"]["times_tuned"] == same
    for side in network["sides"].values():
        assert len(side["turns_s"]) == 2
        assert side["images_per_s"]["high"] == pytest.approx(2 * 128 / min(side["turns_s"]))
    for yardstick in ("plain", "tuned"):
        expected = min(network["sides"][yardstick]["turns_s"]) / min(network["sides"]["ours"]["turns_s"])
        assert network["sides"]["ours"][f"times_{yardstick}"]["of_minima"] == pytest.approx(expected)
        assert f") {yardstick}" in done.stdout
    ours = network["sides"]["ours"]
    assert 0 < ours["images_per_s"]["low"] <= ours["images_per_s"]["median"] <= ours["images_per_s"]["high"]
    # The batch is large enough that oneDNN's copies of weights, which are not predicted, count little on any CPU.
    assert ours["peak_mem_bytes"] == pytest.approx(network["predicted_mem_bytes"], rel=0.15)
    assert network["sides"]["plain"]["peak_mem_bytes"] > network["params"] * 4 * 3  # weights, momenta, gradients
    assert done.stderr == ""
    assert all(rate["median"] > 0 for rate in network["pipeline_images_per_s"].values())
    assert found["synthetic_images"] is True
    assert found["settings"]["threads"] == 1
    assert found["environment"]["torch"] == torch.__version__.split("+")[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cpu-time", "--device", "cpu", "--threads", "2"], "one thread only"),
        (["--concurrent", "1,x"], "such as 1,2,4,8, but got '1,x'"),
        (["--concurrent", "2", "--compile", "on"], "leave --compile out"),
        (["--concurrent", "2", "--cpu-time", "--device", "cpu", "--threads", "1"], "leave --cpu-time out"),
        (["--together", "2", "--workers", "0"], "leave --workers out"),
        (["--together", "0"], "such as 1,2,4,8, but got '0'"),
        (["NoNet-3"], "NoNet"),
    ],
)
def test_bad_input_is_refused_in_words(arguments: list[str], message: str, answer: Callable[..., Answer]) -> None:
    code, _, errors = answer("bench", "train", *arguments)
    assert code == 2
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors


@pytest.mark.parametrize("command", ["train", "optimisations"])
def test_compiling_without_a_compiler_is_refused(
    command: str, monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Answer]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    code, shown, errors = answer("bench", command, "ResNet-8", "--device", "cpu", "--compile", "on")
    assert (code, shown) == (2, "")
    assert "compiling was asked for, but there is no C++ compiler" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.slow
def test_trainings_at_a_time_are_summed(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "train", "ResNet-8", "--dataset", "digits", "--steps", "2", "--batch-size", "8", "--rounds", "1"),
        *("--threads", "2", "--concurrent", "1,2", "--together", "3", "--to", str(path)),
    )
    assert done.returncode == 0, done.stderr
    one, two, three = json.loads(path.read_text())["concurrent"]
    assert (one["processes"], one["threads"], one["times_one"]) == (1, 2, 1)
    assert (two["processes"], two["threads"]) == (2, 1)
    assert (three["processes"], three["seeds"], three["threads"]) == (1, 3, 2)
    for more in (two, three):
        assert more["images_per_s"]["median"] == pytest.approx(more["times_one"] * one["images_per_s"]["median"])


@pytest.mark.slow
def test_optimisations_are_measured_with_their_predictions(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    done = rksearch(
        *("bench", "optimisations", "ResNet-8", "DenseNet-BC-16-k4", "--dataset", "digits"),
        *("--batch-size", "8", "--rounds", "1"),
        *("--threads", "1", "--compile", "off", "--to", str(path)),
    )
    assert done.returncode == 0, done.stderr
    found = {one["optimisation"]: one for one in json.loads(path.read_text())["optimisations"]}
    assert {"channels last", "resident data", "fused optimiser", "preallocated concatenation"} <= set(found)
    assert {"recomputation", "stages added from growths"} <= set(found)
    assert {"4 seeds as one program", "4 seeds batched (fp32)", "freed memory kept"} <= set(found)
    assert "transitions pool first" in found
    for one in found.values():
        assert one["predicted"] > 0
        assert one["measured"]["median"] > 0
        assert one["because"]
