"""The site of the documentation, without its generator: navigation, links with their anchors, and commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.registry import registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READMES = [ROOT / "README.md", *sorted((ROOT / "plugins").glob("*/README.md"))]
CONFIG: dict[str, Any] = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\(([^)\s#:]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"^(```+).*?^\1$|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation."""
    if isinstance(nav, str):
        yield nav
    else:
        for each in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(each)


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings of a page, as Git hosts and Markdown's toc make them."""
    headings = re.findall(
        r"^#+ (.*)$", CODE.sub(lambda match: match[0].strip("`"), path.read_text("utf-8")), re.MULTILINE
    )
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[\s]+", "-", each) for each in words}


def test_the_navigation_has_every_page_once() -> None:
    assert sorted(pages_of(CONFIG["nav"])) == [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("page", [*PAGES, *READMES], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_their_anchors_resolve(page: Path) -> None:
    text = re.sub(r"^(```+).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for name, anchor in LINK.findall(text):
        target = page.parent / name if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(f"{name}#{anchor}")
    assert broken == []


def test_every_command_is_in_a_how_to_page() -> None:
    pages = [*(DOCS / "how-to").glob("*.md"), *READMES[1:]]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    verbs = [entry.name.replace("_", "-") for entry in registry().entries("command")]
    assert [verb for verb in verbs if not re.search(rf"aeframe {verb}\b", text)] == []


def test_nothing_is_loaded_from_another_host() -> None:
    assert CONFIG["theme"]["font"] is False
    assert "offline" in CONFIG["plugins"]
    # With a script of this name, the plugin adds none of another host.
    assert CONFIG["extra"]["polyfills"] == ["assets/iframe-worker.js"]
    assert (DOCS / "assets" / "iframe-worker.js").is_file()
