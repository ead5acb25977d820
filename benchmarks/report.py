"""How the report does with many generated images: time, memory and size to make it, and how its page feels.

The run is made up: 64 scenes of the street world, each under many names, with labels, confidence and refined labels as
the stages leave them. Chromium, driven by Playwright, opens the page as a file.

    python benchmarks/report.py /tmp/many --images 1000 10000
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clouds.assembly import assemble
from clouds.data.images import write_gray, write_image, write_labels
from clouds.data.world import DOMAINS, render_scene
from clouds.engine.ledger import DONE, Record
from clouds.engine.shard import Shard
from clouds.engine.stage import Stage
from clouds.report.html import write_html
from clouds.report.tables import markdown

SCENES = 64
SHARD_ITEMS = 100
_CONFIG = Path(__file__).parents[1] / "configs" / "smoke.yaml"


def stages_of(folder: Path) -> Any:
    """A config and its stages, on a folder of our own."""
    return assemble(str(_CONFIG), [f"run_dir={folder}", "repaint=null", "adapt=null", "rounds=1"])


def draw_scenes(folder: Path, height: int, width: int) -> None:
    """Images, pseudo-labels, confidence and refined labels of some scenes."""
    for kind in ("image", "label", "confidence", "refined"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(SCENES):
        scene = render_scene(list(DOMAINS)[number % len(DOMAINS)], number)
        # rendered small and enlarged, since only the files' sizes matter here; noise makes a PNG as large as a photo's
        image_HWC = np.asarray(Image.fromarray(scene.image_HWC).resize((width, height), Image.Resampling.BICUBIC))
        rng = np.random.default_rng(number)
        noisy_HWC = np.clip(image_HWC + rng.normal(0, 6, image_HWC.shape), 0, 255).astype(np.uint8)
        labels_HW = np.asarray(
            Image.fromarray(scene.labels_HW).resize((width, height), Image.Resampling.NEAREST)
        ).copy()
        write_image(folder / "image" / f"{number}.png", noisy_HWC)
        write_labels(folder / "refined" / f"{number}.png", labels_HW)
        confidence_HW = np.clip(rng.normal(215, 25, (height // 16, width // 16)), 0, 255).astype(np.uint8)
        shown_HW = np.asarray(Image.fromarray(confidence_HW).resize((width, height), Image.Resampling.BICUBIC))
        write_gray(folder / "confidence" / f"{number}.png", shown_HW)
        labels_HW[: height // 8 * (number % 4)] = 255
        write_labels(folder / "label" / f"{number}.png", labels_HW)


def make_run(folder: Path, scenes: Path, images: int) -> None:
    """A run's folder with so many images, each file a second name of a scene's."""
    by_name = {stage.name: stage for stage in stages_of(folder).stages}
    for start in range(0, images, SHARD_ITEMS):
        shard, items = f"{start // SHARD_ITEMS:05d}", range(start, min(start + SHARD_ITEMS, images))
        rows = [{"id": f"{item:06d}", "file_name": f"{item:06d}.png"} for item in items]
        made = [
            {**row, "prompt": f"street {row['id']} of {item % 97} in rain with three cars and a crossing", "seed": item}
            for item, row in zip(items, rows, strict=True)
        ]
        _publish(by_name["generate"], shard, made, {"image": "file_name"}, scenes)
        labelled = [
            {
                "id": row["id"],
                "file_name": f"labels/{row['file_name']}",
                "confidence_file_name": f"confidence/{row['file_name']}",
                "source_image": f"generate/{shard}/{row['file_name']}",
                "mean_confidence": 0.5 + (item * 7919 % 1000) / 2000,
            }
            for item, row in zip(items, rows, strict=True)
        ]
        _publish(
            by_name["label-1"], shard, labelled, {"label": "file_name", "confidence": "confidence_file_name"}, scenes
        )
        refined = [
            {**row, "source_image": one["source_image"], "labels": f"label-1/{shard}/{one['file_name']}"}
            for row, one in zip(rows, labelled, strict=True)
        ]
        _publish(by_name["refine-1"], shard, refined, {"refined": "file_name"}, scenes)


def _publish(stage: Stage, shard: str, rows: list[dict[str, Any]], kinds: dict[str, str], scenes: Path) -> None:
    ledger = stage.artifact.open_shard(Shard(shard, len(rows)))
    for row in rows:
        for kind, key in kinds.items():
            path = stage.artifact.scratch_folder(shard) / row[key]
            path.parent.mkdir(exist_ok=True)
            os.link(scenes / kind / f"{int(row['id']) % SCENES}.png", path)
    records = [Record(row["id"], DONE, row=row, seconds=0.5) for row in rows]
    ledger.append(records)
    stage.artifact.publish(Shard(shard, len(rows)), records, f"made {len(rows)}")


def write_once(folder: Path) -> None:
    """Write the report of a run and print, as JSON, how long it took and the most memory of this process."""
    assembly = stages_of(folder)
    start = time.perf_counter()
    write_html(assembly.config, assembly.stages, [stage.name for stage in assembly.stages])
    took = time.perf_counter() - start
    print(json.dumps({"s": took, "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def measured_report(folder: Path) -> dict[str, float]:
    """`write_once` in a process of its own, whose memory is the report's alone."""
    command = [sys.executable, __file__, "--write", str(folder)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return found


_TURNS = """async () => {
    const times = [];
    const timed = async (act) => {
        const start = performance.now();
        act();
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - start);
    };
    const order = document.getElementById('order');
    for (const value of ['changed', 'worst', 'best', 'made']) {
        await timed(() => { order.value = value; order.dispatchEvent(new Event('change')); });
    }
    for (let page = 0; page < 5; page++) await timed(() => document.getElementById('next').click());
    return Math.max(...times);
}"""

_SCROLL = """async () => {
    document.documentElement.style.scrollBehavior = 'auto';
    document.getElementById('pictures').scrollIntoView();
    const frames = [];
    let last = performance.now();
    for (let step = 0; step < 150; step++) {
        scrollBy(0, 40);
        await new Promise(requestAnimationFrame);
        const now = performance.now();
        frames.push(now - last);
        last = now;
    }
    frames.sort((one, other) => one - other);
    return [frames[Math.floor(frames.length / 2)], frames[Math.floor(frames.length * 0.95)], frames.at(-1)];
}"""


def measured_page(path: Path) -> dict[str, float]:
    """What a reader waits for, in ms: first paint, first pictures, the slowest of ordering and paging, frames."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        page.goto(path.as_uri(), wait_until="commit")
        page.wait_for_function("document.querySelectorAll('.card').length > 0")
        listed = 1000 * (time.perf_counter() - start)
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        median, most, worst = page.evaluate(_SCROLL)
        turned = page.evaluate(_TURNS)
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 2**20
        browser.close()
    return {
        "paint": paint,
        "listed": listed,
        "median": median,
        "p95": most,
        "worst": worst,
        "turned": turned,
        "heap": heap,
    }


def measure(folder: Path, scenes: Path, images: int) -> list[str]:
    """A row of the table, as text."""
    run = folder / str(images)
    if not run.exists():
        make_run(run, scenes, images)
    shutil.rmtree(run / "report", ignore_errors=True)
    first, again = measured_report(run), measured_report(run)
    page = measured_page(run / "report" / "index.html")
    size = (run / "report" / "index.html").stat().st_size / 2**20
    beside = sum(path.stat().st_size for path in (run / "report" / "gallery").iterdir()) / 2**20
    times = [f"{first['s']:.1f}", f"{again['s']:.1f}", f"{first['mb']:.0f}", f"{again['mb']:.0f}"]
    sizes = [f"{size:.1f}", f"{beside:.0f}", f"{page['heap']:.0f}"]
    frames = [f"{page[key]:.0f}" for key in ("paint", "listed", "turned", "median", "p95", "worst")]
    return [f"{images:,}", *times, *sizes, *frames]


def main() -> None:
    """Measure each number of images and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/many"))
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--height", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write is not None:
        write_once(options.write)
        return
    scenes = options.folder / f"scenes-{options.width}x{options.height}"
    if not scenes.exists():
        draw_scenes(scenes, options.height, options.width)
    header = ["images", "first, s", "again, s", "MB", "again, MB", "page, MB", "beside, MB", "heap, MB"]
    header += ["paint, ms", "listed, ms", "turn, ms", "frame, ms", "95%", "longest"]
    print(markdown(header, [measure(options.folder, scenes, images) for images in options.images]), end="")


if __name__ == "__main__":
    main()
