"""Bring a Space into being on the Hugging Face Hub, or up to date, with the Hub's own client."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from ixc.hosting.space.deployment import Deployment
from ixc.hosting.space.spacefile import SpaceError

_MARK = "Spacefile"
"""A Space that holds this file was deployed from a project like this one; others are not touched."""
_HUBS_OWN = (".gitattributes",)

Say = Callable[[str], None]


def space_address(api: HfApi, repo_id: str) -> str:
    return f"{api.endpoint}/spaces/{repo_id}"


def deploy(deployment: Deployment, api: HfApi, say: Say, env: Mapping[str, str] = os.environ) -> str:
    """Create or update the Space; returns its address. ``say`` is told every step that was done.

    What costs money or can be refused comes first, the upload is one commit at the end: whenever it breaks off, the Space is as
    it was or as it should be, and the same call goes on from there. Raises SpaceError.
    """
    if deployment.failures:
        raise SpaceError(f"The Space would not run: {deployment.failures[0].name}: {deployment.failures[0].detail}.")
    secrets = secret_values(deployment, env)
    _check_token(api, deployment.repo_id)
    existing = _existing_files(api, deployment.repo_id)
    if existing is None:
        _create(deployment, api)
        say(f"created the Space on {deployment.hardware.name}")
        existing = set()
    else:
        _set_hardware(deployment, api, say)
        _set_variables(deployment, api, say)
    for name, value in secrets.items():
        with _explained(deployment, f"The secret {name} could not be set"):
            api.add_space_secret(deployment.repo_id, name, value)
        say(f"set the secret {name}")
    _upload(deployment, api, existing)
    say(f"uploaded {len(deployment.files)} files")
    return space_address(api, deployment.repo_id)


def secret_values(deployment: Deployment, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """By name. Raises SpaceError for one that the environment lacks."""
    for name in deployment.secrets:
        if not env.get(name):
            raise SpaceError(f"The secret {name} is not in your environment; set it there, or leave out --secret {name}.")
    return {name: env[name] for name in deployment.secrets}


def _check_token(api: HfApi, repo_id: str) -> None:
    """Raises SpaceError unless there is a token of somebody who may write to the Space's owner."""
    advice = "run: hf auth login, or set HF_TOKEN to a token that may write (https://huggingface.co/settings/tokens)"
    if not (api.token or get_token()):
        raise SpaceError(f"There is no Hugging Face token; {advice}")
    try:
        user = api.whoami()
    except (LocalTokenNotFoundError, HfHubHTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code not in (401, 403):
            raise SpaceError(_broken("The Hub did not say whose token this is", error)) from error
        raise SpaceError(f"Hugging Face does not accept the token; {advice}") from error
    except OfflineModeIsEnabled as error:
        raise SpaceError("The Hub's client is told to stay offline; unset HF_HUB_OFFLINE and start again.") from error
    except (httpx2.HTTPError, OSError) as error:
        raise SpaceError("The Hub cannot be reached; connect to the network and start again.") from error
    owners = {user["name"], *(organisation["name"] for organisation in user.get("orgs", ()))}
    owner = repo_id.split("/")[0]
    if owner not in owners:
        raise SpaceError(f"The token is {user['name']}'s, who does not belong to {owner}; give --to {user['name']}/NAME.")


def _existing_files(api: HfApi, repo_id: str) -> set[str] | None:
    """Of the Space, None when there is none. Raises SpaceError for a Space that was made by other means."""
    try:
        names = set(api.list_repo_files(repo_id, repo_type="space"))
    except RepositoryNotFoundError:
        return None
    except (HfHubHTTPError, httpx2.HTTPError) as error:
        raise SpaceError(_broken(f"The Hub did not say whether {repo_id} exists", error)) from error
    is_fresh = names <= {*_HUBS_OWN, "README.md"}
    if _MARK not in names and not is_fresh:
        raise SpaceError(f"{repo_id} is a Space that was not made from here; choose another name, or empty it first.")
    return names


def _create(deployment: Deployment, api: HfApi) -> None:
    """With its hardware from the beginning: where that is refused, nothing is left behind."""
    d = deployment
    with _explained(d, f"The Space {d.repo_id} could not be created"):
        api.create_repo(
            d.repo_id,
            repo_type="space",
            private=d.is_private,
            space_sdk=d.sdk,
            space_hardware=d.hardware.name,
            space_sleep_time=d.sleep_time_s,
            space_variables=[{"key": name, "value": value} for name, value in d.variables.items()],
        )


def _set_hardware(deployment: Deployment, api: HfApi, say: Say) -> None:
    d = deployment
    with _explained(d, f"The hardware {d.hardware.name} was refused"):
        runtime = api.get_space_runtime(d.repo_id)
        if (runtime.requested_hardware or runtime.hardware) != d.hardware.name:
            api.request_space_hardware(d.repo_id, d.hardware.name, sleep_time=d.sleep_time_s)
            say(f"asked for the hardware {d.hardware.name}")
        elif d.sleep_time_s is not None and runtime.sleep_time != d.sleep_time_s:
            api.set_space_sleep_time(d.repo_id, d.sleep_time_s)
            say(f"set the sleep time to {d.sleep_time_s} s")


def _set_variables(deployment: Deployment, api: HfApi, say: Say) -> None:
    """Those that differ; each change restarts the Space. Others that somebody set there are left alone."""
    with _explained(deployment, "The variables could not be set"):
        there = {name: variable.value for name, variable in api.get_space_variables(deployment.repo_id).items()}
        for name, value in deployment.variables.items():
            if there.get(name) != value:
                api.add_space_variable(deployment.repo_id, name, value)
                say(f"set the variable {name}={value}")


def _upload(deployment: Deployment, api: HfApi, existing: set[str]) -> None:
    """All files in one commit, and those away that no longer belong. What the Hub already has is not sent again."""
    names = {file.name for file in deployment.files}
    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content) for file in deployment.files
    ]
    operations += [CommitOperationDelete(path_in_repo=name) for name in sorted(existing - names - set(_HUBS_OWN))]
    with _explained(deployment, "The upload broke off"):
        api.create_commit(deployment.repo_id, operations, commit_message="Deploy with ixc space deploy", repo_type="space")


@contextmanager
def _explained(deployment: Deployment, what: str) -> Iterator[None]:
    """Every refusal and broken connection as one sentence: the Hub's own words, and what to do."""
    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 409:
            raise SpaceError(f"The name {deployment.repo_id} is taken; choose another with --to.") from error
        if status == 402:
            raise SpaceError(
                f"{_broken(what, error)[:-1]}; add a payment method or a subscription at "
                "https://huggingface.co/settings/billing, or choose other hardware with --hardware."
            ) from error
        if status in (401, 403):
            raise SpaceError(f"{_broken(what, error)[:-1]}; use a token that may write, or other hardware.") from error
        raise SpaceError(f"{_broken(what, error)[:-1]}; start again, what is done is kept.") from error
    except (httpx2.HTTPError, OSError, RuntimeError) as error:
        raise SpaceError(f"{what}; start again, what is done is kept.") from error


def _broken(what: str, error: Exception) -> str:
    """``what`` with the Hub's own reason, as one sentence."""
    reason = getattr(error, "server_message", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{what}: {reason.strip().rstrip('.')}."
