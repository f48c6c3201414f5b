"""``ixc space``: the Hugging Face Space, kept in step with the Spacefile and deployed by one command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ixc.settings import Settings


def add_command(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "space", help="host the app on Hugging Face Spaces", description="Host the app on Hugging Face Spaces."
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    sync = actions.add_parser(
        "sync",
        help="write the Spacefile's settings into the README",
        description="Write the Spacefile's settings to the top of README.md.",
    )
    sync.add_argument("--check", action="store_true", help="change nothing; fail if the README is not in step")
    sync.set_defaults(run=run_sync)
    deploy = actions.add_parser(
        "deploy",
        help="create or update a Space",
        description="Check, then create the Space or bring it up to date, as the Spacefile says. The same command again goes "
        "on where an interrupted one stopped.",
    )
    deploy.add_argument("--to", metavar="USER/NAME", required=True, help="the Space; made if it does not exist")
    deploy.add_argument("--hardware", metavar="NAME", help="what it runs on, for example zero-a10g (default: the Spacefile's)")
    deploy.add_argument("--model", metavar="NAME", help="a known model (default: the Spacefile's for this hardware)")
    deploy.add_argument("--private", action="store_true", help="if it is new, only its owner sees it")
    deploy.add_argument("--secret", metavar="NAME", action="append", default=[], help="set this secret from your environment")
    deploy.add_argument("--dry-run", action="store_true", help="say what would happen; needs no network and no token")
    deploy.set_defaults(run=run_deploy)
    for action in (sync, deploy):
        action.add_argument(
            "--project", metavar="FOLDER", type=Path, help="the checkout (default: the one this program runs from)"
        )


def run_sync(args: argparse.Namespace, settings: Settings) -> None:
    """Raises SpaceError when the Spacefile is wrong, or with --check when the README differs."""
    from ixc.hosting.space.spacefile import PROJECT, SpaceError, read_spacefile, synced_readme

    project = args.project or PROJECT
    path = project / "README.md"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    after = synced_readme(read_spacefile(project), before)
    if before == after:
        print(f"{path} is in step with the Spacefile")
    elif args.check:
        raise SpaceError("The README's front matter differs from the Spacefile; run: ixc space sync")
    else:
        path.write_text(after, encoding="utf-8")
        print(f"wrote the front matter of {path}")


def run_deploy(args: argparse.Namespace, settings: Settings) -> None:
    """Raises IxcError."""
    from huggingface_hub import HfApi

    from ixc.hosting.space.deployment import DeployOptions, describe, plan_deployment
    from ixc.hosting.space.hub import deploy, secret_values, space_address
    from ixc.hosting.space.spacefile import PROJECT, SpaceError, read_spacefile

    project = args.project or PROJECT
    options = DeployOptions(args.to, args.hardware, args.model, args.private, tuple(args.secret))
    deployment = plan_deployment(project, read_spacefile(project), options)
    api = HfApi()
    if args.dry_run:
        print(describe(deployment, space_address(api, deployment.repo_id)))
        if deployment.failures:
            raise SpaceError("The Space would not run; mend what is marked NO above.")
        secret_values(deployment)
        print("\nNothing was changed. Without --dry-run this is what happens.", file=sys.stderr)
        return
    print(deploy(deployment, api, say=lambda step: print(step, file=sys.stderr)))
