#!/usr/bin/env python3
"""What weir says to programs: the event stream, the result on a stdout that fails, the log and its file, the exit codes."""
import json
import os
import re
import signal
import stat
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from json_schema import problems
from sync_case import QUICK, SMALL, SyncCase
from weir_test import (EXIT_CONFIG, EXIT_DONE, EXIT_PARTIAL, EXIT_STOPPED, EXIT_UNREACHABLE, TREE, WEIR, to_yaml)

SCHEMA = json.loads((TREE / "docs/events.schema.json").read_text())
FIXED_KEYS = {"ts", "level", "msg", "run", "stage", "source", "kind", "key", "attempt", "status", "dur_ms", "limit"}


def events_of(text):
    return [json.loads(line) for line in text.splitlines()]


class OutputCase(SyncCase):
    def assert_valid(self, events):
        for e in events:
            self.assertIn(e["type"], SCHEMA["definitions"])
            self.assertEqual(problems(e, SCHEMA["definitions"][e["type"]], SCHEMA, strict=True), [], e)
            self.assertEqual(problems(e, SCHEMA), [], e)

    def stream(self, command, *arguments, expect=EXIT_DONE, **options):
        """The run's events, which are valid and in an order that makes sense."""
        self.server.reset_counters()
        outcome = self.weir(command, "--config", self.config, "--output", "ndjson", *arguments, expect=expect, **options)
        events = events_of(outcome.stdout)
        self.assert_valid(events)
        self.assert_orderly(events)
        self.assertEqual(events[-1]["exit_code"], outcome.exit_code)
        return outcome, events

    def assert_orderly(self, events):
        self.assertEqual(events[0]["type"], "version")
        self.assertEqual(set(events[0]), {"type", "weir", "ui"})
        self.assertEqual(events[-1]["type"], "run_end")
        self.assertEqual(len({e["run"] for e in events[1:]}), 1, "one run")
        times = [e["ts"] for e in events[1:]]
        self.assertEqual(times, sorted(times))
        begun, ended = set(), set()
        for e in events:
            job = (e.get("source"), e.get("stage"))
            if e["type"] == "stage_start":
                self.assertNotIn(job, begun)
                begun.add(job)
            elif e["type"] == "stage_end":
                self.assertNotIn(job, ended)
                ended.add(job)
            elif e["type"] in ("progress", "batch", "change_summary"):
                self.assertIn(job, begun, e)
                self.assertNotIn(job, ended, e)

    def of_type(self, events, *types):
        return [e for e in events if e["type"] in types]

    def popen(self, *arguments, env=None, **streams):
        process = subprocess.Popen([str(WEIR), *map(str, arguments)], stdin=subprocess.DEVNULL, cwd=self.workspace.path,
                                   env=self.workspace.environment(env), **streams)

        def end():
            if process.poll() is None:
                process.kill()
                process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()
        self.addCleanup(end)
        return process


