"""The stage `generate`: balanced prompts in a run, and what is said of words the text encoder does not know."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_run import small_config, write_config

from clouds.assembly import assemble
from clouds.engine.artifact import Artifact
from clouds.engine.runner import Orders, run_stages
from clouds.engine.runtime import Runtime

Clouds = Callable[..., tuple[int, str, str]]


def config(models: Path, folder: Path, prompts: dict[str, Any], count: int = 7) -> Path:
    tree = small_config(models, folder / "run", repaint=None, adapt=None)
    tree["generate"] |= {"prompts": prompts, "count": count, "steps": 1}
    return write_config(folder / "c.yaml", tree)


def prompts_of(run_dir: Path) -> list[str]:
    artifact = Artifact(run_dir / "generate")
    return [row["prompt"] for shard in artifact.shard_ids() for row in artifact.rows(shard)]


def test_balanced_prompts_come_equally_often_and_stay_when_more_are_made(
    models: Path, tmp_path: Path, clouds: Clouds
) -> None:
    words = [{"text": "rain", "weight": 100}, "fog", "snow"]
    prompts = {"grammar": {"template": "a street in {air}", "slots": {"air": words}}, "balance": ["air"]}
    file = config(models, tmp_path, prompts, count=6)
    assert clouds("generate", file)[0] == 0
    first = prompts_of(tmp_path / "run")
    assert set(Counter(first).values()) == {2}
    assert clouds("generate", file, "--set", "generate.count=9")[0] == 0
    assert prompts_of(tmp_path / "run")[:6] == first
    assert set(Counter(prompts_of(tmp_path / "run")).values()) == {3}


def test_each_unknown_word_is_said_once_before_the_first_image(
    models: Path, tmp_path: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "p.txt").write_text("a street with a Lorry\na lorry on a wide street\na tuktuk in fog\n")
    with caplog.at_level(logging.WARNING):
        assert clouds("generate", config(models, tmp_path, {"file": str(tmp_path / "p.txt")}))[0] == 0
    said = [record.getMessage() for record in caplog.records if "does not know the word" in record.getMessage()]
    assert [message.split("'")[1] for message in said] == ["lorry", "tuktuk"]


def test_a_word_is_said_once_in_a_run_whoever_paints_it(
    models: Path, tmp_path: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    """`repaint` comes first, with prompts of its own."""
    (tmp_path / "p.txt").write_text("a lorry in fog\n")
    (tmp_path / "q.txt").write_text("a lorry beside a tuktuk\n")
    tree = small_config(models, tmp_path / "run", filter=None)
    tree["generate"] |= {"prompts": {"file": str(tmp_path / "p.txt")}, "count": 1}
    tree["repaint"] |= {"prompts": {"file": str(tmp_path / "q.txt"), "grammar": None}, "count": 1}
    stages = assemble(str(write_config(tmp_path / "c.yaml", tree)))
    runtime = Runtime(stages.config.runtime)
    with caplog.at_level(logging.WARNING):
        for kind in ("repaint", "generate"):
            run_stages(stages.needed_for(kind), stages.config.folder, runtime, Orders())
    said = [record.getMessage() for record in caplog.records if "does not know the word" in record.getMessage()]
    assert [message.split("'")[1] for message in said] == ["lorry", "tuktuk"]


def test_many_unknown_words_are_counted(
    models: Path, tmp_path: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    words = [f"qx{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(33)]
    (tmp_path / "p.txt").write_text(" ".join(words))
    with caplog.at_level(logging.WARNING):
        assert clouds("generate", config(models, tmp_path, {"file": str(tmp_path / "p.txt")}, count=1))[0] == 0
    said = [record.getMessage() for record in caplog.records if "know" in record.getMessage()]
    assert len(said) == 21
    assert said[-1].startswith("13 more words")


def test_known_words_are_not_mentioned(
    models: Path, tmp_path: Path, clouds: Clouds, caplog: pytest.LogCaptureFixture
) -> None:
    grammar = {"template": "a {place}, at night", "slots": {"place": ["street", "bridge"]}}
    with caplog.at_level(logging.WARNING):
        assert clouds("generate", config(models, tmp_path, {"grammar": grammar}, count=2))[0] == 0
    assert "know" not in caplog.text
