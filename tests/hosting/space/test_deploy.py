"""Deploying this very project with the Hub's own client, against a stand-in for the Hub."""

from __future__ import annotations

import re
import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from ixc.cli import main
from ixc.errors import SettingsError
from ixc.hosting.space.deployment import DeployOptions, describe, plan_deployment
from ixc.hosting.space.hub import deploy
from ixc.hosting.space.spacefile import PROJECT, SpaceError, read_spacefile
from ixc.models.presets import PRESETS
from tests.hosting.space.hub import TOKEN, SpacesHub

SPACE = "alice/demo"
WEIGHTS = "assets/models/ixc-nano/model.safetensors"


@pytest.fixture(scope="module")
def spacefile():
    return read_spacefile()


@pytest.fixture(scope="module")
def plan(spacefile):
    return plan_deployment(PROJECT, spacefile, DeployOptions(SPACE))


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks the older protocol for large files
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ixc.hosting.space.hub.get_token", lambda: None)
    stand_in = SpacesHub()
    yield stand_in
    stand_in.close()


@pytest.fixture
def api(hub):
    return HfApi(endpoint=hub.endpoint, token=TOKEN)


def deploy_quietly(plan, api, **options):
    return deploy(plan, api, say=lambda step: None, **options)


def refused(plan, api, **options):
    with pytest.raises(SpaceError) as error:
        deploy_quietly(plan, api, **options)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert TOKEN not in sentence
    return sentence


def test_a_new_space_is_what_was_said(plan, hub, api):
    steps = []
    assert deploy(plan, api, steps.append) == f"{hub.endpoint}/spaces/{SPACE}"
    (space,) = hub.spaces.values()
    said = describe(plan, "address")
    listed = {name: int(size.replace(",", "")) for size, name in re.findall(r"^ +([\d,]+)  (\S.*)$", said, re.MULTILINE)}
    assert {name: len(data) for name, data in space.files.items()} == listed
    assert {f"  {name}={value}" for name, value in space.variables.items()} <= set(said.splitlines())
    assert space.variables["IXC_MODEL"] == "ixc-nano"
    assert space.hardware == "cpu-basic"
    assert space.sleep_time is None, "free hardware has none of one's own"
    assert f"Files: {len(listed)}, " in said
    assert space.num_commits == 1, "whoever looks sees all of it or nothing"
    assert space.files["app.py"] == (PROJECT / "app.py").read_bytes()
    assert space.files[WEIGHTS] == (PROJECT / WEIGHTS).read_bytes()
    assert len(steps) == 2


def test_only_what_belongs_is_uploaded(plan):
    names = {file.name for file in plan.files}
    assert {"app.py", "README.md", "requirements.txt", "Spacefile", "ixc/ui/app.py", "assets/ui/strings.json", WEIGHTS} <= names
    for folder in ("tests/", ".venv/", "runs/", ".git", "ixc/training/", "eval-results/", "deploy/"):
        assert not [name for name in names if name.startswith(folder)]
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".env"))]


def test_paid_hardware_gets_its_model_its_sleep_and_its_readme(spacefile, hub, api):
    plan = plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, hardware="l4x1", is_private=True))
    deploy_quietly(plan, api)
    space = hub.spaces[SPACE]
    assert (space.hardware, space.sleep_time, space.visibility) == ("l4x1", 3600, "private")
    assert space.variables["IXC_MODEL"] == "4khd-7b"
    readme = space.files["README.md"].decode()
    assert "suggested_hardware: l4x1\n" in readme
    assert "preload_from_hub:\n- internlm/internlm-xcomposer2-4khd-7b\n" in readme
    assert readme.partition("\n# ")[2] == (PROJECT / "README.md").read_text().partition("\n# ")[2]


def test_a_second_time_sends_only_what_changed(plan, hub, api):
    deploy_quietly(plan, api)
    space = hub.spaces[SPACE]
    space.files["ixc/gone.py"] = b"an older version's"
    space.files[".gitattributes"] = b"the Hub's own"
    space.files["app.py"] = b"# changed by hand\n"
    space.variables |= {"IXC_MAX_WAITING": "1", "MINE": "kept"}
    space.hardware = "cpu-upgrade"
    hub.requests.clear()
    deploy_quietly(plan, api)
    assert space.files["app.py"] == (PROJECT / "app.py").read_bytes()
    assert "ixc/gone.py" not in space.files
    assert ".gitattributes" in space.files
    assert hub.asked("POST", "/hardware") == [{"flavor": "cpu-basic"}]
    assert hub.asked("POST", "/variables") == [{"key": "IXC_MAX_WAITING", "value": plan.variables["IXC_MAX_WAITING"]}]
    assert space.variables["MINE"] == "kept"
    assert not [path for method, path, _ in hub.requests if method == "PUT"], "no large file is sent twice"
    assert not hub.asked("POST", "/repos/create")


