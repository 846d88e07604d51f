"""What is generated in the pages is what the code says today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "generate_docs.py"
HOOK = "parameters formant_provider.hooks.formant.FormantHook"


def test_no_page_is_stale() -> None:
    """Each generated table of the pages is that of the code, and all of them together leave nothing out."""
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (f"{HOOK} region", "no block of .* names formant_conn_id"),
        (f"{HOOK} region formant_conn_id regoin", "has no regoin"),
        ("parameters formant_provider.hooks.formant.Hook", "there is no formant_provider.hooks.formant.Hook"),
        ("modules formant_provider.hooks", "no block shows the modules of formant_provider, "),
    ],
)
def test_what_a_table_leaves_out_is_refused(block: str, why: str, tmp_path: Path) -> None:
    """Tables that together miss a parameter, or name one that is not there, are refused by name."""
    generator = run_path(str(SCRIPT))
    page = tmp_path / "page.md"
    page.write_text(f"<!-- generated: {block} -->\n<!-- end generated -->\n")
    with pytest.raises(generator["Incomplete"], match=why):
        generator["filled"]([page])
