"""Writing a run's model as an export, with a model card, and as programs that need no Python of ours."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from unbraid.datasets.errors import DataError
from unbraid.datasets.shards.index import Index, read_index
from unbraid.datasets.store import Store, open_store
from unbraid.trainers.errors import ConfigError
from unbraid.trainers.evaluate import read_learnt
from unbraid.trainers.runs.package import PICTURES, PROGRAMS, Facts, Package, Recorded, in_use, write_package
from unbraid.trainers.runs.pictures import newest_pictures
from unbraid.trainers.runs.record import REPORT_KEY
from unbraid.trainers.system import load_model
from unbraid.trainers.use.card import model_card
from unbraid.trainers.use.run import Run
from unbraid.trainers.use.trained import Origin, TrainedModel, trained_model

ProgramFormat = Literal["pt2", "onnx"]
TOLERANCE = 1e-4
"""Largest difference of a program's outputs from the network's, as a share of the largest output."""
MOST_PICTURES = 6


def export_run(run: Run, destination: Store, programs: tuple[ProgramFormat, ...] = (), step: int | None = None) -> TrainedModel:
    """Write a run's model, what is known of it, its card and its pictures.

    Args:
        destination: of the export, which is empty or holds an earlier one.
        programs: formats in which each network is written too, and checked to give the same.
        step: of the checkpoint; None is the newest whole one.

    Returns:
        The model.

    Raises:
        ConfigError: when something else lies there, or a network cannot be written in a format.
        CheckpointError: when the run has no such checkpoint.
        DataError: when the run, its data set (where reading needs it) or the destination cannot be used.
    """
    learnt = read_learnt(run.store, step)
    networks = Recorded(learnt.networks)
    model = load_model(run.config, networks, learnt.inputs, torch.device("cpu"))
    trained = trained_model(run.config, model, Origin(run.name, learnt.updates, run.url))
    package = Package(run.config, learnt.inputs, in_use(networks.used), trained.extras(), _facts(run, learnt.updates))
    pictures = _pictures(run.store)
    written = {f"{name}.{kind}": _program(name, kind, *part) for kind in programs for name, part in trained.programs().items()}
    if programs and not written:
        raise ConfigError(f"--format: {run.config.system} has no network that is written as a program")
    card = model_card(trained, package.facts, list(pictures), _index(run), list(written))
    files = {f"{PICTURES}{name}": content for name, content in pictures.items()}
    write_package(destination, package, card, files | {f"{PROGRAMS}{name}": content for name, content in written.items()})
    return trained


def _facts(run: Run, updates: int) -> Facts:
    record = run.record
    measures = run.measures if updates == run.step else {}
    return Facts(
        name=run.name,
        updates=updates,
        measures=measures,
        split=str(record.get("evaluation_split") or "") if measures else "",
        data_digest=str(record.get("data_digest", "")),
        commit=str(record.get("git_commit") or ""),
        command=str(record.get("command", "")),
        device=str(record.get("device") or ""),
    )


def _index(run: Run) -> Index | None:
    """What is known of the run's data set; None where it cannot be read."""
    try:
        return read_index(open_store(run.config.data.url))
    except DataError:
        return None


def _pictures(store: Store) -> dict[str, bytes]:
    """The newest previews, the figures and the report, by file name."""
    keys = [key for folder in ("preview/", "figures/") for key in newest_pictures(store.keys(folder))[:MOST_PICTURES]]
    found = {f"{key.split('/')[1]}.png": store.get(key) for key in keys}
    return found | ({"report.png": store.get(REPORT_KEY)} if store.exists(REPORT_KEY) else {})


def _program(name: str, kind: ProgramFormat, network: nn.Module, inputs: tuple[Tensor, ...]) -> bytes:
    """A network as a program of any batch size, checked on fresh inputs.

    Raises:
        ConfigError: when it cannot be written, or gives something else.
    """
    network = network.eval()
    try:
        content, run = (_as_pt2 if kind == "pt2" else _as_onnx)(network, inputs)
    except ImportError as error:
        raise ConfigError(f"--format {kind}: {error.name} is missing; `pip install 'unbraid[onnx]'`") from None
    torch.manual_seed(0)
    fresh = tuple(torch.randn(3, *tensor.shape[1:]).to(tensor) for tensor in inputs)
    with torch.no_grad():
        wanted = network(*fresh)
        apart = float((run(fresh) - wanted).abs().max() / wanted.abs().max().clamp_min(1e-9))
    if apart > TOLERANCE:
        raise ConfigError(
            f"--format {kind}: the {name} gives other outputs than the network, by {100 * apart:.2g} % of the largest"
        )
    return content


Program = Callable[[tuple[Tensor, ...]], Tensor]


def _as_pt2(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[bytes, Program]:
    batch = torch.export.Dim("batch", min=1, max=65536)
    program = torch.export.export(network, inputs, dynamic_shapes=_dynamic(inputs, batch))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    loaded = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return buffer.getvalue(), lambda fresh: loaded(*fresh)


def _as_onnx(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[bytes, Program]:
    import onnxruntime

    importlib.import_module("onnxscript")  # which torch's exporter needs

    batch = torch.export.Dim("batch", min=1, max=65536)
    program = torch.onnx.export(network, inputs, dynamo=True, dynamic_shapes=_dynamic(inputs, batch), verbose=False)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(fresh: tuple[Tensor, ...]) -> Tensor:
        return torch.from_numpy(session.run(None, {n: t.numpy() for n, t in zip(names, fresh, strict=True)})[0])

    return content, run


def _dynamic(inputs: tuple[Tensor, ...], batch: object) -> tuple[dict[int, object], ...]:
    return tuple({0: batch} for _ in inputs)
