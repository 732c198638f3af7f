#!/usr/bin/env python3
"""What people see while weir runs: panes of a real terminal (tmux), as they are and against goldens in tests/cli/display.

WEIR_UPDATE_GOLDEN=1 writes the goldens anew; look at the difference before you commit it."""
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import QUICK, SyncCase
from weir_test import EXIT_DONE, EXIT_INTERRUPTED, WEIR

GOLDEN = Path(__file__).resolve().parent / "display"
UPDATE = os.environ.get("WEIR_UPDATE_GOLDEN") == "1"
BACKUPS = "plugins/proxbox/backups"
SINGLE = QUICK + "  objects_per_request: 1\n"
AT_WORK = r"backups +[█░]* +\d+/\d+ .*left"


def normalised(text):
    """Numbers, times, ids and how far a bar has come are not the same twice."""
    text = re.sub(r"http://\S+", "URL", text)
    text = re.sub(r"\brun [0-9a-f]{8}", "run ID", text)
    text = re.sub(r"run=[0-9a-f]{8}", "run=ID", text)
    text = re.sub(r"[█░]+", lambda bar: "▒" * len(bar[0]), text)
    text = re.sub(r"(?m)^\d\d:\d\d:\d\d ", "HH:MM:SS ", text)
    text = re.sub(r"(?m)^Throttle: .*\n", "", text)  # only on a machine that is busy
    text = re.sub(r"gap [\d.]+ m?s", "gap N", text)
    text = re.sub(r"\d[\d.]*(?: \d{3})*", "N", text)
    return re.sub(r" {2,}", "  ", text).rstrip() + "\n"


class Terminal:
    """A program in a pane of a tmux of its own. `columns` and `lines` are the pane's."""

    def __init__(self, folder, environment, arguments, columns=80, lines=24, term=None):
        self.socket = f"weir-test-{os.getpid()}-{id(self)}"
        self.folder = folder
        self.ended = folder / f"ended-{id(self)}"
        words = " ".join(shlex.quote(str(a)) for a in arguments)
        # env -i: nothing of the caller's, and of tmux's only the terminal's name.
        given = " ".join(f"{k}={shlex.quote(v)}" for k, v in environment.items())
        terminal = shlex.quote(term) if term else '"$TERM"'
        script = f"env -i TERM={terminal} {given} {words}; echo $? > {self.ended}.new; mv {self.ended}.new {self.ended}; exec cat"
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", lines, f"stty -echo; {script}", ";", "set", "-g", "status", "off",
                  ";", "set", "-g", "window-size", "manual")
        self.tmux("resize-window", "-x", columns, "-y", lines)

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-u", "-L", self.socket, *map(str, arguments)], capture_output=True, text=True, timeout=30,
                              env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": str(self.folder), "TMUX_TMPDIR": str(self.folder)})
        if done.returncode:
            raise RuntimeError(f"tmux {arguments}: {done.stderr}")
        return done.stdout

    def pane(self, *options):
        """What it shows now, without the empty lines below."""
        return self.tmux("capture-pane", "-p", *options).rstrip() + "\n"

    def everything(self):
        """With what has left the screen above."""
        return self.pane("-S", "-")

    def resize(self, columns, lines=24):
        self.tmux("resize-window", "-x", columns, "-y", lines)

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def cursor_is_shown(self):
        return self.tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def wait_until(self, happened, what, seconds=60):
        until = time.monotonic() + seconds
        while not (found := happened()):
            if time.monotonic() > until:
                raise AssertionError(f"{what} within {seconds} s:\n{self.everything()}")
            time.sleep(0.03)
        return found

    def wait_for(self, pattern, *options):
        """The first pane that has it."""
        def seen():
            text = self.pane(*options)
            return text if re.search(pattern, text) else None
        return self.wait_until(seen, pattern)

    def wait_for_end(self):
        self.wait_until(self.ended.exists, "its end")
        return int(self.ended.read_text())

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True, timeout=30,
                       env={"PATH": "/usr/bin:/bin", "TMUX_TMPDIR": str(self.folder)})


