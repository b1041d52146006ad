"""Text that a stranger wrote reaches a terminal, a pipe and a log without control characters; our own progress still moves."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.trainers.search.campaigns import parsed
from unbraid.cluster.commands.data import one_line
from unbraid.cluster.commands.stopping import StopSignals
from unbraid.datasets.store.lease import Lease
from unbraid.datasets.untrusted.terminal import PrintableStream, protect_terminal, rewrite_line
from unbraid.trainers.config.overrides import resolve
from unbraid.trainers.runs.progress import Progress, aligned
from unbraid.trainers.search.report.table import LiveTable

ROOT = Path(__file__).parents[2]
ATTACKS = {
    "title": "\x1b]0;owned\x07", "clipboard": "\x1b]52;c;cm0gLXJmIH4K\x07", "erase": "\x1b[2J\x1b[1;1H", "8-bit": "\x9b2J",
    "overwrite": "failed\rfinished", "backspace": "evil\b\b\b\bgood", "direction": "\u202etxt.exe", "delete": "a\x7fb",
    "colour": "\x1b[8mhidden\x1b[0m", "line": "x\u2028y", "bell": "\a",
}  # fmt: skip
FORBIDDEN = [chr(c) for c in (*range(9), *range(11, 32), *range(127, 160), 0x202E, 0x2028)]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def unbraid(*words: str, **variables: str) -> tuple[int, str]:
    """Run a command in a pipe, as a user does; its exit status, and all that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "unbraid.cluster.cli", *words],
        cwd=ROOT, env=os.environ | {"COLUMNS": "500"} | variables, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode()


def printed(text: str) -> str:
    below = io.StringIO()
    PrintableStream(below).write(text)
    return below.getvalue()


def test_names_and_licences_of_a_set_are_printed_without_control_characters(digits_folder: Path, tmp_path: Path) -> None:
    """In a pipe: click itself removes colours there, and nothing else."""
    content = json.loads((digits_folder / "index.json").read_text())
    content |= {"licence": "".join(ATTACKS.values()), "source": "".join(ATTACKS.values()), "classes": list(ATTACKS.values())}
    (tmp_path / "index.json").write_text(json.dumps(content))
    _, output = unbraid("data", "inspect", str(tmp_path), "--no-check")
    assert "digits" in output
    assert [repr(character) for character in FORBIDDEN if character in output] == []


def test_messages_of_errors_are_printed_without_control_characters(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump({"system": "infogan", "\x1b]0;owned\x07": 1}))
    status, output = unbraid("train", "--config", str(tmp_path / "x.yaml"))
    assert status == 1
    assert "\\x1b]0;owned\\x07" in output
    assert "\x1b" not in output


def test_tracebacks_are_printed_without_control_characters() -> None:
    script = (
        "from unbraid.datasets.untrusted.terminal import protect_terminal\nprotect_terminal()\n"
        "raise RuntimeError('\\x1b]0;owned\\x07 s3://me:secret@host')"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False)
    assert b"RuntimeError: \\x1b]0;owned\\x07 s3://***@host" in done.stderr


def test_letters_that_the_terminal_does_not_know_end_no_command() -> None:
    status, output = unbraid("presets", PYTHONIOENCODING="ascii")
    assert status == 0, output


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_a_terminal_would_act_on_is_shown(attack: str) -> None:
    assert not set(FORBIDDEN) & set(printed(attack))


@given(st.text())
def test_no_text_passes_with_control_characters(text: str) -> None:
    shown = printed(text)
    assert not [character for character in FORBIDDEN if character in shown]
    shown.encode()
    assert printed(shown) == shown


def test_text_of_all_languages_and_lines_passes_unchanged() -> None:
    text = "état\tΔ → 数据 🙂\n"
    assert printed(text) == text
    assert printed("a\r\nb\n") == "a\nb\n"


def test_bytes_cannot_pass_by() -> None:
    stream = PrintableStream(cast(TextIO, io.TextIOWrapper(io.BytesIO())))
    assert not hasattr(stream, "buffer")
    with pytest.raises(TypeError):
        stream.write(b"\x1b")  # type: ignore[arg-type]


def test_protecting_twice_is_protecting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    protect_terminal()
    once = sys.stdout
    protect_terminal()
    assert sys.stdout is once
    assert sys.stdout.isatty()


def test_a_cell_of_a_table_stays_in_its_row() -> None:
    table = aligned([("RUN", "STATUS"), ("mine\nother  finished", "run\x1b[2Kning")])
    assert [line.split("  ")[-1] for line in table.splitlines()] == ["STATUS", "run\\x1b[2Kning"]
    assert table.splitlines()[1].startswith("mine other finished  ")


