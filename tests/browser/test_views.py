"""The parts of the module that need no page, and what is written about it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.browser.data_api import MODULE
from tests.needs import require

ROOT = MODULE.parent


@pytest.mark.parametrize("name", ["views", "refreshd"])
def test_the_parts_of_the_module_that_need_no_page_pass_their_own_tests(name: str) -> None:
    node = shutil.which("node")
    require("node", found=node, hint="install Node 20 or newer")
    tests = Path(__file__).with_name(f"{name}.test.mjs")

    ran = subprocess.run([str(node), "--test", str(tests)], capture_output=True, text=True, check=False, timeout=60)

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_option_is_declared_and_explained_and_every_table_is_a_type_of_the_registry() -> None:
    module = (MODULE / "refreshd.js").read_text()
    defaults = module.split("const DEFAULTS = {")[1].split("\n}\n")[0]
    options = {*re.findall(r"^  (\w+):", defaults, re.MULTILINE), "tables"}
    declared = (MODULE / "refreshd.d.ts").read_text().split("interface RefreshOptions {")[1].split("\n}\n")[0]
    explained = (ROOT / "docs" / "frontend.md").read_text().split("## Options")[1]
    types = re.findall(r"^  '?([a-z-]+)'?: \{ table: '(\w+)'", (MODULE / "tables.js").read_text(), re.MULTILINE)
    registry = (ROOT / "schema" / "seeds" / "registry.sql").read_text()

    assert set(re.findall(r"^  (\w+)\?:", declared, re.MULTILINE)) == options
    assert set(re.findall(r"^\| `(\w+)` \|", explained, re.MULTILINE)) == options
    assert sorted(types) == sorted(re.findall(r"^    \('([a-z-]+)', '(\w+)'", registry, re.MULTILINE))