class events(OutputCase):
    def test_a_sync(self):
        self.start(guests=10, backups=60, profile_text=SMALL)
        outcome, seen = self.stream("sync")
        self.assertEqual({e["type"] for e in seen} - {"throttle", "diagnostic"},
                         {"version", "run_start", "stage_start", "progress", "change_summary", "batch", "stage_end", "run_end"})
        counted = self.server.requests()
        self.assert_equal_to_source()
        start, end = seen[1], seen[-1]
        self.assertEqual((start["type"], start["command"], start["netbox"]["url"]), ("run_start", "sync", self.server.url))
        self.assertEqual({e["stage"] for e in self.of_type(seen, "stage_end")}, set(change.STAGES))
        summaries = {e["stage"]: e for e in self.of_type(seen, "change_summary")}
        batches = self.of_type(seen, "batch")
        for stage, summary in summaries.items():
            self.assertEqual(sum(b["objects"] for b in batches if b["stage"] == stage), summary["create"] + summary["update"], stage)
        self.assertEqual({b["state"] for b in batches}, {"done"})
        self.assertEqual(sorted(b["number"] for b in batches), list(range(1, len(batches) + 1)))
        self.assertEqual((end["batches"], end["created"]), (len(batches), sum(s["create"] for s in summaries.values())))
        self.assertEqual({m: n for m, n in end["requests"].items() if m != "total" and n}, counted["by_method"])
        shown = self.history("show", end["run"])
        self.assertEqual((shown["run"], shown["exit_code"]), (end["run"], 0))
        self.assertNotIn("\x1b", outcome.stdout + outcome.stderr)

    def test_the_same_figures_as_json(self):
        self.start()
        as_events = self.stream("plan")[1]
        as_object = self.run_weir("plan").json
        ends = {e["stage"]: e for e in self.of_type(as_events, "stage_end")}
        for result in as_object["results"]:
            found = ends[result["stage"]]
            self.assertEqual({k: v for k, v in found.items() if k not in ("type", "ts", "run", "seconds")},
                             {k: v for k, v in result.items() if k != "seconds"})
        own = {"type", "ts", "run"}
        self.assertEqual([{k: v for k, v in e.items() if k not in own} for e in self.of_type(as_events, "planned_change")],
                         as_object["changes"])
        end = as_events[-1]
        self.assertEqual((end["command"], end["requests"]), ("plan", as_object["requests"]))
        # Of a sync, those who want them.
        self.assertEqual(self.of_type(self.stream("sync", "--verbose", "--stage", "nodes")[1], "planned_change")[0]["stage"], "nodes")

    def test_changes_and_an_object_that_fails(self):
        self.start(guests=24, backups=49)
        with self.pve.changed_model() as model:
            bad = change.add_refused_backup(model)
        outcome, seen = self.stream("sync", expect=EXIT_PARTIAL)
        about = [e for e in self.of_type(seen, "diagnostic") if "key" in e]
        self.assertEqual([bad in e["key"] for e in about], [True], seen)
        self.assertEqual((about[0]["severity"], seen[-1]["failed"]), ("error", 1))
        self.assertTrue([b for b in self.of_type(seen, "batch") if b["failed"]])
        # A deletion and an update, as they are planned.
        with self.pve.changed_model() as model:
            change.some_of_everything(model)
        changes = self.of_type(self.stream("plan", expect=None)[1], "planned_change")
        self.assertEqual({e["action"] for e in changes}, {"create", "update", "delete"})

    def test_stopped_early(self):
        self.start(guests=4, backups=60, profile_text=SMALL)
        self.server.faults([{"path_regex": "^/api/plugins/", "method": "POST", "delay_ms": 500, "times": -1}])
        outcome, seen = self.stream("sync", "--max-duration", "2s", expect=EXIT_STOPPED, timeout=120)
        self.assertGreater(seen[-1]["deferred"], 0)
        self.assertIn("error", seen[-1])
        last = json.loads(outcome.stderr.splitlines()[-1])
        self.assertEqual((last["type"], last["code"], last["error"]), ("exit", EXIT_STOPPED, seen[-1]["error"]["message"]))
        self.assert_valid([last])

    def test_nothing_to_resume(self):
        self.start(guests=2, backups=2)
        outcome, seen = self.stream("resume")
        self.assertEqual([e["type"] for e in seen], ["version", "run_end"])
        self.assertEqual((seen[-1]["resumes"], seen[-1]["reason"]), (None, "no run is unfinished"))

    def test_before_a_run(self):
        """The last line on stderr says why, for programs."""
        self.start(guests=2, backups=2)
        away = self.workspace.config("http://127.0.0.1:9", change.NETBOX_TOKEN, {"pve-a": change.settings(self.pve)}, name="away.yaml",
                                     profile=str(self.workspace.file("once.yaml", SMALL + "  max_attempts: 1\n")))
        outcome = self.weir("sync", "--config", away, "--output", "ndjson", expect=EXIT_UNREACHABLE)
        seen = events_of(outcome.stdout)
        self.assert_valid(seen)
        self.assertEqual([e["type"] for e in seen], ["version", "run_end"])
        self.assertEqual(seen[-1]["exit_code"], EXIT_UNREACHABLE)
        wrong = self.workspace.file("wrong.yaml", "netbox: [\n")
        refused = self.weir("sync", "--config", wrong, "--output", "ndjson", expect=EXIT_CONFIG)
        self.assertEqual(refused.stdout, "")
        for ended in (outcome, refused):
            last = json.loads(ended.stderr.splitlines()[-1])
            self.assert_valid([last])
            self.assertEqual((last["type"], last["code"]), ("exit", ended.exit_code))
            self.assertTrue(last["error"])

    def test_a_reader_who_does_not_read(self):
        """The run comes to its end without him, and he gets all of it when he looks."""
        self.start(guests=40, backups=1200, profile_text=QUICK + "  objects_per_request: 1\n")
        taken, given = os.pipe()
        self.addCleanup(os.close, taken)
        with open(os.devnull, "wb") as nowhere:
            process = self.popen("sync", "--config", self.config, "--output", "ndjson", stdout=given, stderr=nowhere)
        os.close(given)
        self.wait_for(lambda: self.journal.exists() and self.states() == ["done"])
        self.assertIsNone(process.poll(), "it waits for its reader, now that nothing else does")
        text = b""
        while part := os.read(taken, 65536):
            text += part
        self.assertEqual(process.wait(30), EXIT_DONE)
        seen = events_of(text.decode())
        self.assert_valid(seen)
        self.assert_orderly(seen)
        self.assertGreater(len(text), 200_000, "more than a pipe takes")
        self.assertEqual(len(self.of_type(seen, "batch")), seen[-1]["batches"])
        self.assert_equal_to_source()

    def wait_for(self, happened, seconds=60):
        import time
        until = time.monotonic() + seconds
        while not happened():
            self.assertLess(time.monotonic(), until, "it did not happen")
            time.sleep(0.1)

    def test_a_reader_who_goes_away(self):
        self.start(guests=10, backups=60)
        process = self.popen("sync", "--config", self.config, "--output", "ndjson", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(json.loads(process.stdout.readline())["type"], "version")
        process.stdout.close()
        said = process.stderr.read().decode()
        self.assertEqual(process.wait(60), 1, said)
        self.assertIn("stdout does not take events any more (Broken pipe); the run goes on without it", said)
        self.assert_equal_to_source()
        self.assertEqual(self.states(), ["done"])

    def test_the_documentation_shows_each_event_as_it_is(self):
        shown = [json.loads(line) for line in (TREE / "docs/events.md").read_text().splitlines() if line.startswith("{")]
        self.assert_valid(shown)
        kinds = {e["const"] for d in SCHEMA["definitions"].values() if (e := d.get("properties", {}).get("type", {})) and "const" in e}
        self.assertEqual({e["type"] for e in shown}, kinds)


class results(OutputCase):
    def test_a_full_disk_behind_stdout(self):
        self.start(guests=2, backups=4)
        for form in ("text", "json", "ndjson"):
            with open("/dev/full", "wb") as full:
                process = self.popen("plan", "--config", self.config, "--output", form, stdout=full, stderr=subprocess.PIPE)
            said = process.communicate(timeout=60)[1].decode()
            self.assertEqual(process.returncode, 1, form + said)
            self.assertRegex(said, r"(?m)^error: .* could not be written to stdout", form)

    def test_json_tells_the_exit_code(self):
        self.start(guests=2, backups=4)
        self.assertEqual(self.run_weir("plan", "--detailed-exitcode", expect=2).json["exit_code"], 2)
        self.run_weir()
        self.assertEqual(self.run_weir("plan", "--detailed-exitcode").json["exit_code"], 0)


class logs(OutputCase):
    def started(self, **log):
        self.start(guests=4, backups=20, **({"log": log} if log else {}))

    def test_keys_and_the_run(self):
        self.started()
        outcome = self.run_weir("sync", "--log-format", "json", "--log-level", "debug")
        run = outcome.json["run"]
        lines = [json.loads(line) for line in outcome.stderr.splitlines()]
        of_run = [line for line in lines if "run" in line]
        self.assertEqual({line["run"] for line in of_run}, {run})
        self.assertGreater(len(of_run), 10)
        self.assertEqual(list(of_run[0])[:4], ["ts", "level", "msg", "run"])
        for line in lines:
            self.assertLessEqual(set(line), FIXED_KEYS, line)
            self.assertTrue(all(isinstance(v, str) for v in line.values()), line)
        logfmt = self.run_weir("plan", "--log-format", "logfmt").stderr.splitlines()
        self.assertTrue(logfmt)
        for line in logfmt:
            self.assertRegex(line, r'^ts=\S+Z level=\w+ msg="(?:[^"\\]|\\.)*"( run=[0-9a-f]{8})?( \w+=("(?:[^"\\]|\\.)*"|[^" ]*))*$')

    def test_a_file_by_the_command_line(self):
        self.started()
        path = self.workspace.path / "weir.log"
        outcome = self.run_weir("sync", "--log-file", str(path), "--quiet")
        self.assertEqual(outcome.stderr, "", "quiet")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(len(path.read_text().splitlines()), 1, "quiet there, too, but for its first line")
        self.run_weir("plan", "--log-file", str(path), "--log-format", "logfmt")
        text = path.read_text()
        self.assertRegex(text, r'(?m)^\d{4}-\d\d-\d\dT\S+Z weir \S+ begins, pid \d+$')
        self.assertRegex(text, r'(?m)^ts=\S+ level=info msg="run .* with profile')
        self.assertRegex(text, rf'(?m) run=[0-9a-f]{{8}}$')
        self.assertEqual(self.weir("sync", "--config", self.config, "--log-file", str(self.workspace.path / "no" / "weir.log"),
                                   expect=EXIT_CONFIG).stdout, "")

    def test_a_file_by_the_configuration(self):
        path = self.workspace.path / "logs" / "weir.log"
        path.parent.mkdir()
        self.started(file=str(path), level="debug", format="json", max_mib=1, keep=2)
        self.run_weir("plan")
        self.assertFalse(path.exists(), "who only looks leaves no file behind")
        outcome = self.run_weir("sync")
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        self.assertEqual(lines[0]["msg"].split()[0], "weir")
        self.assertIn("debug", {line["level"] for line in lines})
        self.assertEqual([json.loads(line)["msg"] for line in outcome.stderr.splitlines()], [line["msg"] for line in lines[1:]])
        # The command line wins.
        shown = self.run_weir("sync", "--log-level", "info", "--log-format", "text").stderr
        self.assertRegex(shown, r"(?m)^\d\d:\d\d:\d\d run ")
        self.assertNotIn("debug:", shown)

    def test_a_full_disk_later(self):
        """The log is no reason for a run to fail."""
        import resource
        self.started()
        path = self.workspace.path / "weir.log"
        path.write_text("x" * 3_000_000 + "\n")

        def small_files():
            # The journal and the rest fit, the log does not.
            resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_300, resource.RLIM_INFINITY))
        outcome = self.run_weir("sync", "--log-file", str(path), "--log-level", "debug", prepare=small_files)
        self.assertEqual(outcome.stderr.count("cannot be written any more"), 1, outcome.stderr[-2000:])
        self.assert_equal_to_source()

    def test_under_the_journal(self):
        self.started()
        for really in (True, False):
            with open(self.workspace.path / "stderr", "wb+") as err:
                is_ = os.fstat(err.fileno())
                stream = f"{is_.st_dev}:{is_.st_ino + (0 if really else 1)}"
                process = self.popen("plan", "--config", self.config, stdout=subprocess.DEVNULL, stderr=err, env={"JOURNAL_STREAM": stream})
                self.assertEqual(process.wait(60), EXIT_DONE)
                err.seek(0)
                for line in err.read().decode().splitlines():
                    self.assertRegex(line, r"^<[3467]>\D" if really else r"^\d\d:\d\d:\d\d ")

    def test_progress_when_asked(self):
        """SIGUSR1, in quiet, too."""
        for form, pattern in (("text", r"(?m)^run [0-9a-f]{8} after \d+:\d\d\n(.*\n)*backups +.*\n.*in flight"),
                              ("json", r'"msg":"pve-a backups: .*"stage":"backups","source":"pve-a"')):
            self.start(guests=6, backups=40, profile_text=SMALL)
            self.server.options(base_us=50000)
            running = self.start_weir("sync", "--config", self.config, "--quiet", "--log-format", form)
            running.wait_until(lambda: self.sent("plugins/proxbox/backups") >= 2)
            self.assertEqual(running.stderr, "")
            running.signal(signal.SIGUSR1)
            running.wait_until(lambda: "in flight" in running.stderr)
            outcome = self.checked(running.wait(60))
            self.assertRegex(outcome.stderr, pattern)
            self.assertEqual(len(re.findall("in flight", outcome.stderr)), 1, "once")
            self.assertNotIn("\x1b", outcome.stderr)