def test_the_progress_line_still_rewrites_itself_on_a_terminal() -> None:
    screen = Terminal()
    progress = Progress(resolve("infogan-mnist", ["run.updates=2"]), cast(TextIO, PrintableStream(screen)))
    line = {"speed/updates_per_second": 1.0, "speed/images_per_second": 1.0, "data/wait_percent": 0.0, "loss/\x1b[31m": 1.0}
    progress({"step": 1} | line)
    progress({"step": 2} | line)
    assert screen.getvalue().count("\r\x1b[2K") == 2
    assert screen.getvalue().endswith("\n")
    assert "\x1b[31m" not in screen.getvalue()


def test_reports_of_packing_still_rewrite_their_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    protect_terminal()
    one_line()("10 of 20\x1b]0;owned\x07")
    assert screen.getvalue() == "\r\x1b[2K10 of 20\\x1b]0;owned\\x07"


def test_the_table_of_a_campaign_still_moves_up_on_a_terminal() -> None:
    screen = Terminal()
    campaign = parsed()
    table = LiveTable(lambda: 1.0, cast(TextIO, PrintableStream(screen)))
    table(campaign, [], last=True)
    height = screen.getvalue().count("\n")
    table(campaign, [], last=True)
    assert f"\x1b[{height}F\x1b[J" in screen.getvalue()


def test_on_a_real_terminal_the_command_line_asks_and_answers() -> None:
    """A prompt, its answer and an error go through a pseudo-terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "unbraid.cluster.cli", "runs", "show", "\x1b[2Jnothing", "--storage", "/nonexistent"],
        cwd=ROOT, stdin=follower, stdout=follower, stderr=follower,
    ):  # fmt: skip
        os.close(follower)
        output = b""
        try:
            while part := os.read(leader, 4096):
                output += part
        except OSError:  # the other end is closed
            pass
    os.close(leader)
    assert b"Error: " in output
    assert b"\x1b" not in output


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_printing_and_not_the_run(digits_folder: Path, tmp_path: Path) -> None:
    """As ``unbraid train … | head -1``, and as a terminal that is closed."""
    words = ["train", "infogan-mnist-small", "--debug", f"data.url={digits_folder}", f"run.storage={tmp_path}", "run.name=mine",
             "run.updates=3", "run.log_every=1", "data.batch=32", "run.cpus=1"]  # fmt: skip
    command = [sys.executable, "-m", "unbraid.cluster.cli", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        first = running.stdout.readline()
        running.stdout.close()
        errors = running.stderr.read().decode()
        assert running.wait(120) == 0, errors
    assert b"run mine" in first
    assert "Traceback" not in errors and "BrokenPipe" not in errors
    assert json.loads((tmp_path / "mine/run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_the_printing_and_not_the_run(digits_folder: Path, tmp_path: Path) -> None:
    words = ["train", "infogan-mnist-small", "--debug", f"data.url={digits_folder}", f"run.storage={tmp_path}", "run.name=mine",
             "run.updates=3", "run.log_every=1", "data.batch=32", "run.cpus=1"]  # fmt: skip
    child, terminal = pty.fork()
    if child == 0:  # a session of its own, whose terminal this is
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "unbraid.cluster.cli", *words])  # noqa: S606  # no shell in between
    shown = b""
    while b"run mine" not in shown:
        shown += os.read(terminal, 1000)
    while b"update 1/3" not in shown:  # the run has begun
        shown += os.read(terminal, 1000)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert json.loads((tmp_path / "mine/run.json").read_text())["status"] == "finished"


@pytest.mark.parametrize("move", [lambda stream: None, lambda stream: rewrite_line(stream, "x")])
def test_without_a_reader_text_goes_nowhere(move: Callable[[TextIO], None]) -> None:
    reading, writing = os.pipe()
    below = os.fdopen(writing, "w", buffering=1)
    stream = cast(TextIO, PrintableStream(below))
    os.close(reading)
    for _ in range(3):
        move(stream)
        print("a line", file=stream, flush=True)
    below.close()  # as when the process ends


def test_a_terminal_that_ends_stops_no_run() -> None:
    before = signal.getsignal(signal.SIGHUP)
    with StopSignals(cast(Lease, None)) as signals:
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.received is None
    assert signal.getsignal(signal.SIGHUP) == before


def test_other_troubles_of_a_stream_are_not_hidden() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        PrintableStream(Full()).write("x")
