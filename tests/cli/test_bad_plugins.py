#!/usr/bin/env python3
"""Plugins that do what no plugin may, beside the shipped ones: each costs itself and nothing else.

Every case runs isolated, as a plugin that is not weir's own does by default, and in process where that cannot take weir
with it. The table of what an operator gets to see is printed at the end, and written as Markdown to the file named by
WEIR_BAD_PLUGINS_TABLE.
"""
import ctypes
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
import weir_test
from mapping import Expected, Held, differences
from sync_case import SOURCE, SyncCase
from weir_test import EXIT_DONE, EXIT_INTERRUPTED, EXIT_PARTIAL, EXIT_STOPPED, Simulator

PLUGINS = Path(os.environ["WEIR_BAD_PLUGINS"])
NEIGHBOURS = change.STAGES
SANITIZED = weir_test.WEIR.exists() and any(name in weir_test.WEIR.read_bytes() for name in (b"__asan_init", b"__tsan_init"))
# What one stage emits, up to its limit of 1 GiB, and a quarter more for all else.
MOST_MEMORY_MIB = 1280
FAULT = "this is a fault of the plugin"
TERMINAL_CONTROL = r"[\x00-\x09\x0b-\x1f\x7f]"
TABLE = []


def case(does, *, file="bad", stage="bad", options=None, limits=None, ends="failed", says="", here=None, hint="", modes="both",
         exits=None, text=True, plain=False, then=None, run=None):
    """One way of being bad. `says`: what the reason must match, isolated; `here`: in process (default: the same).
    `plain`: not with sanitizers. `then`: a method that looks at what else must be so; `run`: one that runs weir instead of a plain sync."""
    name = re.sub(r"[^a-z0-9]+", "_", does.lower()).strip("_")
    if exits is None:
        exits = {"ok": EXIT_DONE, "stopped": EXIT_INTERRUPTED}.get(ends, EXIT_PARTIAL)
    return SimpleNamespace(does=does, name=name, file=file, stage=stage, options=options, limits=limits or {}, ends=ends, says=says,
                           here=says if here is None else here, hint=hint, modes=modes, exits=exits, text=text, plain=plain, then=then, run=run)


def does(what, option, **more):
    return case(what, options={"case": option, **more.pop("with_options", {})}, **more)


