"""``aeframe push RUN hub:owner/name`` copies a saved model to a repository of a hub, or to a folder."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from aeframe.cli import Command


class Push(Command):
    """Copy a saved model to a repository of the Hugging Face hub, or to a folder, for others to load.

    Only the saved model is copied: no checkpoints, no logs and no samples. Absolute paths of the training data become
    their last component. The card becomes README.md. A repository needs aeframe[hub] and a token (hf auth login);
    HF_ENDPOINT names another hub. A model with the same address is opened by aeframe.load and by all verbs.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", metavar="RUN", help="folder of a run, or of a saved model")
        parser.add_argument(
            "target", metavar="TARGET", help="hub:owner/name or hub:owner/name@branch; a folder or its file:// URL"
        )
        parser.add_argument("--license", metavar="ID", help="licence for the card: apache-2.0, cc-by-4.0, ...")
        parser.add_argument("--private", action="store_true", help="make a new repository private")
        parser.add_argument("--overwrite", action="store_true", help="replace the model that TARGET has")

    def run(self, args: Namespace) -> int:
        from aeframe.model_store.card import UNKNOWN
        from aeframe.model_store.push import push

        pushed = push(args.model, args.target, license=args.license, private=args.private, overwrite=args.overwrite)
        for path in pushed.shortened:
            print(f"note: the copy has the last component only of the path {path}", file=sys.stderr)
        if pushed.license == UNKNOWN:
            print("note: the card says that the licence is unknown; set one with --license", file=sys.stderr)
        print(pushed.location)
        return 0