def test_an_upload_that_broke_off_goes_on(plan, hub, api):
    hub.hang_up_on = "/commit/"
    assert "start again" in refused(plan, api)
    assert hub.spaces[SPACE].num_commits == 0, "nobody sees half a Space"
    num_stored = len(hub.stored)
    assert num_stored >= 2
    hub.hang_up_on = None
    hub.requests.clear()
    deploy_quietly(plan, api)
    assert hub.spaces[SPACE].files.keys() == {file.name for file in plan.files}
    assert len(hub.stored) == num_stored
    assert not [path for method, path, _ in hub.requests if method == "PUT"]


def test_a_large_file_that_broke_off_is_the_only_one_sent_again(plan, hub, api):
    from hashlib import sha256

    oid = sha256((PROJECT / WEIGHTS).read_bytes()).hexdigest()
    hub.hang_up_on = oid
    assert "start again" in refused(plan, api)
    assert hub.stored
    assert oid not in hub.stored
    hub.hang_up_on = None
    hub.requests.clear()
    deploy_quietly(plan, api)
    assert [path for method, path, _ in hub.requests if method == "PUT"] == [f"/lfs/{oid}"]


def test_without_a_token_nothing_is_asked(plan, hub):
    assert "hf auth login" in refused(plan, HfApi(endpoint=hub.endpoint))
    assert not hub.requests


def test_a_token_that_is_not_accepted(plan, hub):
    sentence = refused(plan, HfApi(endpoint=hub.endpoint, token="hf_expired"))
    assert "does not accept the token" in sentence
    assert "hf_expired" not in sentence
    assert not hub.spaces


def test_somebody_else_s_name(plan, hub, api):
    assert "alice/NAME" in refused(replace(plan, repo_id="bob/demo"), api)
    assert not hub.spaces
    deploy_quietly(replace(plan, repo_id="readers/demo"), api)
    assert list(hub.spaces) == ["readers/demo"]


def test_a_taken_name(plan, hub, api):
    hub.refuse["/repos/create"] = (409, "You already created this space repo")
    assert f"The name {SPACE} is taken" in refused(plan, api)


def test_a_space_made_by_other_means_is_left_alone(plan, hub, api):
    deploy_quietly(plan, api)
    space = hub.spaces[SPACE]
    space.files = {"app.py": b"print('my other work')\n", "README.md": b""}
    assert "choose another name" in refused(plan, api)
    assert space.files["app.py"] == b"print('my other work')\n"


def test_refused_hardware_leaves_nothing_behind(plan, hub, api):
    hub.refuse["/repos/create"] = (402, "A payment method is required")
    sentence = refused(plan, api)
    assert "A payment method is required" in sentence
    assert "settings/billing" in sentence
    assert not hub.spaces


def test_refused_hardware_leaves_an_old_space_as_it_was(spacefile, plan, hub, api):
    deploy_quietly(plan, api)
    before = dict(hub.spaces[SPACE].variables)
    hub.refuse["/hardware"] = (402, "A payment method is required")
    larger = plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, hardware="l4x1"))
    assert "A payment method is required" in refused(larger, api)
    assert hub.spaces[SPACE].variables == before
    assert hub.spaces[SPACE].num_commits == 1


def test_a_hub_that_cannot_be_reached(plan, hub):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        api = HfApi(endpoint=f"http://127.0.0.1:{nobody.getsockname()[1]}", token=TOKEN)
        assert "cannot be reached" in refused(plan, api)


def test_a_client_that_is_told_to_stay_offline(plan, hub, api, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refused(plan, api)


def test_secrets_come_from_the_environment_and_only_when_asked(spacefile, hub, api):
    asked = plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, secrets=("IXC_AUTH",)))
    assert "IXC_AUTH" in refused(asked, api, env={})
    assert not hub.spaces
    deploy_quietly(asked, api, env={"IXC_AUTH": "alice:correct horse", "HF_TOKEN": "mine"})
    assert hub.spaces[SPACE].secrets == {"IXC_AUTH": "alice:correct horse"}
    assert "correct horse" not in describe(asked, "address")


def test_a_space_can_ask_people_for_passwords_and_programs_for_keys(spacefile, hub, api):
    env = {"IXC_AUTH": "alice:correct horse", "IXC_API_KEY": "sixteen-signs-or-more"}
    deploy_quietly(plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, secrets=tuple(env))), api, env=env)
    assert hub.spaces[SPACE].secrets == env


