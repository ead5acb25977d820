"""What an installed package holds: prompts, configs and the miniature's weights, however deep they lie."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEEP = "miniature/diffusion/unet/diffusion_pytorch_model.safetensors"


def test_assets_are_installed_with_the_package(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("setup.py", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, source)
    for name in ("clouds", "pipelines", "configs"):
        (source / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "assets", source / "assets", ignore=shutil.ignore_patterns("miniature", "__pycache__"))
    (source / "assets" / DEEP).parent.mkdir(parents=True)
    (source / "assets" / DEEP).write_bytes(b"weights")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(built)]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    assert (built / "assets" / DEEP).read_bytes() == b"weights"
    assert (built / "assets" / "prompts" / "street.txt").exists()
    assert (built / "configs" / "miniature.yaml").exists()
    assert (built / "clouds" / "report" / "miniature_card.py").exists()
    page = {path.name for path in (ROOT / "clouds" / "report" / "assets").iterdir()}
    assert {path.name for path in (built / "clouds" / "report" / "assets").iterdir()} == page
    assert {"report.html.j2", "report.css", "page.js", "gallery.js"} <= page