class DisplayCase(SyncCase):
    def start(self, **options):
        super().start(**{"guests": 6, "backups": 60, "profile_text": SINGLE, **options})

    def slow(self, ms=300):
        """Each new backup takes NetBox so long; 0: quick again."""
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "delay_ms": ms, "times": -1}] if ms else [])

    def terminal(self, *arguments, columns=80, lines=24, term=None, env=None):
        environment = {k: v for k, v in self.workspace.environment(env).items()}
        terminal = Terminal(self.workspace.path, environment, [WEIR, "sync", "--config", self.config, *arguments], columns, lines, term)
        self.addCleanup(terminal.close)
        return terminal

    def golden(self, name, text):
        path, now = GOLDEN / f"{name}.txt", normalised(text)
        if UPDATE:
            path.write_text(now)
        self.assertEqual(now, path.read_text(), f"{path}; as it was shown:\n{text}")

    def pid(self):
        """Of the weir in the terminal."""
        return int(self.ask_journal("SELECT pid FROM runs")[0][0])


@unittest.skipUnless(shutil.which("tmux"), "tmux is not installed")
class in_a_terminal(DisplayCase):
    def run_recorded(self, columns):
        self.start()
        self.slow()
        terminal = self.terminal(columns=columns)
        self.golden(f"{columns}-running", terminal.wait_for(AT_WORK))
        self.slow(0)
        self.assertEqual(terminal.wait_for_end(), EXIT_DONE)
        self.golden(f"{columns}-end", terminal.everything())
        self.assertTrue(terminal.cursor_is_shown())
        self.assert_equal_to_source()

    def test_eighty_columns(self):
        self.run_recorded(80)

    def test_a_hundred_and_twenty_columns(self):
        self.run_recorded(120)

    def test_forty_columns(self):
        self.start()
        self.slow()
        terminal = self.terminal(columns=40)
        self.golden("40-running", terminal.wait_for(r"virtual-mach… +done\nbackups +[█░]+ +\d+/61"))
        self.slow(0)
        terminal.wait_for_end()

    def test_resized_in_the_middle(self):
        self.start()
        self.slow()
        terminal = self.terminal(columns=120)
        terminal.wait_for(AT_WORK)
        for columns, lines, pattern in ((60, 24, r"[█░]{8}"), (100, 24, r"[█░]{20}"), (45, 10, r"virtual-machi"), (80, 24, AT_WORK)):
            terminal.resize(columns, lines)

            def settled():
                # What tmux has moved into its history while it broke lines anew may come back above the rows; none may be below.
                pane = terminal.pane()
                starts = [line[:7] for line in pane.splitlines()[-4:-1]]
                return starts == ["nodes  ", "virtual", "backups"] and re.search(r"in flight|closed", pane.splitlines()[-1]) and re.search(pattern, pane)
            terminal.wait_until(settled, f"one row each at {columns} columns")
            for line in terminal.pane().splitlines()[-4:]:
                self.assertLess(len(line), columns)
        self.slow(0)
        self.assertEqual(terminal.wait_for_end(), EXIT_DONE)
        pane = terminal.everything()
        self.assertEqual(len(re.findall(r"in flight", pane)), 0, pane)
        self.assertRegex(pane, r"(?m)^Done: ")

    def test_log_lines_stand_above_the_rows(self):
        self.start()
        self.server.faults([{"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "status": 503, "times": 1, "body": "busy"},
                            {"path_regex": f"^/api/{BACKUPS}/", "method": "POST", "delay_ms": 300, "times": -1}])
        terminal = self.terminal(columns=100)
        terminal.wait_for(r"will be tried again")
        pane = terminal.wait_for(AT_WORK)
        said = next(i for i, line in enumerate(pane.splitlines()) if "will be tried again" in line)
        self.assertLess(said, next(i for i, line in enumerate(pane.splitlines()) if line.startswith("nodes")), pane)
        self.slow(0)
        terminal.wait_for_end()
        end = terminal.pane("-S", "-", "-J")
        self.assertEqual(len(re.findall(r"(?m)^\d\d:\d\d:\d\d warn: netbox: POST .* will be tried again .*$", end)), 1, end)
        self.assertEqual(len(re.findall(r"(?m)^nodes", end)), 1, "the result's, and none of the display's:\n" + end)

    def test_colour_has_two_meanings_and_can_be_off(self):
        for name, env, arguments in (("colour", {}, ()), ("none", {"NO_COLOR": "1"}, ()), ("none", {}, ("--color", "never"))):
            self.start()
            self.slow()
            terminal = self.terminal(*arguments, env=env)
            pane = terminal.wait_for(AT_WORK, "-e")
            used = set(re.findall(r"\x1b\[([\d;]*)m", pane)) - {"", "0", "39"}
            self.assertEqual(used, {"32"} if name == "colour" else set(), repr(pane))
            self.slow(0)
            terminal.wait_for_end()
            used = set(re.findall(r"\x1b\[([\d;]*)m", terminal.pane("-e", "-S", "-"))) - {"", "0", "39"}
            self.assertEqual(used, {"32"} if name == "colour" else set())

    def test_a_dumb_terminal(self):
        self.start()
        terminal = self.terminal(term="dumb", columns=100)
        self.assertEqual(terminal.wait_for_end(), EXIT_DONE)
        self.golden("dumb", terminal.pane("-S", "-", "-J"))

    def test_interrupted(self):
        self.start()
        self.slow()
        terminal = self.terminal()
        terminal.wait_for(AT_WORK)
        terminal.keys("C-c")
        terminal.wait_for(r"stopping: what is in flight is waited for")
        self.assertEqual(terminal.wait_for_end(), EXIT_INTERRUPTED)
        end = terminal.everything()
        self.assertRegex(end, r"(?m)^Interrupted: ")
        self.assertNotIn("in flight ·", end)
        self.assertTrue(terminal.cursor_is_shown())

    def test_killed(self):
        """Whatever ends weir: the cursor is there, and the prompt below the rows."""
        self.start()
        self.slow()
        terminal = self.terminal()
        terminal.wait_for(AT_WORK)
        os.kill(self.pid(), signal.SIGKILL)
        self.assertEqual(terminal.wait_for_end(), 137)
        self.assertTrue(terminal.cursor_is_shown())
        terminal.keys("prompt", "Enter")
        pane = terminal.wait_for("prompt").splitlines()
        self.assertGreater(next(i for i, line in enumerate(pane) if "prompt" in line),
                           next(i for i, line in enumerate(pane) if "in flight" in line))

    def test_asked_for_progress(self):
        self.start()
        self.slow()
        terminal = self.terminal("--quiet")
        terminal.wait_until(lambda: self.sent(BACKUPS) >= 5, "so many that there is a rate")
        self.assertEqual(terminal.pane().strip(), "", "quiet")
        os.kill(self.pid(), signal.SIGUSR1)
        self.golden("asked", terminal.wait_for(r"in flight"))
        self.slow(0)
        terminal.wait_for_end()

    def test_a_terminal_that_was_stopped(self):
        """Ctrl-S: the run does not wait for it."""
        self.start()
        self.slow()
        terminal = self.terminal()
        terminal.wait_for(AT_WORK)
        terminal.keys("C-s")
        self.slow(0)
        terminal.wait_until(lambda: self.states() == ["done"], "the run's end")
        self.assertFalse(terminal.ended.exists(), "its result waits for the terminal")
        terminal.keys("C-q")
        self.assertEqual(terminal.wait_for_end(), EXIT_DONE)
        self.assertRegex(terminal.everything(), r"(?m)^Done: ")


class without_a_terminal(DisplayCase):
    def test_piped(self):
        self.start()
        outcome = self.weir("sync", "--config", self.config)
        self.golden("piped-stderr", outcome.stderr)
        self.golden("piped-stdout", outcome.stdout)


if __name__ == "__main__":
    program = unittest.main(exit=False)
    # Visibly skipped where the terminal is missing, unless what could be run failed.
    sys.exit(1 if not program.result.wasSuccessful() else 77 if not shutil.which("tmux") else 0)
