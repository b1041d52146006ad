"""The model card of an export, as the Hugging Face hub reads it."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from unbraid.datasets.shards.index import Index
from unbraid.datasets.untrusted.text import in_one_line
from unbraid.trainers.runs.package import Facts
from unbraid.trainers.use.trained import TrainedModel


def model_card(
    model: TrainedModel, facts: Facts, pictures: Sequence[str], index: Index | None = None, programs: Sequence[str] = ()
) -> str:
    """The card as Markdown with a YAML head.

    Args:
        pictures: names of files under ``pictures/``.
        index: of the data set; None where it could not be read.
        programs: names of files under ``programs/``.
    """
    config, primary = model.config, model.config.primary_metric
    head = {
        "library_name": "unbraid",
        "pipeline_tag": model.task,
        "tags": ["disentanglement", "generative-adversarial-network", config.system],
        **(
            {"license": "other", "license_name": in_one_line(index.licence, 100)} if index is not None and index.licence else {}
        ),
        "model-index": [_model_index(model, facts, index)],
    }
    blocks = [
        "---\n" + yaml.safe_dump(head, sort_keys=False, allow_unicode=True) + "---",
        f"# {facts.name}",
        f"A model of **{config.system}**, trained by unbraid for {facts.updates:,} updates"
        + (f" on {in_one_line(index.name, 100)}" if index is not None else "")
        + (f". {primary.name}: **{facts.measures[primary.name]:.4g}**." if primary and primary.name in facts.measures else "."),
        *(f"![{name}](pictures/{name})" for name in pictures[:3]),
        "## Use",
        f'```python\nimport unbraid\n\nmodel = unbraid.load("FOLDER")  # this folder, or s3://…\n{model.example}\n```',
        "Methods: " + ", ".join(f"`{name}`" for name in model.methods) + ". Weights are the moving averages of training.",
        *(
            ["`programs/` holds " + ", ".join(f"`{name}`" for name in programs) + ": networks of any batch size."]
            if programs
            else []
        ),
        "## Measures",
        _measures(facts),
        "## Training",
        _training(model, facts, index),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _model_index(model: TrainedModel, facts: Facts, index: Index | None) -> dict[str, object]:
    data = {
        "name": in_one_line(index.name, 100) if index is not None else "unknown",
        "type": "webdataset",
        "split": facts.split,
    }
    metrics = [{"type": name, "name": name, "value": round(value, 6)} for name, value in facts.measures.items()]
    task = {"type": model.task}
    return {"name": facts.name, "results": [{"task": task, "dataset": data, "metrics": metrics}] if metrics else []}


def _measures(facts: Facts) -> str:
    if not facts.measures:
        return "None: this checkpoint was not evaluated."
    rows = "\n".join(f"| {name} | {value:.4g} |" for name, value in facts.measures.items())
    return f"On the split `{facts.split}`:\n\n| measure | value |\n|---|---|\n{rows}"


def _training(model: TrainedModel, facts: Facts, index: Index | None) -> str:
    config = model.config
    rows = {
        "updates": f"{facts.updates:,}",
        "batch": str(config.data.batch),
        "seed": str(config.run.seed),
        "data digest": f"`{facts.data_digest}`" if facts.data_digest else "",
        "data source": in_one_line(index.source, 200) if index is not None else "",
        "licence of the data": in_one_line(index.licence, 200) if index is not None else "",
        "commit": f"`{facts.commit}`" if facts.commit else "",
        "command": f"`unbraid {in_one_line(facts.command, 500)}`" if facts.command else "",
        "device": facts.device,
    }
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value)
