"""Rendered scenes: the same bytes every time, at any size, with labels and instances that agree."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clouds
from clouds.data.world import CLASSES, COLORS, DOMAINS, Scene, render_scene
from clouds.errors import CloudsError


def digest(scene: Scene) -> str:
    """A hash of everything a scene holds."""
    sha = hashlib.sha256()
    for array in (scene.image_HWC, scene.labels_HW, scene.instances_HW):
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(array.tobytes())
    sha.update(scene.caption.encode())
    return sha.hexdigest()


def test_the_table_of_classes() -> None:
    joined = "sky, building, pole, road, sidewalk, vegetation, traffic sign, fence, car, person, bicycle"
    assert ", ".join(CLASSES) == joined
    assert len(COLORS) == len(set(COLORS)) == len(CLASSES)
    assert {"source", "fog", "night", "rain", "snow", "abroad", "web"} <= set(DOMAINS)


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_same_arguments_give_the_same_bytes(domain: str) -> None:
    first = digest(render_scene(domain, 3, seed=11))
    render_scene(domain, 4)
    assert digest(render_scene(domain, 3, seed=11)) == first
    assert digest(render_scene(domain, 4, seed=11)) != first
    assert digest(render_scene(domain, 3, seed=12)) != first


def test_another_process_gives_the_same_bytes() -> None:
    program = (
        "import sys, test_world_scenes as t\n"
        "from clouds.data.world import render_scene\n"
        "print(*(t.digest(render_scene(d, 5, height=33, width=70)) for d in sys.argv[1:]))"
    )
    paths = [str(Path(__file__).parent), str(Path(clouds.__file__).parents[1])]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{program}", *DOMAINS],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77"},
    )
    assert result.stdout.split() == [digest(render_scene(domain, 5, height=33, width=70)) for domain in DOMAINS]


@settings(max_examples=30, deadline=None)
@given(
    domain=st.sampled_from(sorted(DOMAINS)),
    index=st.integers(0, 2**40),
    seed=st.integers(0, 2**64),
    height=st.integers(1, 90),
    width=st.integers(1, 150),
)
def test_any_scene_is_well_formed(domain: str, index: int, seed: int, height: int, width: int) -> None:
    scene = render_scene(domain, index, seed=seed, height=height, width=width)
    assert scene.image_HWC.shape == (height, width, 3) and scene.image_HWC.dtype == np.uint8
    assert scene.labels_HW.shape == (height, width) and scene.labels_HW.dtype == np.uint8
    assert scene.instances_HW.shape == (height, width) and scene.instances_HW.dtype == np.int32
    assert scene.labels_HW.max() < len(CLASSES)
    assert scene.instances_HW.min() >= 1
    pairs = np.unique(np.stack([scene.instances_HW.ravel(), scene.labels_HW.ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "an object has one class"


def test_a_large_scene_shows_what_the_small_one_shows() -> None:
    small = render_scene("abroad", 8)
    large = render_scene("abroad", 8, height=64 * 5, width=128 * 5)
    # five is odd: the middle pixel of each block has the small pixel's centre
    agreement = (large.labels_HW[2::5, 2::5] == small.labels_HW).mean()
    assert agreement > 0.97


def test_the_picture_lies_on_its_labels() -> None:
    """In the game all road is grey, marked white; so a pixel of clear blue cannot be road, nor a grey one sky."""
    for index in range(5):
        scene = render_scene("source", index)
        inner = scene.labels_HW == CLASSES.index("sky")
        for axis, shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
            inner &= np.roll(scene.labels_HW, shift, axis) == CLASSES.index("sky")
        sky = scene.image_HWC[inner].astype(int)
        assert len(sky) and (sky[:, 2] > sky[:, 0]).mean() > 0.98


def test_an_unknown_domain_names_itself_and_the_nearest() -> None:
    with pytest.raises(CloudsError) as caught:
        render_scene("nigth", 0)
    assert "'nigth'" in caught.value.message
    listed = caught.value.mend.split(": ")[1].split(", ")
    assert listed[0] == "night" and set(listed) == set(DOMAINS)


@pytest.mark.parametrize("arguments", [{"height": 0}, {"width": 0}, {"seed": -1}])
def test_impossible_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        render_scene("source", 0, **arguments)
