"""Export of networks for use elsewhere: weights, spec and a model card in a directory, and standard program formats.

A directory holds `model.safetensors` (every parameter and buffer once, float32), `spec.json` (name, facts about the
images, counts, checksum of the weights, and the training that they come from) and `README.md`, the model card; on
request `model.pt2` (`torch.export`) and `model.onnx`. `load` reads the first two; it unpickles nothing.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from rksearch import __version__
from rksearch.arch import ArchSpec, parse
from rksearch.arch.cost import cost
from rksearch.data.facts import Dataset
from rksearch.errors import ExportError, RksearchError, TakenError, in_one_line, unwritable
from rksearch.models import Network, build
from rksearch.models.card import TrainingFacts, card, is_card
from rksearch.ordinary import PIECE_BYTES, open_ordinary, read_ordinary, write_atomically, write_together

FORMAT = 1
WEIGHTS, SPEC, CARD, PROGRAM, ONNX = "model.safetensors", "spec.json", "README.md", "model.pt2", "model.onnx"

MAX_SPEC_BYTES = 1_000_000
"""Largest `spec.json` that is read."""

BYTES_PER_PARAMETER, HEADER_BYTES = 16, 10_000_000
"""Largest size of weights, for each parameter and beside them; a norm has two buffers for its two parameters."""

TOLERANCE = 1e-4
"""Largest accepted difference between a program's logits and the module's, relative to the largest logit (or 1)."""


def export(
    model: nn.Module,
    spec: ArchSpec,
    data: Dataset,
    directory: Path,
    *,
    origin: str,
    training: TrainingFacts | None = None,
) -> None:
    """Write weights, spec and model card of a built network.

    Args:
        model: module that `build(spec, data)` made, with any weights.
        spec, data: arguments of that `build`.
        directory: created where it is missing; files of an earlier export are replaced.
        origin: source of the weights, in words, for the model card.
        training: the training that they come from, for `spec.json` and the model card; None for fresh weights.

    Raises:
        ExportError: the directory cannot be written, or the weights are not those of such a module.
        TakenError: it holds files of these names that are no earlier export's.
    """
    require_weights_of(model, spec, data)
    _require_own(directory)
    weights = bytes_of({name: t.detach().cpu().contiguous() for name, t in _tensors(model).items()})
    checksum = hashlib.sha256(weights).hexdigest()
    record = {"format": FORMAT, **description(spec, data, origin, training), "weights_sha256": checksum}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        spec_text = f"{json.dumps(record, indent=2)}\n"
        write_together(
            {
                directory / PROGRAM: None,  # of an earlier export, perhaps of another network
                directory / ONNX: None,
                directory / WEIGHTS: weights,
                directory / SPEC: spec_text.encode(),
                directory / CARD: card(record).encode(),
            }
        )
    except OSError as error:
        raise _unwritten(directory, error) from error


def _unwritten(directory: Path, error: OSError) -> ExportError:
    refused = ExportError(
        f"an export must be written to {directory}, but that failed ({error.strerror}); choose another --to"
    )
    refused.exit_code = 2  # of what cannot be written; what cannot be read is none of the caller's input
    return unwritable(refused, error)


def description(spec: ArchSpec, data: Dataset, origin: str, training: TrainingFacts | None) -> dict[str, Any]:
    """Values for JSON that describe a network and its weights; `rksearch.models.card.card` reads them."""
    return {
        "name": str(spec),
        "family": spec.family,
        "data": data.facts(),
        **cost(spec, data)._asdict(),
        "origin": origin,
        "rksearch": __version__,
        "training": asdict(training) if training else None,
    }


def require_weights_of(model: nn.Module, spec: ArchSpec, data: Dataset) -> None:
    """Make sure that a module has the weights of `build(spec, data)`, into which they are loaded again.

    Raises:
        ExportError: it has others, as after `reset_classifier`.
    """
    with torch.device("meta"):
        wanted = _shapes(build(spec, data))
    found = _shapes(model)
    for name in (*wanted, *found):
        if found.get(name) != wanted.get(name):
            raise ExportError(
                f"the weights of {spec} for {data.classes} classes have {name} {wanted.get(name, 'nowhere')}, but the "
                f"network has it {found.get(name, 'nowhere')}; change its classifier by reset_classifier alone, and "
                "describe images of as many classes"
            )


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in _tensors(model).items()}


def _require_own(directory: Path) -> None:
    """Make sure that the files an export replaces are those of an earlier one.

    Raises:
        TakenError: one is not.
    """
    try:
        record = json.loads(read_ordinary(directory / SPEC, MAX_SPEC_BYTES))
        checksum, params = record["weights_sha256"], int(record["params"])
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        checksum, params = None, 0
    earlier = checksum is not None
    own = {
        SPEC: earlier,
        WEIGHTS: earlier and _checksum(directory / WEIGHTS, BYTES_PER_PARAMETER * params + HEADER_BYTES) == checksum,
        # Nothing in a program says what wrote it.
        PROGRAM: earlier,
        ONNX: earlier,
        CARD: _is_own_card(directory / CARD),
    }
    for name, is_own in own.items():
        if not is_own and os.path.exists(directory / name):  # False, too, for a name that is too long
            raise TakenError(
                f"rksearch replaces only what it wrote itself, but {directory / name} is no earlier export's; choose "
                "another --to, or move that file"
            )


def _checksum(path: Path, most_bytes: int) -> str | None:
    """SHA-256 of an ordinary file in hex digits; None where it cannot be read or is larger."""
    digest = hashlib.sha256()
    try:
        with open_ordinary(path, most_bytes) as file:
            while piece := file.read(PIECE_BYTES):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()


def _is_own_card(path: Path) -> bool:
    try:
        return is_card(read_ordinary(path, MAX_SPEC_BYTES).decode(errors="replace"))
    except OSError:
        return False


def load(directory: str | Path) -> Network:
    """Load the network that `export` wrote, in eval mode on the CPU. Nothing is unpickled.

    Returns:
        A module from float images (N, C, H, W), normalised as `spec.json` says, to logits (N, classes).

    Raises:
        ExportError: files are missing or damaged, or the weights are not those of the architecture.
        SpecError: the name is malformed.
    """
    return load_described(directory)[0]


def load_described(directory: str | Path) -> tuple[Network, dict[str, Any]]:
    """The network that `load` returns, and the content of `spec.json`.

    Raises:
        ExportError, SpecError: as `load`.
    """
    directory = Path(directory)
    try:
        record = json.loads(read_ordinary(directory / SPEC, MAX_SPEC_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(directory, error) from error
    spec, data = _described(record, directory)
    # Counted before weights are read and the network is built: a damaged name may stand for one that fills the memory.
    trained = cost(spec, data).params
    try:
        weights = read_ordinary(directory / WEIGHTS, BYTES_PER_PARAMETER * trained + HEADER_BYTES)
    except OSError as error:
        raise _unreadable(directory, error) from error
    if hashlib.sha256(weights).hexdigest() != record.get("weights_sha256"):
        raise ExportError(f"{directory / WEIGHTS} must have the checksum of {SPEC}, but it is another; export it again")
    try:
        stored = tensors_of(weights)
    except SafetensorError as error:
        raise ExportError(f"{directory / WEIGHTS} is not a safetensors file ({error}); export it again") from error
    numbers = sum(tensor.numel() for tensor in stored.values())
    if numbers < trained:
        raise ExportError(
            f"{directory / WEIGHTS} must hold the {trained:,} parameters of {spec}, but it holds {numbers:,} numbers; "
            "export it again"
        )
    model = build(spec, data)
    wanted = _tensors(model)
    if _shapes(model) != {name: tuple(t.shape) for name, t in stored.items()}:
        raise ExportError(f"{directory / WEIGHTS} must hold the weights of {spec}, but names or shapes differ")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])
    return model.eval(), record


def _unreadable(directory: Path, error: Exception) -> ExportError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ExportError(
        f"an export holds {SPEC} and {WEIGHTS}, but {directory} cannot be read ({reason}); export it again"
    )


def export_program(model: nn.Module, data: Dataset, path: Path) -> float:
    """Write the network as a `torch.export` program for any batch size, and run the file against the module.

    Returns:
        The largest difference of logits.

    Raises:
        ExportError: the program's logits are not the module's, or the file cannot be written.
    """
    model = model.eval()
    program = torch.export.export(model, (_images(data, 2),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    content = io.BytesIO()  # on a full disk, torch's own writer ends the process
    torch.export.save(program, content)
    _write_program(path, content.getvalue())
    images = _images(data, 3)
    with torch.no_grad():
        return _agreement(path, torch.export.load(path).module()(images), model(images))


def export_onnx(model: nn.Module, data: Dataset, path: Path) -> float:
    """Write the network as ONNX for any batch size, and run the file by onnxruntime against the module.

    Returns:
        The largest difference of logits.

    Raises:
        ExportError: a package is missing, the program's logits are not the module's, or the file cannot be written.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}, which is not installed; pip install 'rksearch[onnx]'")
    import onnxruntime

    model = model.eval()
    program = torch.onnx.export(
        model,
        (_images(data, 2),),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    assert program is not None
    _write_program(path, program.model_proto.SerializeToString())
    images = _images(data, 3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": images.numpy()})
    with torch.no_grad():
        return _agreement(path, torch.from_numpy(logits), model(images))


def _write_program(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise _unwritten(path.parent, error) from error


def _agreement(path: Path, theirs: Tensor, ours: Tensor) -> float:
    difference = float((theirs - ours).abs().max())
    allowed = TOLERANCE * max(1.0, float(ours.abs().max()))
    if not difference <= allowed:
        raise ExportError(
            f"the logits of {path} must equal the module's within {allowed:.1e}, but they differ by {difference:.1e}; "
            "do not use the file, and report this"
        )
    return difference


def _images(data: Dataset, count: int) -> Tensor:
    """Images of normal noise, the same in every call with this count."""
    shape = (count, data.channels, data.height, data.width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(count))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each once under its first name; time-steps may share one."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _described(record: Any, directory: Path) -> tuple[ArchSpec, Dataset]:
    try:
        if record["format"] != FORMAT:
            raise ExportError(
                f"{directory / SPEC} must be of format {FORMAT}, but it is of {record['format']!r}; "
                f"load it with rksearch {record.get('rksearch')}"
            )
        return parse(record["name"]), Dataset.from_facts(record["data"])
    except RksearchError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise ExportError(
            f"{directory / SPEC} must describe a network, but it does not ({in_one_line(error)}); export it again"
        ) from error