CASES = [
    # --- refused before it runs
    case("does not export the symbol", file="no_symbol", ends="refused", says=r"no_symbol\.so does not export the symbol weir_plugin_v1"),
    case("has the wrong major version", file="wrong_major", ends="refused",
         says=r"wrong_major\.so is built for weir plugin ABI 2\.\d+, this weir speaks 1\.", hint="update weir"),
    case("needs a newer minor version", file="newer_minor", ends="refused",
         says=r"newer_minor\.so needs at least weir plugin ABI 1\.9, this weir speaks 1\.", hint="update weir"),
    case("has a plugin struct that is too short", file="short_plugin", ends="refused", says=r"short_plugin\.so.*too short.*24 bytes"),
    case("has a stage struct that is too short", file="short_stage", ends="refused", says=r"short_stage\.so.*too short.*40 bytes"),
    case("has a title that would take over the terminal", file="odd_title", ends="refused", says=r"its title holds a control character"),
    case("calls a symbol that nobody has", file="undefined", ends="refused",
         says=r"undefined\.so can't be loaded: .*undefined symbol: symbol_that_nobody_has"),
    case("throws while it is loaded", file="load_throws", ends="refused", modes="isolated",
         says=r"load_throws\.so.*SIGABRT.*while its plugin was loaded", hint=r"no table of mine"),
    case("aborts while it is loaded", file="load_aborts", ends="refused", modes="isolated",
         says=r"load_aborts\.so.*SIGABRT.*while its plugin was loaded"),
    case("exits with 0 while it is loaded", file="load_exits", ends="refused", modes="isolated",
         says=r"load_exits\.so.*exit code 0.*while its plugin was loaded"),
    case("never comes back from being loaded", file="load_hangs", ends="refused", modes="isolated", text=False,
         says=r"load_hangs\.so.*had not ended after .*while its plugin was loaded", hint=FAULT),
    # --- good
    does("has a longer struct, of a later minor version", "good", file="longer_stage", ends="ok", then="landed"),
    # --- exceptions and statuses
    case("throws in its constructor", file="wrapped", stage="throws-in-constructor", says=r'no such pool: "prod"'),
    case("throws in collect", file="wrapped", stage="throws-in-collect", says=r"vector::at: 7 of 3 nodes", then="nothing_landed"),
    case("throws what is no exception", file="wrapped", stage="throws-a-number", says=r"no std::exception"),
    case("lets an exception out of create", file="throws", stage="create-throws",
         says=r"threw an exception across the plugin boundary in create\(\): no memory of it", hint=FAULT),
    case("lets an exception out of collect", file="throws", stage="collect-throws",
         says=r"threw an exception across the plugin boundary in collect\(\): the third node", hint=FAULT),
    case("lets a number out of collect", file="throws", stage="collect-throws-int",
         says=r"threw an exception across the plugin boundary in collect\(\): not a std::exception", hint=FAULT),
    case("lets an exception out of destroy", file="throws", stage="destroy-throws",
         says=r"threw an exception across the plugin boundary in destroy\(\): still in use", hint=FAULT),
    case("lets an exception out of a callback", file="throws", stage="callback-throws",
         says=r'^stage "callback-throws": fetch_many\(\): the stage\'s callback threw an exception across the plugin boundary', hint=FAULT),
    does("returns 42", "returns_42", says=r"collect\(\) returned 42", hint=FAULT),
    # --- calls against the contract
    does("calls a [stage] function on another thread", "other_thread", says=r"complete\(\) was called on another thread", hint=FAULT),
    does("gives a reply back twice", "double_release", says=r"the reply to GET /version was given back twice", hint=FAULT),
    does("gives back what is no reply of weir's", "foreign_release", says=r"release\(\): not a reply that weir handed out", hint=FAULT),
    does("never gives back 100 replies", "leaks_replies", ends="ok", then="leaks_are_named"),
    does("emits a kind it did not declare", "undeclared_kind", says=r"speaks of the kind 'dcim\.site', which it did not declare",
         hint="kinds_json"),
    does("emits invalid UTF-8", "invalid_utf8", says=r'^stage "bad": emit\(\): fields_json is not UTF-8', hint=FAULT),
    # Over the limit of 2,000,000 objects, and over that of 1 GiB: the time goes with the calls, and with the bytes.
    does("emits 10 million objects", "emits_many", with_options={"count": "10000000", "bytes": "20"}, text=False, plain=True,
         modes="in process",
         says=r"emitted more than .*; it was stopped", then="memory_is_bounded"),
    does("emits 10 million objects, whatever emit returns", "emits_many", with_options={"count": "10000000", "bytes": "8000", "on": "1"},
         text=False, plain=True, modes="isolated", says=r"emitted more than .*; it was stopped", then="memory_is_bounded"),
    # --- no end
    does("never returns", "never_returns", modes="isolated", limits={"wall": "3s"}, text=False,
         says=r"had not ended after 3 s \(in collect\(\)\) and was killed", hint=r"limits\.wall.*not going to return"),
    does("stops its own process", "stops_itself", modes="isolated", limits={"wall": "3s"}, text=False,
         says=r"had not ended after 3 s \(in collect\(\)\) and was killed"),
    does("spins", "spins", modes="isolated", limits={"cpu": "1s"}, text=False, says=r"used up its 1 s of CPU time in collect\(\)", hint=r"limits\.cpu"),
    does("sleeps through SIGINT", "never_returns", stage="bad-last", modes="isolated", ends="stopped", run="interrupted", text=False,
         says=r"", then="was_killed"),
    does("emits through SIGINT", "emits_on", stage="bad-last", modes="isolated", ends="stopped", run="interrupted", text=False, says=r"",
         then="was_killed"),
    does("sleeps through the end of --max-duration", "never_returns", modes="isolated", ends="stopped", exits=EXIT_STOPPED,
         run="out_of_time", text=False, says=r"", then="was_killed"),
    # --- a bad end
    does("segfaults", "segfaults", modes="isolated", says=r"ended by SIGSEGV \(Segmentation fault\) in collect\(\)",
         hint="about to read the third node"),
    does("aborts", "aborts", modes="isolated", says=r"ended by SIGABRT \(Aborted\) in collect\(\)", hint="the guests' list is not sorted"),
    does("calls exit(0)", "exits_0", modes="isolated", says=r"exit code 0 in collect\(\)", hint=FAULT, then="nothing_landed"),
    does("calls _exit(3)", "exits_3", modes="isolated", says=r"exit code 3 in collect\(\)", hint=FAULT, then="nothing_landed"),
    does("closes all file descriptors", "closes_descriptors", modes="isolated", says=r"closed its connection to weir in collect\(\)"),
    does("writes garbage to all file descriptors", "writes_garbage", modes="isolated", says=r"sent weir what is no message in collect\(\)"),
    does("prints what would take over the terminal", "prints_escapes", modes="isolated", ends="ok", then="terminal_is_safe"),
    does("says what would take over the terminal", "says_escapes", says="the reason", hint="what to do"),
    does("prints 100,000 lines", "prints_much", modes="isolated", ends="ok", then="output_is_bounded"),
    case("wants 100 GiB", file="wrapped", stage="wants-100-gib", modes="isolated", plain=True, says="out of memory", hint=r"4096 MiB of memory"),
    # --- the system
    does("deletes its own file", "deletes_itself", ends="ok", text=False, then="could_not_delete"),
    does("empties its own file", "empties_itself", modes="isolated", ends="ok", then="could_not_empty"),
    does("forks", "forks", modes="isolated", says=r"tried to start another process in collect\(\)"),
    does("runs another program", "execs", modes="isolated", says=r"tried to start another process in collect\(\)"),
    does("opens a TCP socket", "opens_socket", modes="isolated", ends="ok", then="no_socket"),
    does("kills weir", "kills_weir", modes="isolated", ends="ok", then="no_kill"),
    does("looks for weir's secrets", "looks_for_secrets", ends="ok", plain=True, run="with_secrets", then="found_no_secret"),
]


