"""Hooks of MkDocs: pages that are generated while the site is built, and links that lead out of ``docs``.

The pages on the git host and on the site have the same source. On the site, links to source files become plain text,
and the READMEs of the plugins are pages.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

import api
import gallery
import recipes
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)*[\w./-]+)(#[\w-]+)?\)")
_FENCE = re.compile(r"^```(\w+) file=(\S+)$", re.MULTILINE)
_PLUGINS = sorted(path.parent.name for path in (ROOT / "plugins").glob("*/README.md"))


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    nav: list[Any] = config.nav or []
    titles = [next(iter(each)) for each in nav]
    plugins = {"Plugins": [f"plugins/{name}.md" for name in _PLUGINS]}
    at = titles.index("Reference")
    reference = nav[at]["Reference"]
    config.nav = [
        *nav[:at],
        {"Recipes": ["recipes/README.md", *(f"recipes/{name}.md" for name in recipes.names())]},
        {"Gallery": "gallery/README.md"},
        {"Reference": [*reference, {"Python API": [f"api/{name}.md" for name in api.PAGES]}, plugins]},
        *nav[at + 1 :],
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the pictures of the gallery."""
    pages = {
        **{f"recipes/{name}": text for name, text in recipes.pages().items()},
        **{f"api/{name}.md": text for name, text in api.pages().items()},
        **{
            f"plugins/{name}.md": (ROOT / "plugins" / name / "README.md").read_text(encoding="utf-8")
            for name in _PLUGINS
        },
        "gallery/README.md": gallery.page(ROOT / "build" / "gallery"),
    }
    for uri, text in pages.items():
        files.append(File.generated(config, uri, content=text))
    for path in gallery.pictures(ROOT / "build" / "gallery"):
        uri = f"gallery/{path.parent.name}/{path.name}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the names of files above their code, and replace links that lead out of the site."""
    del config
    uri = page.file.src_uri
    # Where the source of the page is in the repository.
    source = f"{uri.removesuffix('.md')}/README.md" if uri.startswith("plugins/") else f"docs/{uri}"

    def link(match: re.Match[str]) -> str:
        text, path, anchor = match.group(1), match.group(2), match.group(3) or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        plugin = re.fullmatch(r"plugins/([\w-]+)/README\.md", target)
        site = f"plugins/{plugin.group(1)}.md" if plugin else target.removeprefix("docs/")
        if (plugin or target.startswith("docs/")) and files.get_file_from_path(site) is not None:
            return f"[{text}]({posixpath.relpath(site, posixpath.dirname(uri) or '.')}{anchor})"
        return text if (ROOT / target).exists() else match.group()

    # Code has brackets that are no links.
    parts = re.split(r"(^```.*?^```$)", _FENCE.sub(r'```\1 title="\2"', markdown), flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else _LINK.sub(link, part) for part in parts)