class exit_codes(unittest.TestCase):
    def test_the_documentation_the_help_and_the_program_agree(self):
        header = (TREE / "core/cli/exit_codes.hpp").read_text()
        in_program = {int(n) for n in re.findall(r"inline constexpr int \w+ = (\d+);", header)}
        page = (TREE / "docs/exit-codes.md").read_text()
        in_page = {int(n): text for n, text in re.findall(r"(?m)^\| (\d+) \| ([^|]+) \|", page)}
        help_text = subprocess.run([str(WEIR), "--help"], capture_output=True, text=True, timeout=60).stdout
        footer = " ".join(help_text[help_text.index("Exit codes:"):].split())
        codes, sentence = footer.removeprefix("Exit codes: ").split(". ", 1)
        in_help = {int(part.split()[0]): part.split(" ", 1)[1] for part in codes.split(", ")}
        self.assertEqual(set(in_page), in_program)
        self.assertEqual(set(in_help), in_program)
        self.assertIn("must be treated as", sentence)
        self.assertRegex(page.replace("\n", " "), r"must be treated as failures")
        # What a code stands for is told whole, wherever it is told.
        manual = subprocess.run([str(WEIR), "man"], capture_output=True, text=True, timeout=60).stdout
        manual = manual[manual.index(".SH EXIT STATUS"):]
        of_manual = {int(n): text for n, text in re.findall(r"(?ms)^(?:\.B |\\fB)(\d+).*?\n(.*?)(?=^\.TP|^\.SH)", manual)}
        readme = (TREE / "README.md").read_text()
        in_readme = {int(n): text for n, text in re.findall(r"(?m)^\| (\d+) \| ([^|]+) \|$", readme[readme.index("## Exit codes"):])}
        self.assertEqual(set(of_manual), in_program)
        with_option = {c for c in ("sync", "resume", "plan", "show", "apply", "adopt", "undo")
                       if re.search(r"(?m)^ +--detailed-exitcode", subprocess.run([str(WEIR), c, "--help"], capture_output=True, text=True, timeout=60).stdout)}
        for where, told in {"docs/exit-codes.md": in_page, "README.md": in_readme, "weir(1)": of_manual}.items():
            with self.subTest(where):
                text = {n: t.replace("\\-", "-").replace("`", "").replace("\n", " ") for n, t in told.items()}
                for word in ("deletions", "max_deletes", "empty answer", "apply", "no longer fits"):
                    self.assertIn(word, text[4].lower())
                self.assertIn("--detailed-exitcode", text[2])
                self.assertEqual(set(re.search(r"\(([a-z, ]+)\)", text[2])[1].split(", ")), with_option)
        # Told in the same words.
        for code, words in in_help.items():
            first = re.sub(r"\W.*", "", words.removeprefix("the ").removeprefix("there are "))
            self.assertIn(first, in_page[code].replace("**", ""), f"{code}: {words}")


if __name__ == "__main__":
    unittest.main()