def children(of=None):
    """Processes whose parent is this one: {pid: (state, name)}. Where weir is gone, those that it left behind are."""
    of = of or os.getpid()
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                name, rest = re.fullmatch(r"\d+ \((.*)\) (.*)", (entry / "stat").read_text().strip(), re.S).groups()
            except OSError:
                continue
            state, parent = rest.split()[:2]
            if int(parent) == of:
                found[int(entry.name)] = (state, name)
    return found


def has_landlock():
    landlock_create_ruleset, LANDLOCK_CREATE_RULESET_VERSION = 444, 1
    return ctypes.CDLL(None).syscall(landlock_create_ruleset, None, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0


def setUpModule():
    PR_SET_CHILD_SUBREAPER = 36
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def tearDownModule():
    if not TABLE:
        return
    rows = [("A plugin that", "runs", "what weir says", "exit code", "neighbours"), ("---",) * 5]
    order = {c.name: n for n, c in enumerate(CASES)}
    for row in sorted(TABLE, key=lambda r: (order[r.name], r.mode)):
        said = re.sub(rf"{tempfile.gettempdir()}/weir-(test|home)-\w+", "…", row.said)
        said = re.sub(TERMINAL_CONTROL, " ", said).replace("|", "\\|").replace("\n", " ")
        rows.append((row.does, row.mode, said, str(row.exit_code), row.neighbours))
    text = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    print("\n" + text)
    if os.environ.get("WEIR_BAD_PLUGINS_TABLE"):
        Path(os.environ["WEIR_BAD_PLUGINS_TABLE"]).write_text(text)


class BadPlugins(SyncCase):
    mode = ""

    @classmethod
    def setUpClass(cls):
        cls.source = Simulator("proxmox", *change.arguments(nodes=2, guests=4, backups=6))
        cls.addClassCleanup(cls.source.stop)

    def simulator(self, kind, *arguments):
        return self.source if kind == "proxmox" else super().simulator(kind, *arguments)

    # ---- running

    def plugin(self, c):
        """Where the case's plugin is: a copy, to which it may do what it likes. Beside weir's configuration and tokens, as
        somebody in a hurry would have it."""
        return Path(shutil.copy2(PLUGINS / f"{c.file}.so", self.workspace.path))

    def stages(self, c):
        """Of the configuration; None: all that are found."""
        if c.ends == "refused":
            return None
        stage = dict(c.options or {})
        if c.limits:
            stage["limits"] = c.limits
        return {**{name: {} for name in NEIGHBOURS}, c.stage: stage}

    def sync(self, c, *arguments, **options):
        return self.weir("sync", "--config", self.config, "--output", "json", "--no-progress", *arguments, expect=None, timeout=120,
                         **options)

    def interrupted(self, c):
        """SIGINT once the neighbours are in NetBox and the stage has begun not to return."""
        running = self.start_weir("sync", "--config", self.config, "--output", "json", "--no-progress")
        running.wait_until(lambda: "not going to return" in running.stderr)

        def landed():
            held, expected = Held(self.netbox, SOURCE), Expected(self.reader, SOURCE)
            return not any(differences(getattr(expected, what), getattr(held, what)) for what in ("nodes", "guests", "backups"))

        while not landed():
            self.assertFalse(running.poll(), running.stderr)
            time.sleep(0.2)
        running.signal(signal.SIGINT)
        return self.checked(running.wait(60), None)

    def out_of_time(self, c):
        """The neighbours are in NetBox from an earlier run: this one's time is over before their turn comes."""
        self.weir("sync", "--config", self.config, *(a for name in NEIGHBOURS for a in ("--stage", name)))
        return self.sync(c, "--max-duration", "3s")

    def with_secrets(self, c):
        """The tokens stand in weir's environment and in files beside its configuration."""
        text = self.config.read_text()
        text, n = re.subn(r'token_file: "[^"]*netbox\.token"', 'token_env: "SECRET_OF_NETBOX"', text)
        text, m = re.subn(r'token_file: "[^"]*pve-a\.token"', 'token_env: "SECRET_OF_PVE"', text)
        self.assertEqual((n, m), (1, 1), text)
        self.config.write_text(text)
        return self.sync(c, env={"SECRET_OF_NETBOX": change.NETBOX_TOKEN, "SECRET_OF_PVE": change.TOKEN})

    def prepare(self, c):
        self.file = self.plugin(c)
        stages = self.stages(c)
        if c.run == "with_secrets":
            for n, path in enumerate(("netbox.token", "pve-a.token", "state/journal.db")):
                stages[c.stage][f"file{n}"] = str(self.workspace.path / path)
        self.start(stages=stages, plugin_path=[str(weir_test.WEIR.parent / "stages"), str(self.file)])

    def try_out(self, c):
        if SANITIZED and c.plain:
            self.skipTest("sanitizers take memory and rights that are denied to plain processes")
        self.prepare(c)
        before = set(children())
        outcome = getattr(self, c.run)(c) if c.run else self.sync(c)
        row = SimpleNamespace(name=c.name, does=c.does, mode=self.mode, said="", exit_code=outcome.exit_code, neighbours="not looked at")
        TABLE.append(row)
        left = self.left_behind(before)
        self.assertIn(outcome.exit_code, (c.exits,), str(outcome))
        self.assertEqual(left, {}, f"processes were left behind\n{outcome}")
        row.said = self.said(c, outcome)
        if c.then:
            getattr(self, c.then)(c, outcome, row)
        for name in NEIGHBOURS:
            if c.run != "out_of_time":
                self.assertEqual(outcome.result(name)["status"], "ok", str(outcome))
        expected, _ = self.assert_equal_to_source()
        row.neighbours = f"all {sum(len(getattr(expected, what)) for what in ('nodes', 'guests', 'backups'))} objects landed"
        if c.text and c.ends in ("failed", "refused"):
            self.is_in_the_text(c, row)

    def left_behind(self, before):
        """What weir left running, after a moment for what was killed; it is ended here."""
        until = time.monotonic() + 3
        while True:
            left = {pid: what for pid, what in children().items() if pid not in before}
            for pid in [pid for pid, (state, _) in left.items() if state == "Z"]:
                os.waitpid(pid, 0)
                del left[pid]
            if not left or time.monotonic() > until:
                break
            time.sleep(0.02)
        for pid in left:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
        return left

    # ---- what it says

    def said(self, c, outcome):
        """The message and the hint by which weir tells of it."""
        wanted = c.says if self.mode == "isolated" else c.here
        if c.ends == "refused":
            found = [n for n in outcome.json["notices"] if n["level"] == "error"]
            self.assertEqual(len(found), 1, str(outcome))
            self.assertNotIn(c.stage, [r["stage"] for r in outcome.json["results"]])
            reason = found[0]
        else:
            result = outcome.result(c.stage)
            self.assertEqual(result["status"], c.ends, str(outcome))
            reason = result.get("reason", {"message": "", "hint": ""})
        for text, pattern in ((reason["message"], wanted), (reason["hint"], c.hint)):
            self.assertTrue(re.search(pattern, text), f"{pattern!r} is not in {text!r}\n{outcome}")
        self.message = reason["message"]
        return " → ".join(text for text in (reason["message"], reason["hint"]) if text)

    def is_in_the_text(self, c, row):
        """People read the same."""
        outcome = self.weir("plan", "--config", self.config, "--no-progress", "--color", "never", expect=c.exits)
        # Of several requests under way the one that failed last is another in each run.
        same = lambda text: re.sub(r"GET /ok(\?\d+)?: ", "GET /ok: ", re.sub(r"GET /ok(\?\d+)? at http", "GET /ok at http", text))
        self.assertIn(same(re.sub(TERMINAL_CONTROL, " ", self.message)), same(outcome.stdout))
        for text in (outcome.stdout, outcome.stderr):
            self.assertFalse(re.search(TERMINAL_CONTROL, text), repr(text))

    # ---- what else must be so

    def tags(self):
        return {t["slug"]: t["description"] for t in self.netbox.all("extras/tags")}

    def landed(self, c, outcome, row):
        self.assertEqual(self.tags().get("landed"), "as it should")
        row.said = "its object landed"

    def nothing_landed(self, c, outcome, row):
        """What a stage emitted before it failed is not written."""
        self.assertEqual({"landed", "half", "t0"} & set(self.tags()), set())

    def leaks_are_named(self, c, outcome, row):
        self.assertIn("landed", self.tags())
        said = re.search(r"did not give back 100 of its replies[^\n]*", outcome.stderr)
        self.assertTrue(said, str(outcome))
        row.said = f"in the log: {said[0]}"

    def memory_is_bounded(self, c, outcome, row):
        self.assertGreater(outcome.peak_kib, 0)
        row.said += f" (weir's peak: {outcome.peak_kib >> 10} MiB; {outcome.seconds:.1f} s)"
        self.assertLess(outcome.peak_kib >> 10, MOST_MEMORY_MIB)
        self.nothing_landed(c, outcome, row)

    def was_killed(self, c, outcome, row):
        """Whoever stopped the run learns what kept it."""
        said = [n for n in outcome.json["notices"] if n["stage"] == c.stage and "did not stop within 5 s of being told to" in n["message"]]
        self.assertEqual(len(said), 1, str(outcome))
        row.said += f"; notice: {said[0]['message']} → {said[0]['hint']}"

    def output_is_bounded(self, c, outcome, row):
        self.assertIn("landed", self.tags())
        lines = outcome.stderr.splitlines()
        self.assertIn("line 0 of very many", outcome.stderr)
        self.assertLess(len(lines), 1200)
        said = next(line for line in lines if "left out" in line)
        row.said = f"in the log: {said.split(' ', 2)[-1].strip()} ({len(lines)} lines in all)"

    def terminal_is_safe(self, c, outcome, row):
        self.assertIn("landed", self.tags())
        self.assertFalse(re.search(TERMINAL_CONTROL, outcome.stderr), repr(outcome.stderr))
        said = next(line for line in outcome.stderr.splitlines() if "all is well" in line)
        row.said = f"in the log: {said.split(' ', 1)[1].strip()}"

    def refused_call(self, row, tag, what="Operation not permitted"):
        found = self.tags()
        self.assertEqual(found.get(tag), what, found)
        row.said = f"the stage is told: {what}"

    def could_not_delete(self, c, outcome, row):
        if self.mode == "isolated":
            self.assertTrue(self.file.exists(), "the stage could delete its file")
            self.assertIn(self.tags().get("unlink"), ("Operation not permitted", "Permission denied", "Read-only file system"))
            row.said = f"the stage is told: {self.tags()['unlink']}; the file is there"
        else:
            self.assertFalse(self.file.exists())
            row.said = "its file is gone"

    def could_not_empty(self, c, outcome, row):
        self.assertEqual(self.file.stat().st_size, (PLUGINS / f"{c.file}.so").stat().st_size)
        self.refused_call(row, "truncate")

    def no_socket(self, c, outcome, row):
        self.refused_call(row, "socket")

    def no_kill(self, c, outcome, row):
        self.refused_call(row, "kill")

    def found_no_secret(self, c, outcome, row):
        """What the stage could read is in tags, in pieces."""
        tags = self.tags()
        found = {}
        for slug in sorted(tags):
            found[re.sub(r"-\d{3}$", "", slug)] = found.get(re.sub(r"-\d{3}$", "", slug), "") + tags[slug]
        secrets = {"NetBox's token": change.NETBOX_TOKEN, "Proxmox VE's token": change.TOKEN, "their variables": "SECRET_OF"}
        seen = {f"{name} in {where}" for where, text in found.items() for name, secret in secrets.items() if secret in text}
        if self.mode == "in process":
            # It is in weir: this is what isolation is for, and that the search can find something.
            self.assertIn("NetBox's token in own-environ", seen)
            row.said = f"it finds {', '.join(sorted(seen))}"
            return
        files = ("file0", "file1", "file2")
        if not has_landlock():  # without it what weir may read can be read, and weir says so at --log-level debug
            seen = {what for what in seen if not what.endswith(files)}
            files = ()
        self.assertEqual(seen, set(), found)
        for where in ("parent-environ", "parent-mem", "parent-maps", "parent-fds", "parent-memory", "parent-trace", *files):
            self.assertIn(found.get(where), ("Permission denied", "Operation not permitted", "No such file or directory"), (where, found))
        open_files = {k: v for k, v in found.items() if re.fullmatch(r"fd-\d+", k)}
        for where in open_files.values():
            self.assertRegex(where, r"^(/dev/null|pipe:|socket:|/proc/\d+/fd$)", open_files)
        by_answer = {}
        for where, text in sorted(found.items()):
            if where.startswith(("parent", "file", "own")):
                by_answer.setdefault(text, []).append(where)
        row.said = "it finds nothing: " + "; ".join(f"{', '.join(where)}: {text}" for text, where in by_answer.items())


class isolated(BadPlugins):
    mode = "isolated"

    def test_no_process_outlives_a_weir_that_is_killed(self):
        c = does("", "never_returns")
        self.prepare(c)
        before = set(children())
        running = self.start_weir("sync", "--config", self.config)
        running.wait_until(lambda: "not going to return" in running.stderr)
        self.assertFalse(running.poll(), running.stderr)
        running.kill()
        running.wait()
        self.assertEqual(self.left_behind(before), {})

    def test_no_process_outlives_a_weir_that_is_interrupted_while_it_looks_at_plugins(self):
        self.prepare(case("", file="load_hangs", ends="refused"))
        before = set(children())
        running = self.start_weir("sync", "--config", self.config)

        def locked_in():
            """It has a child that has taken its rights from itself, and is about to load the plugin."""
            return any("NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text() for pid in children(running.process.pid))

        running.wait_until(locked_in)
        self.assertFalse(running.poll(), running.stderr)
        running.signal(signal.SIGINT)
        outcome = running.wait(10)
        self.assertEqual(outcome.exit_code, -signal.SIGINT, str(outcome))
        self.assertEqual(self.left_behind(before), {})

    def test_the_shipped_stages_run_isolated_too(self):
        self.start(stages={name: {"isolation": "process"} for name in NEIGHBOURS})
        outcome = self.run_weir()
        self.assertEqual({r["stage"]: r["status"] for r in outcome.json["results"]}, {name: "ok" for name in NEIGHBOURS})
        self.assert_nothing_left()


class in_process(BadPlugins):
    """With isolation: none; what is refused lies among weir's own plugins, which it loads itself."""
    mode = "in process"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.home = Path(tempfile.mkdtemp(prefix="weir-home-"))
        cls.addClassCleanup(shutil.rmtree, cls.home)
        built = weir_test.WEIR.parent
        shutil.copy2(weir_test.WEIR, cls.home / "weir")
        shutil.copytree(built / "stages", cls.home / "stages")
        (cls.home / "profiles").symlink_to(built / "profiles")
        (cls.home / "CMakeCache.txt").touch()  # by which it knows a build's folder
        before = weir_test.WEIR
        weir_test.WEIR = cls.home / "weir"
        cls.addClassCleanup(setattr, weir_test, "WEIR", before)

    def plugin(self, c):
        if c.ends != "refused":
            return super().plugin(c)
        copy = Path(shutil.copy2(PLUGINS / f"{c.file}.so", self.home / "stages"))
        self.addCleanup(copy.unlink)
        return copy

    def stages(self, c):
        stages = super().stages(c)
        if stages:
            stages[c.stage]["isolation"] = "none"
        return stages


def add_tests(to, cases):
    for c in cases:
        def test(self, c=c):
            self.try_out(c)

        test.__doc__ = f"A plugin that {c.does}."
        setattr(to, f"test_{c.name}", test)


add_tests(isolated, [c for c in CASES if c.modes != "in process"])
add_tests(in_process, [c for c in CASES if c.modes != "isolated"])
del BadPlugins, SyncCase  # they are no tests


if __name__ == "__main__":
    unittest.main(verbosity=2)
