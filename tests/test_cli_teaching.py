"""The command line as people meet it: help with examples, completion, exit codes, JSON, and no terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from functools import partial

import pytest

from isofield.cli import main, options, parser
from isofield.cli.teaching import EXAMPLES, EXIT_CODES, Teaching, commands_below, examples_of

PHANTOM = '{"run": {"name": "small"}, "source": {"path": "phantom:tissue", "simulate": {"factor": 8}}}'
COMMANDS = dict(commands_below(parser()))
EXAMPLE_LINES = [line for name, command in COMMANDS.items() for line in examples_of(name, command)]


def isofield(*arguments: str, **more) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "isofield.cli", *arguments], stderr=subprocess.PIPE, text=True, **more)


def words_of(line: str) -> list[str]:
    """The words of a command line up to a pipe or a redirection."""
    words = shlex.split(line)
    return words[: next((i for i, word in enumerate(words) if word in ("|", ">")), len(words))]


def test_every_command_has_examples():
    bare = [name for name, command in COMMANDS.items() if not examples_of(name, command)]
    assert bare == [], "add examples to cli/teaching.py, or as the command's epilog"
    assert set(EXAMPLES) <= set(COMMANDS)


@pytest.mark.parametrize("line", [line for line in EXAMPLE_LINES if line.startswith("isofield ") and "--help" not in line])
def test_examples_are_commands(line):
    parser().parse_args(words_of(line)[1:])


@pytest.mark.parametrize("line", ["isofield status", "isofield init a.tif --chanel 0", "isofield fit a.yaml --job three"])
def test_a_wrong_example_would_be_noticed(line, capsys):
    with pytest.raises(SystemExit) as end:
        parser().parse_args(words_of(line)[1:])
    assert end.value.code == options.EXIT_INPUT


@pytest.mark.parametrize("name", COMMANDS)
def test_help_describes_and_shows(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([*name.split(), "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert "Examples:\n  isofield " in text
    description = text.partition("\n\n")[2].partition("\n\n")[0]
    assert len(description) > 15
    assert description.rstrip().endswith(".")


def test_the_first_help_goes_from_a_volume_to_its_result(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    places = [text.index(f"  {step} ") for step in ("isofield init", "isofield plan", "snakemake --configfile", "isofield view")]
    assert places == sorted(places)
    assert EXIT_CODES in text


def test_paragraphs_are_wrapped_and_examples_are_not():
    formatter = Teaching("x", width=40)
    text = formatter._fill_text("word " * 20 + "\n\nExamples:\n  " + "a" * 60, 38, "")
    assert max(len(line) for line in text.splitlines()[:-1]) <= 38
    assert text.endswith("\n  " + "a" * 60)


# Completion


def completed(*words: str) -> list[str]:
    """What bash offers after `words`, with the script that `isofield completion bash` prints."""
    script = subprocess.run(
        [sys.executable, "-m", "isofield.cli", "completion", "bash"], capture_output=True, text=True, check=True
    )
    line = " ".join(map(shlex.quote, words))
    ask = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}; _shtab_isofield; "
    done = subprocess.run(
        ["bash", "-c", f'{script.stdout}\n{ask} printf "%s\\n" "${{COMPREPLY[@]}}"'], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_bash_completes_commands_and_options():
    assert completed("isofield", "sta") == ["status"]
    assert set(completed("isofield", "benchmark", "")) == {"quality", "sections", "speed"}
    assert completed("isofield", "estimate", "--gp") == ["--gpus"]
    assert completed("isofield", "nonsense") == []


# Exit codes


def test_exit_codes_are_the_documented_ones(tmp_path):
    assert {int(line.split()[0]) for line in EXIT_CODES.splitlines()[1:]} == {
        0,
        options.EXIT_FAILED,
        options.EXIT_INPUT,
        options.EXIT_INTERRUPTED,
    }
    for arguments, expected in (
        (["estimate", PHANTOM], 0),
        (["estimate", "no-such-file.yaml"], 2),
        (["no-such-command"], 2),
        (["status", str(tmp_path)], 2),
    ):
        process = isofield(*arguments, stdout=subprocess.DEVNULL)
        said = process.communicate(timeout=120)[1]
        assert (process.returncode, "Traceback" in said) == (expected, False), said


def test_an_interrupted_command_says_so_and_exits_with_130():
    """It is stopped while it waits for somebody to read what it prints."""
    # Tests that a shell started in the background ignore Ctrl-C, and so would what they start.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = isofield("config", "--schema", stdout=subprocess.PIPE, preexec_fn=heard)
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    waiting = 0
    begun = time.monotonic()
    while waiting < 4096:
        waiting = struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4))[0]
        assert process.poll() is None
        assert time.monotonic() - begun < 120
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert (process.returncode, said) == (130, "isofield config: interrupted\n")


def test_whoever_stops_reading_gets_no_complaint():
    process = isofield("config", "--schema", stdout=subprocess.PIPE)
    process.stdout.close()
    said = process.stderr.read()
    assert (process.wait(60), said) == (options.EXIT_FAILED, "")


# JSON and terminals


def test_what_prints_tables_prints_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["plan", PHANTOM, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ratio"] == "8"
    assert main(["status", "results/small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] > 0
    assert main(["plan", PHANTOM]) == 0
    assert capsys.readouterr().out == ""


def test_commands_that_end_in_numbers_take_json():
    for name in ("init", "plan", "measure", "preview", "estimate", "status", "benchmark quality", "benchmark speed"):
        assert "--json" in {option for action in COMMANDS[name]._actions for option in action.option_strings}, name


COUNT = "from isofield.progress import Progress; p = Progress('x', 2, 'steps'); p.update(1); p.update(2)"


def on_a_terminal(**environment: str) -> str:
    """What a counting process writes to a terminal."""
    reader, writer = pty.openpty()
    subprocess.run([sys.executable, "-c", COUNT], stderr=writer, env={**os.environ, **environment}, check=True)
    os.close(writer)
    text = b""
    try:
        while part := os.read(reader, 4096):
            text += part
    except OSError:
        pass
    os.close(reader)
    return text.decode()


def test_a_terminal_is_redrawn_and_what_is_none_gets_plain_lines():
    assert "\x1b" in on_a_terminal(TERM="xterm")
    assert "\x1b" not in on_a_terminal(TERM="dumb")
    logged = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True).stderr
    assert logged.startswith("x: 2/2 steps")
    assert logged.count("\n") == 1
    assert "\r" not in logged


def test_nothing_is_coloured_even_where_colour_is_forced():
    process = isofield("estimate", PHANTOM, stdout=subprocess.PIPE, env={**os.environ, "FORCE_COLOR": "1"})
    printed = "".join(process.communicate(timeout=120))
    assert "wall time" in printed
    assert "\x1b" not in printed
