"""The container and the service start what there is, with options that exist, and nginx lets through what the app takes."""

from __future__ import annotations

import argparse
import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from ixc.application.model_choice import offered_models
from ixc.cli import build_parser
from ixc.hosting.access import Access
from ixc.hosting.body_limits import BodyRules
from ixc.hosting.options import ServerOptions
from ixc.hosting.server import settings_for_visitors
from ixc.hosting.space.hardware import Kind
from ixc.settings import ImageLimits, Settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
NGINX = (ROOT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
WITH_MCP = re.sub(r"^(\s*)#(?=location /mcp|    \w|}$)", r"\1", NGINX, flags=re.MULTILINE)
"""For an app without login and keys, as its comment says."""
IGNORED = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()


def instructions(name):
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]


def test_the_container_copies_what_is_there_and_nothing_else_is_sent():
    copied = {name for line in instructions("COPY") if "--from" not in line for name in line.split()[:-1]}
    assert {"app.py", "ixc", "assets", "requirements.txt"} <= copied
    assert all((ROOT / name).exists() for name in copied)
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == copied
    assert "*" in IGNORED


def test_the_container_runs_a_command_that_exists_on_the_python_that_is_tested():
    (entry,), (command,) = instructions("ENTRYPOINT"), instructions("CMD")
    assert yaml.safe_load(entry) == ["python", "-m", "ixc"]
    assert yaml.safe_load(command) == ["app"]
    build_parser().parse_args(yaml.safe_load(command))
    spacefile = yaml.safe_load((ROOT / "Spacefile").read_text(encoding="utf-8"))
    assert f"ARG PYTHON_VERSION={spacefile['front_matter']['python_version']}\n" in DOCKERFILE
    stages = [re.findall(r"^USER (\w+)$", stage, re.MULTILINE) for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)]
    assert {users[-1] for users in stages if users} == {"ixc"}, "not root"
    assert {Kind.CPU.value, "cuda"} <= set(re.findall(r" AS (\w+)$", DOCKERFILE, re.MULTILINE))


def test_the_container_is_reached_from_outside_whatever_command_is_given():
    """``docker run ixc:cpu app --backend ...`` takes the place of CMD: the address has to be in the environment."""
    env = dict(word.split("=", 1) for line in instructions("ENV") for word in line.split())
    settings = Settings.from_env(env)
    assert (settings.host, settings.port) == ("0.0.0.0", 7860)
    assert [model.key for model in offered_models(settings)] == ["ixc-nano"]
    assert instructions("EXPOSE") == ["7860"]


def test_the_container_for_gpus_can_compile_what_decoding_needs():
    """Triton builds its launchers with the machine's C compiler; without one decoding falls back to the slow way."""
    stage = re.search(r"^FROM app AS cuda\n(.*?)(?=^FROM)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]
    installed = re.search(r"apt-get install (.*?)&&", stage)[1].split()
    assert {"gcc", "libc6-dev"} <= set(installed)


def directives(name: str, text: str = NGINX) -> list[str]:
    return re.findall(rf"^\s*{name}\s+(.*);$", text, re.MULTILINE)


def test_nginx_lets_through_what_the_app_takes_as_long_as_it_takes():
    (room,), (patience,) = directives("client_max_body_size"), directives("proxy_read_timeout")
    assert int(room.removesuffix("m")) * 1024**2 >= BodyRules.of(ImageLimits()).max_image_bytes
    assert int(patience.removesuffix("s")) >= 300
    assert directives("proxy_buffering") == ["off"], "answers stream"
    sent = dict(line.split(maxsplit=1) for line in directives("proxy_set_header"))
    assert (sent["Host"], sent["X-Forwarded-Proto"]) == ("$http_host", "$scheme"), "its own name, the port included"
    assert sent["X-Forwarded-For"] == "$proxy_add_x_forwarded_for"
    assert NGINX.count("{") == NGINX.count("}")


def test_nginx_holds_many_tabs_and_keeps_figures_to_those_who_run_the_app():
    """Each open page holds a connection; browsers make six to a name over HTTP/1.1, and any number of streams over HTTP/2."""
    secure = [line for line in directives("listen") if "443" in line]
    assert len(secure) == 2
    assert all("http2" in line.split() for line in secure)
    (private,) = re.findall(r"location ~ (\S+) {\s*return 404;\s*}", NGINX)
    assert all(re.search(private, path) for path in ("/metrics", "/metrics/", "/status"))
    assert not any(re.search(private, path) for path in ("/", "/v1/models", "/gradio_api/queue/join", "/health", "/statuses"))


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_reads_the_file(tmp_path):
    names = (str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-out",
        names[0],
        "-keyout",
        names[1],
    ]
    subprocess.run(command, check=True, capture_output=True)
    text = WITH_MCP
    for directive, path in zip(("ssl_certificate", "ssl_certificate_key"), names, strict=True):
        text = re.sub(rf"{directive} \S+;", f"{directive} {path};", text)
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n")
    told = subprocess.run(["nginx", "-t", "-c", str(whole)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


def test_nginx_sends_mcp_calls_on_as_everything_else_but_for_the_name_that_such_an_app_takes():
    """What one location sets, another does not take over."""
    root, mcp = (
        re.search(rf"^    location {path} {{\n(.*?)^    }}", WITH_MCP, re.MULTILINE | re.DOTALL)[1] for path in ("/", "/mcp")
    )
    for name in ("proxy_pass", "proxy_http_version", "proxy_buffering", "proxy_read_timeout"):
        assert directives(name, mcp) == directives(name, root) != []
    address = directives("proxy_pass", mcp)[0].removeprefix("http://")
    sent = [f"Host {address}" if header.startswith("Host ") else header for header in directives("proxy_set_header", root)]
    assert directives("proxy_set_header", mcp) == sent
    assert WITH_MCP.count("{") == WITH_MCP.count("}")


def service() -> configparser.SectionProxy:
    unit = configparser.RawConfigParser(strict=False, comment_prefixes=("#",))
    unit.optionxform = str
    unit.read(ROOT / "deploy" / "ixc.service")
    return unit["Service"]


def service_args() -> argparse.Namespace:
    program, *words = shlex.split(service()["ExecStart"])
    assert program.endswith("/.venv/bin/ixc"), "where make install puts it"
    return build_parser().parse_args(words)


def test_nginx_finds_the_service_where_it_listens():
    args = service_args()
    assert directives("proxy_pass") == [f"http://{args.host}:{args.port}"]


def test_the_service_s_visitors_are_offered_its_model_only():
    """It listens on loopback behind a server with TLS, as one that nobody else reaches would."""
    args = service_args()
    assert args.auth is not None
    options = ServerOptions(Access({"alice": "correct horse"}))
    offered = offered_models(settings_for_visitors(Settings(host=args.host), options))
    assert [model.key for model in offered] == ["ixc-nano"]


def test_the_service_runs_a_command_that_exists():
    args = service_args()
    assert args.host == "127.0.0.1"
    assert args.auth == Path("%d/users")
    assert args.grace + 10 < float(service()["TimeoutStopSec"]), "killed before its answers have been ended"


def test_the_service_may_have_many_connections():
    assert int(service()["LimitNOFILE"]) >= 65_536
