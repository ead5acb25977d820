"""The card of the packed miniature: what it learned from, how, how well, how large. It computes no quality."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from clouds import __version__
from clouds.engine.artifact import Artifact
from clouds.engine.status import format_duration
from clouds.report.provenance import versions
from clouds.report.tables import markdown

_AVERAGED = 100
_PARTS = (
    ("diffusion/", "Stable Diffusion, text to images; diffusers' `DiffusionPipeline.from_pretrained` opens it"),
    ("clip/", 'CLIP with a ConvNeXt, images and texts to vectors; `open_clip.create_model("local-dir:clip")` opens it'),
    (
        "sam.safetensors",
        "Segment Anything, prompts to masks, under the official key names; `load_sam` of clouds opens it",
    ),
)
_HEADLINES = {
    "autoencoder": {"psnr_db": "reconstruction, PSNR in dB"},
    "clip": {
        "image_to_text": "image to text, retrieval at 1",
        "text_to_image": "text to image, retrieval at 1",
        "candidates": "candidates of the retrieval",
        "choice": "zero-shot, mean accuracy over the questions below",
        "thing": "zero-shot, is a thing there; mean area under the curve (guessing: 0.50)",
    },
    "sam": {
        "point": "mask IoU from one point",
        "points": "mask IoU from five points",
        "box": "mask IoU from a box",
        "component": "IoU of damaged masks, to be refined",
        "refined": "IoU after their refinement, asked by points",
        "refined_shown": "IoU after their refinement, shown as masks besides",
    },
}


@dataclass(frozen=True)
class MiniatureFacts:
    """What the card tells of: `sizes` in bytes by file, `quality` by model, as the appraisals found it."""

    sizes: Mapping[str, int]
    corpus: Artifact
    heldout: Artifact
    trainings: Sequence[Artifact]
    quality: Mapping[str, Any]
    packed_on: str


def miniature_card(facts: MiniatureFacts) -> str:
    """The card as Markdown, for the README of the packed folder."""
    head = yaml.safe_dump({"license": "apache-2.0", "tags": ["synthetic", "street-scenes", "miniature"]})
    return "\n".join(
        (
            f"---\n{head}---\n# The miniature\n",
            "Small instances of the real classes of Stable Diffusion, CLIP and Segment Anything, trained from nothing",
            "on procedural street scenes. They are for trying the method on a laptop, and know no other world.\n",
            _files(facts.sizes),
            "![A row of samples for each prompt](samples.png)\n",
            _data(facts),
            _trainings(facts),
            _quality(facts.quality),
            "## Made again\n",
            "    clouds pretrain\n",
            "makes all of it anew; interrupted, the same command goes on. `clouds pretrain --install` puts the result",
            "in the place of the weights that ship. `checksums.json` has the size and SHA-256 of every file.",
            f"{_versions()}\n",
            "## Licence\n",
            "Apache-2.0, the weights and the scenes they learned from included: no other data went into them.\n",
        )
    )


def _files(sizes: Mapping[str, int]) -> str:
    lines = (f"- `{part}` ({_megabytes(sizes, part)} MB): {what}\n" for part, what in _PARTS)
    return f"## Files\n\n{''.join(lines)}\nAll files have {_megabytes(sizes, '')} MB together.\n"


def _data(facts: MiniatureFacts) -> str:
    return (
        f"## Data\n\n- learned from: {_scenes(facts.corpus)}\n- held out: {_scenes(facts.heldout)}\n\n"
        "The models see images, captions and the numbers of objects, never a class label, and no scene of a domain\n"
        "that results are reported on or settings are chosen on. The segmenter that recognises what the generator\n"
        "paints learned from other scenes of the same domain with labels; it is a judge and is not packed.\n"
    )


def _scenes(corpus: Artifact) -> str:
    document = _document(corpus)
    config, inputs = document["config"], document["inputs"]
    count = sum(summary.done for shard in corpus.shard_ids() if (summary := corpus.summary(shard)) is not None)
    first = config["first"]
    return (
        f"{count} scenes of the domain `{inputs['domain']}`, numbers {first} to {first + count - 1} of seed "
        f"{config['seed']}, {config['height']} x {config['width']} pixels (height x width), renderer version "
        f"{inputs['renderer']}"
    )


def _trainings(facts: MiniatureFacts) -> str:
    header = ["training", "steps", "batch", "learning rate", "seed", "precision", "h:mm:ss", "hardware"]
    rows = [_training(artifact) for artifact in facts.trainings]
    losses = "".join(f"- {artifact.name}: {_final_losses(artifact)}\n" for artifact in facts.trainings)
    return (
        f"## Training\n\n{markdown(header, rows)}\nPacked on {facts.packed_on}. Mean losses of the last steps, at most "
        f"{_AVERAGED}:\n\n{losses}"
    )


def _training(artifact: Artifact) -> list[str]:
    document, summary = _document(artifact), artifact.summary("model")
    config, inputs = document["config"], document["inputs"]
    row = next(artifact.rows("model"))
    processes = f"{row['processes']} x " if row.get("processes", 1) > 1 else ""
    return [
        artifact.name,
        *(str(config[key]) for key in ("steps", "batch_size", "optimizer.lr")),
        str(inputs["seed"]),
        "float32" if inputs["precision"] == "no" else str(inputs["precision"]),
        format_duration(summary.seconds if summary is not None else None),
        f"{processes}{row['hardware']}" if "hardware" in row else "-",
    ]


def _final_losses(artifact: Artifact) -> str:
    with (artifact.shard_folder("model") / "log.jsonl").open(encoding="utf-8") as file:
        last = [json.loads(line) for line in file.readlines()[-_AVERAGED:]]
    names = [name for name in last[-1] if name not in ("step", "lr")]
    return ", ".join(f"{name} {sum(line[name] for line in last) / len(last):.4g}" for name in names)


def _quality(quality: Mapping[str, Any]) -> str:
    rows = [
        [f"{model}: {what}", f"{quality[model][key]:.3f}"]
        for model, headlines in _HEADLINES.items()
        for key, what in headlines.items()
        if key in quality.get(model, {})
    ]
    rows += [[f"clip: zero-shot {what}", value] for what, value in _choices(quality.get("clip", {}))]
    generator = _generator(quality["generator"]) if "generator" in quality else ""
    return (
        "## Quality on held-out scenes\n\n"
        f"{markdown(['measure', 'value'], rows)}\nShares lie in [0, 1]; `quality.json` has all values.\n\n{generator}"
    )


def _choices(clip: Mapping[str, float]) -> list[tuple[str, str]]:
    """Each zero-shot question with its accuracy and that of guessing."""
    chances = {key.removesuffix("_chance"): value for key, value in clip.items() if key.endswith("_chance")}
    return [
        (f"{key.removeprefix('choice_').replace('_', ' ')} (guessing: {chance:.2f})", f"{clip[key]:.3f}")
        for key, chance in chances.items()
    ]


def _generator(found: Mapping[str, Any]) -> str:
    """How the judge recognises what captions name, in generated and in real pictures."""
    generated, real = found["generated"], found["real"]
    header = ["named in the caption", "captions", "found", "found, not named", "found in real", "not named, in real"]
    rows = [
        [name, str(one["named"]), *_shares(one), *_shares(real["things"][name])]
        for name, one in generated["things"].items()
    ]
    rows.append(["mean", "", *_shares(generated), *_shares(real)])
    light = found["brightness"]
    times = [name for name in light["generated"] if name != "in_order"]
    shown = [[time, _share(light["generated"][time]), _share(light["real"][time])] for time in times]
    return (
        f"The generator, by {generated['pictures']} images made from held-out captions: the share of images in which\n"
        "a segmenter, trained with full labels, finds what the caption names, and finds what it does not name.\n"
        f"Beside it the same of the real scenes of those captions.\n\n{markdown(header, rows)}\n"
        "Mean brightness by the time of day that the caption names:\n\n"
        f"{markdown(['time', 'generated', 'real'], shown)}"
    )


def _shares(one: Mapping[str, Any]) -> list[str]:
    return [_share(one["recall"]), _share(one["false_alarms"])]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _megabytes(sizes: Mapping[str, int], start: str) -> str:
    return f"{sum(size for name, size in sizes.items() if name.startswith(start)) / 1e6:.1f}"


def _document(artifact: Artifact) -> Mapping[str, Any]:
    """What a stage's output depends on, as its description tells it."""
    document: Mapping[str, Any] = (artifact.description() or {})["document"]
    return document


def _versions() -> str:
    named = ", ".join(f"{name} {version}" for name, version in versions() if name != "clouds")
    return f"Packed by clouds {__version__} with {named}."