def test_a_space_that_would_not_run_is_not_made(spacefile, hub, api):
    """17 GB of weights on a 16 GB card."""
    plan = plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, hardware="t4-small", model="4khd-7b"))
    (failure,) = plan.failures
    assert failure.name == "memory"
    assert "memory" in refused(plan, api)
    assert "NO  memory" in describe(plan, "address")
    assert not hub.requests


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"to": "demo"}, "USER/NAME"),
        ({"to": "alice/../x"}, "USER/NAME"),
        ({"to": SPACE, "hardware": "abacus"}, "no hardware 'abacus'"),
        ({"to": SPACE, "hardware": "t4-small"}, "names no model for t4-small"),
        ({"to": SPACE, "secrets": ("PASSWORD",)}, "no secret PASSWORD"),
    ],
)
def test_what_cannot_be_planned_is_said(spacefile, options, says):
    with pytest.raises((SpaceError, SettingsError), match=re.escape(says)):
        plan_deployment(PROJECT, spacefile, DeployOptions(**options))


def test_a_folder_of_this_machine_is_no_model_for_a_space(spacefile, tmp_path):
    with pytest.raises(SpaceError, match="put it on the Hub"):
        plan_deployment(PROJECT, spacefile, DeployOptions(SPACE, model=str(tmp_path)))


@pytest.fixture
def other_project(tmp_path):
    """Another checkout than the one that runs, as far as a Space's files go; with something that is nobody else's business."""
    project = tmp_path / "checkout"
    for name in ("app.py", "Spacefile", "README.md", "LICENSE", "requirements.txt", "assets/models", "ixc"):
        source, target = PROJECT / name, project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    (project / "ixc" / ".env").write_text("HF_TOKEN=secret")
    (project / "assets" / ".cache").mkdir()
    (project / "assets" / ".cache" / "users.txt").write_text("alice:secret")
    return project


def test_another_checkout_is_deployed_with_its_own_model(other_project, monkeypatch):
    monkeypatch.chdir(other_project)
    for project in (other_project, Path()):
        plan = plan_deployment(project, read_spacefile(project), DeployOptions(SPACE))
        assert plan.variables["IXC_MODEL"] == "ixc-nano"
        names = {file.name for file in plan.files}
        assert WEIGHTS in names
        assert not [name for name in names if "/." in name]
    shutil.rmtree(other_project / "assets" / "models" / "ixc-nano")
    with pytest.raises(SpaceError, match="cannot see"):
        plan_deployment(other_project, read_spacefile(other_project), DeployOptions(SPACE))


def test_a_model_of_one_s_own_goes_along_where_it_is_uploaded(other_project):
    """By the name it has there; a folder that stays at home is none."""
    for name in ("assets/models/mine", "runs/mine"):
        shutil.copytree(other_project / "assets" / "models" / "ixc-nano", other_project / name)
    spacefile = read_spacefile(other_project)
    plan = plan_deployment(other_project, spacefile, DeployOptions(SPACE, model=str(other_project / "assets/models/mine")))
    assert plan.variables["IXC_MODEL"] == "assets/models/mine"
    assert not plan.failures
    with pytest.raises(SpaceError, match="put it on the Hub"):
        plan_deployment(other_project, spacefile, DeployOptions(SPACE, model=str(other_project / "runs/mine")))


def test_a_dry_run_needs_no_network_and_no_token(monkeypatch, capsys, plan):
    def no_network(*_: object) -> None:
        raise AssertionError("a dry run must not connect")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", no_network)
    assert main(["space", "deploy", "--to", SPACE, "--dry-run"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == describe(plan, f"{HfApi().endpoint}/spaces/{SPACE}")


def test_a_dry_run_tells_of_a_secret_that_is_missing(monkeypatch, capsys):
    monkeypatch.delenv("IXC_AUTH", raising=False)
    assert main(["space", "deploy", "--to", SPACE, "--secret", "IXC_AUTH", "--dry-run"]) == 1
    assert "IXC_AUTH is not in your environment" in capsys.readouterr().err


def test_a_dry_run_of_a_space_that_would_not_run_fails(capsys):
    assert main(["space", "deploy", "--to", SPACE, "--hardware", "t4-small", "--model", "4khd-7b", "--dry-run"]) == 1
    printed = capsys.readouterr()
    assert "NO  memory" in printed.out
    assert "marked NO" in printed.err


@pytest.mark.parametrize("model", PRESETS)
def test_every_known_model_can_be_planned(model, capsys):
    """The large ones on a card of 24 GB; what each takes is counted from its own architecture."""
    hardware = "l4x1" if isinstance(PRESETS[model].source, str) else "cpu-basic"
    assert main(["space", "deploy", "--to", SPACE, "--model", model, "--hardware", hardware, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^  ok  memory: {re.escape(model)} needs [\d.]+ GB", printed, re.MULTILINE)
    assert f"  IXC_MODEL={model}\n" in printed
