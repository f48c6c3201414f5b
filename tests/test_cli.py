"""The command line as a user meets it: output, exit codes, and one line for what goes wrong."""

import io
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from ixc import __version__
from ixc.cli import main

ROOT = Path(__file__).parents[1]


def start(*args: object, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "ixc", *map(str, args)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=ROOT, text=True, encoding="utf-8", **(pipes | options))


def run(*args: object, **options) -> tuple[int, str, str]:
    process = start(*args, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def read_until_text(process: subprocess.Popen, timeout_s: float = 120) -> str:
    """What a running process has printed once it has printed anything."""
    ready, _, _ = select.select([process.stdout], [], [], timeout_s)
    assert ready, "nothing was printed"
    return os.read(process.stdout.fileno(), 65536).decode(errors="replace")


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "poster.png"
    Image.new("RGB", (3840, 1600), (250, 245, 235)).save(path)
    return path


@pytest.fixture
def failure(capsys):
    """Run a command that must fail in one line, and give that line."""

    def run_and_read(*args: object) -> str:
        assert main([str(arg) for arg in args]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("ixc: ")
        assert err.count("\n") == 1
        return err.removeprefix("ixc: ").rstrip()

    return run_and_read


# --- ixc ----------------------------------------------------------------------------------------------------------------


def test_version_and_help():
    assert run("--version") == (0, f"ixc {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in ("plan", "ask", "app"))


@pytest.mark.parametrize("args", [[], ["draw"], ["plan"], ["plan", "a.png", "--max-patches", "many"], ["ask", "a.png"]])
def test_wrong_usage_exits_with_2(args, capsys):
    with pytest.raises(SystemExit) as caught:
        main(args)
    assert caught.value.code == 2
    assert "usage: ixc" in capsys.readouterr().err


def test_a_wrong_environment_variable_is_named(failure, monkeypatch, image):
    monkeypatch.setenv("IXC_MAX_SIDE_PX", "wide")
    assert failure("plan", image) == "IXC_MAX_SIDE_PX must be a whole number, not 'wide'."


# --- ixc plan -----------------------------------------------------------------------------------------------------------


def test_plan_prints_an_aligned_table(image):
    code, out, err = run("plan", image)
    assert (code, err) == (0, "")
    assert out == (
        "poster.png (PNG)\n"
        "\n"
        "  original       3840 x 1600 px\n"
        "  resized        2352 x 980 px   shrunk 1.63 times; small print may be lost\n"
        "  padded         2352 x 1008 px  2.8 % padding: 14 px above, 14 px below\n"
        "  grid           7 x 3 tiles     21 of at most 25\n"
        "  views          22              the global view and every tile\n"
        "  visual tokens  3,217           156 global + 1 separator + 3,060 local\n"
        "  suggested      60              the fewest patches that do not shrink the image\n"
    )


@pytest.mark.parametrize(
    ("model", "facts", "words"),
    [
        (
            "inf-nano",
            {"layout": "dual_perspective", "input_px": 1008, "num_visual_tokens": 576},
            ("10     9 blocks and the whole image", "576    24 x 24, the two perspectives, fused"),
        ),
        (
            "vl-7b",
            {"layout": "single_view", "view_px": 490, "num_visual_tokens": 1225},
            ("490 x 490 px    its sides are not kept in proportion", "1,225  35 x 35, one for each patch"),
        ),
    ],
)
@pytest.mark.parametrize("is_option", [True, False])
def test_the_plan_is_that_of_the_chosen_model(image, capsys, monkeypatch, tmp_path, model, facts, words, is_option):
    """Also of one whose weights are not here; the drawings are of its own cells."""
    options = ["--model", model] if is_option else []
    if not is_option:
        monkeypatch.setenv("IXC_MODEL", model)
    assert main(["plan", str(image), "--json", *options]) == 0
    assert facts.items() <= json.loads(capsys.readouterr().out).items()
    svg, png = tmp_path / "plan.svg", tmp_path / "plan.png"
    assert main(["plan", str(image), "--svg", str(svg), "--png", str(png), *options]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert all(" ".join(each.split()) in shown for each in words)
    assert "<title>" in svg.read_text()
    assert png.read_bytes().startswith(b"\x89PNG")


def test_options_that_mean_nothing_to_a_model_are_refused(failure, image):
    assert failure("plan", image, "--model", "inf-nano", "--tiles") == "inf-nano cuts no tiles; leave --tiles out."
    sentence = "vl-7b looks once and cuts no tiles; leave --max-patches out."
    assert failure("plan", image, "--model", "vl-7b", "--max-patches", 9) == sentence
    assert failure("plan", image, "--model", "nothing").startswith("There is no model 'nothing'")


def test_plan_without_a_budget_takes_one_that_is_served(capsys, image, monkeypatch):
    monkeypatch.setenv("IXC_MAX_PATCHES", "9")
    assert main(["plan", str(image)]) == 0
    assert "of at most 9\n" in capsys.readouterr().out
    monkeypatch.setenv("IXC_MAX_PATCHES", "64")
    assert main(["plan", str(image)]) == 0
    assert "of at most 25\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "max_patches", "remark"),
    [
        ((336, 336), 4, "enlarged 2.00 times; no detail is gained"),
        ((672, 672), 4, "at its own size"),
        ((675, 675), 4, "at its own size"),  # 672 / 675: 1.00 times
        ((675, 675), 9, "suggested      4 "),
        ((676, 676), 4, "shrunk 1.01 times; small print may be lost"),
        ((676, 676), 4, "suggested      9 "),
        ((5000, 3), 2, "thinner than the model's method allows; kept one pixel thick"),
        ((100, 200), 2, "no padding"),
        ((100, 300), 9, "33.3 % padding: 112 px left, 112 px right"),
        ((5000, 5000), 64, "even this shrinks the image"),
    ],
)
def test_plan_remarks(capsys, tmp_path, size, max_patches, remark):
    path = tmp_path / "picture.png"
    Image.new("1", size).save(path)
    assert main(["plan", str(path), "--max-patches", str(max_patches)]) == 0
    assert remark in capsys.readouterr().out


def test_plan_lists_tiles(capsys, image):
    assert main(["plan", str(image), "--tiles"]) == 0
    lines = capsys.readouterr().out.splitlines()[-22:]
    assert lines[0].split() == ["tile", "row", "column", "x", "in", "original", "y", "in", "original", "visual", "tokens"]
    # Tile 11: one padded pixel is 3840/2352 original ones; its tokens stand in rows of 7*12 + 1 after 156 and the separator.
    assert lines[11].split() == ["11", "2", "4", "1646-2194", "526-1074", "144", "from", "1214", "to", "2160"]
    assert len({line.index("144 from") for line in lines[1:]}) == 1


def test_plan_as_json(image):
    code, out, err = run("plan", image, "--max-patches", 55, "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert (facts["grid"], facts["num_visual_tokens"]) == ({"rows": 5, "cols": 11}, 8137)
    assert len(facts["tiles"]) == 55


def test_plan_writes_drawings(capsys, image, tmp_path):
    svg, png = tmp_path / "plan.svg", tmp_path / "plan.png"
    assert main(["plan", str(image), "--svg", str(svg), "--png", str(png)]) == 0
    out, err = capsys.readouterr()
    assert "7 x 3 tiles" in out
    assert err == f"wrote {svg}\nwrote {png}\n"
    root = ElementTree.parse(svg).getroot()
    assert len(root.findall(".//{http://www.w3.org/2000/svg}rect[@data-tile]")) == 21
    assert root.find("{http://www.w3.org/2000/svg}image") is not None
    with Image.open(png) as drawn:
        assert drawn.size == (2000, 857)


def test_plan_refuses_what_it_cannot_use(failure, image, tmp_path):
    assert failure("plan", tmp_path / "none.png") == "There is no file none.png; check its name and folder."
    (tmp_path / "page.png").write_text("<html></html>")
    assert failure("plan", tmp_path / "page.png").startswith("This is a web page, not an image")
    for budget in (0, -1, 65, 10**9):
        expected = f"The max patches must be between 1 and 64, not {budget}; choose another budget or raise IXC_MAX_PATCHES."
        assert failure("plan", image, "--max-patches", budget) == expected
    message = failure("plan", image, "--svg", tmp_path / "no" / "folder.svg")
    assert message.endswith("could not be written: No such file or directory; choose another place.")


def test_the_installations_own_limit_holds(monkeypatch, failure, capsys, image):
    monkeypatch.setenv("IXC_MAX_PATCHES", "100")
    assert main(["plan", str(image), "--max-patches", "100"]) == 0
    assert "of at most 100" in capsys.readouterr().out
    assert "between 1 and 100, not 101" in failure("plan", image, "--max-patches", 101)


def test_plan_loads_no_heavy_library(image):
    script = (
        "import sys; from ixc.cli import main; code = main(['plan', sys.argv[1]]);"
        "heavy = {'torch', 'transformers', 'gradio', 'cv2'} & set(sys.modules); sys.exit(code or (3 if heavy else 0))"
    )
    assert subprocess.run([sys.executable, "-c", script, image], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_a_name_that_the_terminal_cannot_show(tmp_path):
    path = tmp_path / "海报.png"
    Image.new("RGB", (9, 9)).save(path)
    code, out, err = run("plan", path, env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (code, err) == (0, "")
    assert out.startswith("\\u6d77\\u62a5.png (PNG)")


def test_a_reader_that_goes_away_is_no_error(image):
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as stdout:
        process = start("plan", image, "--json", stdout=stdout)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_without_room_is_said_in_one_line(image):
    with Path("/dev/full").open("w") as full:
        process = start("plan", image, "--json", stdout=full)
    said = "ixc: The output could not be written: No space left on device; make room and start again.\n"
    assert (process.communicate(timeout=60)[1], process.returncode) == (said, 1)


def test_warnings_of_libraries_are_not_shown(tmp_path):
    path = tmp_path / "damaged.jpg"
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20)).save(buffer, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40)
    path.write_bytes(buffer.getvalue())
    code, _, err = run("plan", path)
    assert (code, err) == (0, "")


# --- ixc ask ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    from tests.checkpoints import write_chat_checkpoint

    return write_chat_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def test_ask_prints_the_answer_and_its_figures(checkpoint, image, capsys):
    question = ("ask", image, "What is this?", "--model", checkpoint, "--max-patches", 9, "--temperature", 0)
    code, out, err = run(*question, "--max-new-tokens", 6)
    assert code == 0
    assert out.strip()
    assert out.endswith("\n")
    figures = err.splitlines()
    assert len(figures) == 1
    # 3840x1600 at 9 is 4x2 tiles: 144 * 9 + 12 * 3 + 1 visual tokens.
    for part in ("first token ", "6 new tokens", "1,333 of them visual", "4 x 2 tiles of at most 9", "CPU"):
        assert part in figures[0]
    # A longer greedy answer starts with the shorter one; -q leaves the answer alone on the screen.
    assert main([*map(str, question), "--max-new-tokens", "12", "-q"]) == 0
    longer, silence = capsys.readouterr()
    assert silence == ""
    assert longer.startswith(out.rstrip("\n\N{REPLACEMENT CHARACTER}"))
    assert len(longer) > len(out)


def test_ask_says_how_a_model_without_tiles_sees_the_image(image, capsys):
    assert main(["ask", str(image), "What is this?", "--model", "inf-nano", "--max-new-tokens", "2"]) == 0
    assert "576 of them visual; seen as 1008 x 1008; inf-nano" in capsys.readouterr().err


def test_ask_streams_and_stops_at_ctrl_c(checkpoint, image):
    process = start(
        "ask", image, "Go on", "--model", checkpoint, "--max-new-tokens", 4096, "--repetition-penalty", 3, "--seed", 1
    )
    assert read_until_text(process)
    assert process.poll() is None, "the answer was held back until its end"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out.endswith("\n")
    assert "Traceback" not in err


def test_ask_ends_quietly_when_its_reader_goes_away(checkpoint, image):
    process = start(
        "ask", image, "Go on", "--model", checkpoint, "--max-new-tokens", 4096, "--repetition-penalty", 3, "--seed", 1
    )
    read_until_text(process)
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=120)[1] == ""
    assert process.returncode == 141


def test_ask_finds_mistakes_before_it_loads_a_model(failure, monkeypatch, image, tmp_path):
    monkeypatch.setitem(sys.modules, "ixc.chat.loading", None)  # importing it now fails
    assert failure("ask", image, " \n") == "Type a question after the image's name."
    assert failure("ask", tmp_path / "none.png", "What?").startswith("There is no file none.png")
    assert "between 1 and 64, not 0" in failure("ask", image, "What?", "--max-patches", 0)
    for option, value, name in (
        ("--temperature", -1, "temperature"),
        ("--temperature", "nan", "temperature"),
        ("--top-p", 0, "top_p"),
        ("--beams", 9, "number of beams (num_beams)"),
        ("--max-new-tokens", 0, "answer length (max_new_tokens)"),
        ("--repetition-penalty", 9, "repetition_penalty"),
    ):
        assert failure("ask", image, "What?", option, value).startswith(f"The {name} must be")


def test_ask_names_a_model_that_is_not_there(failure, image):
    assert "no-such-model" in failure("ask", image, "What?", "--model", "no-such-model")
    assert failure("ask", image, "What?", "--model", "a" * 300).endswith("File name too long; give another folder.")
    assert "cannot be looked for" in failure("ask", image, "What?", "--model", "~no-such-user/model")


# --- ixc app ------------------------------------------------------------------------------------------------------------


def test_app_hands_its_options_to_the_server(monkeypatch):
    import types

    served = []
    monkeypatch.setitem(sys.modules, "ixc.hosting.server", types.SimpleNamespace(serve=lambda *given: served.append(given)))
    monkeypatch.setenv("IXC_HOST", "0.0.0.0")
    monkeypatch.setenv("IXC_PORT", "1234")
    assert main(["app", "--port", "0", "--model", "some-folder", "--max-waiting", "3"]) == 0
    ((settings, options),) = served
    assert (settings.host, settings.port, settings.model, settings.max_waiting) == ("0.0.0.0", 0, "some-folder", 3)
    assert (options.share, options.access.is_guarded, options.max_users) == (False, False, 0)


@pytest.mark.parametrize(
    ("option", "value"), [("--port", 99999), ("--port", -1), ("--max-waiting", 0), ("--max-users", -1), ("--grace", -1.5)]
)
def test_app_refuses_values_out_of_range_and_names_their_option(failure, option, value):
    line = failure("app", option, value)
    assert f"({option} or IXC_" in line
    assert " must be " in line
    assert line.endswith(f"not {value}.")
