"""Shell completion: the script a shell is given, what it proposes, and that neither brings in a model library."""

import os
import subprocess
import sys

import pytest

CODE = """
import sys
sys.argv = ["clouds"]
from clouds.cli import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def completion(**variables: str) -> list[str]:
    """What a shell gets; nothing heavy may have been imported for it."""
    environment = {**os.environ, **variables}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, env=environment)
    assert done.stderr.splitlines()[-1] == "False", done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("shell", "said"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_the_script_of_a_shell(shell: str, said: str) -> None:
    script = completion(_CLOUDS_COMPLETE=f"source_{shell}")
    assert said in " ".join(script) and "clouds" in script


@pytest.mark.parametrize(
    ("typed", "proposed"),
    [
        ("clouds ex", ["export"]),
        ("clouds doctor --js", ["--json"]),
        ("clouds run clouds_gt", ["clouds_gta5", "clouds_gta5_online", "clouds_gta5_rn101", "clouds_gta5_rn50"]),
        ("clouds export x --format o", ["onnx"]),
        ("clouds export x --format coco", ["coco-panoptic", "coco-rle"]),
    ],
)
def test_what_it_proposes(typed: str, proposed: list[str]) -> None:
    words = typed.split()
    found = completion(_CLOUDS_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1))
    assert sorted(found) == proposed
