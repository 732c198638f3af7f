"""Completion as the shells do it, and the manual page: both are made from the command tree, and both are held against --help.

zsh, fish, man and mandoc are asked where they are installed (packages/test.txt); which are not is said.
"""
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
from weir_test import TREE, WEIR, EXIT_USAGE, WeirCase  # noqa: E402

COMMANDS = {"sync", "resume", "plan", "demo", "stages", "new-stage", "profiles", "validate", "history", "throttle", "config",
            "serve", "doctor", "completion", "man", "version", "apply", "show", "adopt", "undo"}
SHIPPED_STAGES = {"nodes", "virtual-machines", "backups"}
SHIPPED_PROFILES = {"ultra-conservative", "conservative", "aggressive"}

# What is typed up to the cursor, and what is offered then: exactly these; a name beginning with "…" may be among others.
CASES = [
    ("weir ", COMMANDS),
    ("weir sy", {"sync"}),
    ("weir st", {"stages"}),
    ("weir --v", {"--version"}),
    ("weir -", {"--help", "--version", "-h"}),
    ("weir stages ", {"list", "show", "check"}),
    ("weir stages ch", {"check"}),
    ("weir config ", {"show", "explain", "schema", "reference"}),
    ("weir throttle ", {"simulate"}),
    ("weir history ", {"show"}),
    ("weir completion ", {"bash", "zsh", "fish"}),
    ("weir completion f", {"fish"}),
    ("weir sync --no", {"--no-progress"}),
    ("weir sync --log-", {"--log-level", "--log-format", "--log-file"}),
    ("weir sync --output ", {"text", "json", "ndjson"}),
    ("weir sync --output=", {"text", "json", "ndjson"}),
    ("weir sync -o n", {"ndjson"}),
    ("weir sync --output=js", {"json"}),
    ("weir stages --output ", {"text", "json"}),
    ("weir stages show --out", {"--output"}),
    ("weir plan --color a", {"auto", "always"}),
    # What stands between is no command: an option's value, whatever it is.
    ("weir sync --stage sync --log-level d", {"debug"}),
    ("weir sync --set netbox.url=http://a:80 --col", {"--color"}),
    ("weir serve --listen 127.0.0.1:9788 --quie", {"--quiet"}),
    ("weir plan --det", {"--detailed-exitcode"}),
    ("weir sync --det", set()),
    ("weir new-stage --int", {"--into"}),
    # Asked of weir.
    ("weir sync --stage ", SHIPPED_STAGES),
    ("weir sync -s ba", {"backups"}),
    ("weir stages show vi", {"virtual-machines"}),
    ("weir sync --profile ag", {"aggressive"}),
    ("weir throttle simulate starved-p", {"starved-persistent"}),
    ("weir sync --config etc/weir.yaml --source ", {"pve-a", "pve-b"}),
    ("weir sync -c etc/weir.yaml --source pve-b --source pve-a --stage n", {"nodes"}),
    ("weir config explain netbox.tls", {"netbox.tls_verify"}),
    ("weir history -c etc/weir.yaml show ", set()),
    # Files and folders.
    ("weir sync --config etc/we", {"etc/weir.yaml"}),
    ("weir sync --log-file no", {"notes.txt"}),
    ("weir stages check pl", {"plugin.so"}),
    ("weir stages check --answers an", {"answers"}),
    ("weir new-stage --into no", set()),
]

CONFIG = """netbox: {url: "http://127.0.0.1:9", token_env: NETBOX_TOKEN}
sources:
  pve-a: {type: proxmox, urls: ["https://127.0.0.1:9"], token_id: "a@b!c", token_env: PVE_TOKEN}
  pve-b: {type: proxmox, urls: ["https://127.0.0.1:9"], token_id: "a@b!c", token_env: PVE_TOKEN}
"""


def bash_words(line):
    """(COMP_WORDS, COMP_CWORD) as readline makes them: "=" and ":" are words of their own."""
    words = []
    for word in line.split(" "):
        parts = [p for p in re.split(r"([=:]+)", word) if p]
        words += parts or [""]
    return words, len(words) - 1


class Shell(WeirCase):
    def setUp(self):
        super().setUp()
        self.home = self.workspace.path / "home"
        (self.home / "etc").mkdir(parents=True)
        (self.home / "answers").mkdir()
        (self.home / "etc/weir.yaml").write_text(CONFIG)
        (self.home / "notes.txt").write_text("")
        (self.home / "plugin.so").write_text("")
        bin = self.workspace.path / "bin"
        bin.mkdir()
        (bin / "weir").symlink_to(WEIR.resolve())
        self.environment = {"PATH": f"{bin}:/usr/bin:/bin", "HOME": str(self.home), "LANG": "C.UTF-8", "TERM": "dumb",
                            "XDG_CONFIG_HOME": str(self.home / ".config"), "TMPDIR": str(self.workspace.path)}
        self.environment.update({k: v for k, v in os.environ.items() if k.startswith(("ASAN_", "UBSAN_", "TSAN_", "LSAN_"))})

    def need(self, program):
        if not shutil.which(program):
            self.skipTest(f"{program} is not installed (packages/test.txt)")

    def script(self, shell):
        outcome = self.weir("completion", shell)
        self.assertEqual(outcome.stderr, "")
        path = self.workspace.path / f"weir.{shell}"
        path.write_text(outcome.stdout)
        return path

    def check(self, offered):
        """offered(line) -> the words that the shell would offer."""
        for line, expected in CASES:
            with self.subTest(line=line):
                self.assertEqual(set(offered(line)), expected)

    def run_in_terminal(self, command, typed, until, timeout=60):
        """Types into the shell on a terminal, until the condition holds."""
        process, terminal = pty.fork()
        if process == 0:
            try:
                os.chdir(self.home)
                os.execve(command[0], command, self.environment)
            finally:
                os._exit(127)
        os.set_blocking(terminal, False)
        said = b""
        try:
            left = typed.encode()
            deadline = time.monotonic() + timeout
            while not until():
                self.assertLess(time.monotonic(), deadline, f"typed {typed!r}, it said {said!r}")
                try:
                    if left:
                        left = left[os.write(terminal, left):]
                    said += os.read(terminal, 65536)
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:  # it has ended
                    break
            self.assertTrue(until(), f"it ended: {said!r}")
        finally:
            try:
                os.kill(process, 9)
            except ProcessLookupError:
                pass
            os.waitpid(process, 0)
            os.close(terminal)


class Bash(Shell):
    def offered(self, script, line):
        words, cursor = bash_words(line)
        listed = " ".join("'" + w.replace("'", "'\\''") + "'" for w in words)
        program = (f"source '{script}'; COMP_WORDS=({listed}); COMP_CWORD={cursor}; _weir; "
                   'for w in "${COMPREPLY[@]}"; do printf "%s\\n" "$w"; done')
        done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=self.home, env=self.environment,
                              timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""), line)
        return done.stdout.splitlines()

    def test_offers_what_fits(self):
        script = self.script("bash")
        self.check(lambda line: self.offered(script, line))

    def test_offers_options_where_nothing_else_can_stand(self):
        self.assertIn("--verbose", self.offered(self.script("bash"), "weir plan "))

    def test_profiles_and_files_side_by_side(self):
        script = self.script("bash")
        self.assertEqual(set(self.offered(script, "weir sync --profile ")), SHIPPED_PROFILES | {"etc", "answers", "notes.txt", "plugin.so"})

    def test_settings_end_with_an_equals_sign(self):
        self.assertEqual(self.offered(self.script("bash"), "weir sync --set netbox.tls"), ["netbox.tls_verify="])

    def test_names_of_a_file_with_spaces_stay_whole(self):
        (self.home / "two words.yaml").write_text("")
        self.assertEqual(self.offered(self.script("bash"), "weir sync --config two"), ["two words.yaml"])

    def test_sets_no_variable_of_the_shell(self):
        script = self.script("bash")
        program = (f"source '{script}'; COMP_WORDS=(weir sync --profile a); COMP_CWORD=3; before=$(compgen -v | sort); _weir; "
                   "after=$(compgen -v | sort); comm -13 <(echo \"$before\") <(echo \"$after\")")
        done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=self.home, env=self.environment,
                              timeout=60)
        self.assertEqual(set(done.stdout.split()) - {"COMPREPLY", "before", "BASH_REMATCH"}, set())

    def test_at_a_terminal(self):
        """Through readline: what was typed, with tabs, is what the command gets."""
        script = self.script("bash")
        result = self.home / "result"
        typed = (f"source '{script}'; weir() {{ printf '%s\\n' \"$@\" > {result}.new; mv {result}.new {result}; }}\n"
                 "weir sy\t --no-p\t --output=nd\t --config etc/\t --color al\t\n")
        self.run_in_terminal(["/bin/bash", "--norc", "--noprofile", "-i"], typed, result.exists)
        self.assertEqual(result.read_text().split(), ["sync", "--no-progress", "--output=ndjson", "--config", "etc/weir.yaml", "--color",
                                                      "always"])


class Fish(Shell):
    def test_offers_what_fits(self):
        self.need("fish")
        script = self.script("fish")
        lines = "\n".join(f"echo '<<{i}>>'; complete -C '{line}'" for i, (line, _) in enumerate(CASES))
        done = subprocess.run(["fish", "--no-config", "-c", f"source '{script}'\n{lines}"], capture_output=True, text=True, cwd=self.home,
                              env=self.environment, timeout=300)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        answers = re.split(r"<<\d+>>\n", done.stdout)[1:]
        self.assertEqual(len(answers), len(CASES))
        by_line = dict(zip((line for line, _ in CASES), answers))

        def offered(line):
            words = [w.split("\t")[0] for w in by_line[line].splitlines()]
            # Folders on the way to a file are offered, too; "--output=json" comes whole.
            cut = re.search(r"(--[a-z-]+=)\S*$", line)
            words = [w[len(cut[1]):] if cut and w.startswith(cut[1]) else w for w in words]
            return [w.rstrip("/") for w in words]

        self.check(offered)


class Zsh(Shell):
    def test_offers_what_fits(self):
        self.need("zsh")
        script = self.script("zsh")
        hits = self.home / "hits"
        hits.write_text("")
        prepare = self.workspace.path / "prepare.zsh"
        prepare.write_text(f"""
autoload -Uz compinit && compinit -u -D
source '{script}'
zstyle ':completion:*' completer _complete
zstyle ':completion:*' insert-tab false
LISTMAX=10000
compadd() {{
  # Asked for by the completion itself, to compute with.
  if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return $?; fi
  local -a found
  builtin compadd -A found "$@"
  (( $#found )) && print -rl -- $found >> '{hits}'
  builtin compadd "$@"
}}
report() {{ zle list-choices; print -r -- "<<$BUFFER>>" >> '{hits}'; zle kill-whole-line }}
zle -N report
bindkey '^X' report
print -r -- "<<ready>>" >> '{hits}'
""")
        typed = f" source '{prepare}'\n" + "".join(line + "\x18" for line, _ in CASES)
        last = f"<<{CASES[-1][0]}>>"
        self.run_in_terminal(["/usr/bin/zsh", "-f", "-i"], typed, lambda: last in hits.read_text(), timeout=300)
        text = hits.read_text()
        self.assertIn("<<ready>>\n", text)
        by_line, words = {}, []
        for word in text.split("<<ready>>\n")[1].splitlines():
            if word.startswith("<<"):
                by_line[word[2:-2]], words = words, []
            else:
                words.append(word)
        typed_folder = {line: (re.search(r"[\s=](\S*/)\S*$", line) or ["", ""])[1] for line, _ in CASES}
        self.check(lambda line: [(typed_folder[line] + w).rstrip("=") if not w.startswith("-") else w.rstrip("=") for w in by_line[line]])


def help_of(path):
    done = subprocess.run([WEIR, *path, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done
    return done.stdout


def from_help(path=()):
    """{(words of the command): {its options}}, as --help has them, of this command and those below it."""
    text = help_of(path)
    options = set()
    for line in text.splitlines():
        if match := re.match(r"  (-\S+)(?:\s|$)", line):
            options |= set(match[1].split(","))
    found = {path: options}
    below = re.split(r"^Subcommands:\n", text, flags=re.M)
    for name in re.findall(r"^  ([a-z][a-z-]*)\b", below[1], re.M) if len(below) > 1 else []:
        found |= from_help((*path, name))
    return found


class WithManual(Shell):
    def page(self, name="weir", section=1):
        outcome = self.weir("man", name)
        self.assertEqual(outcome.stderr, "")
        path = self.workspace.path / f"{name}.{section}"
        path.write_text(outcome.stdout)
        return path, outcome.stdout

    @staticmethod
    def plain(roff):
        return re.sub(r"\\f[BIR]", "", roff).replace("\\-", "-").replace("\\(aq", "'").replace("\\(dq", '"')


class ManualPage(WithManual):
    def test_has_its_sections(self):
        _, text = self.page()
        self.assertEqual(re.findall(r"^\.SH (.*)$", text, re.M),
                         ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "CONFIGURATION", "ENVIRONMENT", "FILES", "EXIT STATUS", "EXAMPLES",
                          "SEE ALSO"])
        self.assertRegex(text, r'(?m)^\.TH WEIR 1 ')

    def test_man_has_no_complaint(self):
        self.need("man")
        for name, section, holds in (("weir", 1, "weir sync [options]"), ("weir.yaml", 5, "requests_per_second")):
            path, _ = self.page(name, section)
            done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", str(path)], capture_output=True, text=True, timeout=60,
                                  env={**self.environment, "MANPAGER": "cat", "MANWIDTH": "80"})
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            text = re.sub(".\x08", "", done.stdout)  # as a printer types bold
            self.assertIn(holds, text)
            self.assertLessEqual(max(map(len, text.splitlines())), 80)

    def test_names_every_key(self):
        _, text = self.page("weir.yaml", 5)
        plain = self.plain(text)
        keys = json.loads(self.weir("config", "explain", "-o", "json").stdout)
        names = [k["key"] for k in keys if k["where"] != "stage"]
        self.assertGreater(len(names), 100)
        for name in names:
            self.assertRegex(plain, rf"(?m)^{re.escape(name)}( \(required\))?$")

    def test_mandoc_has_no_complaint(self):
        self.need("mandoc")
        for name, section in (("weir", 1), ("weir.yaml", 5)):
            path, _ = self.page(name, section)
            done = subprocess.run(["mandoc", "-T", "lint", str(path)], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))

    def test_tells_every_exit_code(self):
        header = (TREE / "core/cli/exit_codes.hpp").read_text()
        codes = {int(n) for n in re.findall(r"inline constexpr int \w+ = (\d+);", header)} | {2}
        self.assertGreaterEqual(len(codes), 12)
        status = self.plain(self.page()[1]).split(".SH EXIT STATUS")[1].split(".SH")[0]
        self.assertEqual({int(n) for n in re.findall(r"^\.TP\n(\d+)\n", status, re.M)}, codes)
        self.assertIn("Unknown codes must be treated as failure.", status)


class AgainstTheHelp(WithManual):
    def test_every_command_and_option_is_there(self):
        tree = from_help()
        self.assertEqual({path[0] for path in tree if path}, COMMANDS)
        self.assertGreater(sum(len(options) for options in tree.values()), 80)
        manual = self.plain(self.page()[1])
        scripts = {shell: self.script(shell).read_text() for shell in ("bash", "zsh", "fish")}
        bash = Bash("offered")
        bash.home, bash.environment = self.home, self.environment
        bash_script = self.workspace.path / "weir.bash"
        for path, options in tree.items():
            words = " ".join(("weir", *path))
            offered = set(bash.offered(bash_script, f"{words} -"))
            self.assertLessEqual(options, offered, words)
            for shell, text in (("zsh", scripts["zsh"]), ("fish", scripts["fish"])):
                at = "_".join(("_weir", *path)).replace("-", "_")
                part = (re.search(rf"^{at}\(\) {{\n(.*?)^}}", text, re.M | re.S)[1] if shell == "zsh"
                        else "\n".join(line for line in text.splitlines() if f"__weir_at \\'{words}\\''" in line))
                for option in options:
                    needle = rf"{re.escape(option)}[=+\[]" if shell == "zsh" else (
                        rf"-l {option[2:]}\b" if option.startswith("--") else rf"-s {option[1:]}\b")
                    self.assertRegex(part, needle, f"{shell}: {words}")
            if not path:
                sections = manual
            elif f".SS {words}\n" in manual:
                sections = manual.split(f".SS {words}\n")[1].split("\n.SS ")[0].split("\n.SH ")[0]
            else:  # it only has commands below it
                self.assertTrue(any(longer[:len(path)] == path and longer != path for longer in tree), words)
                continue
            flat = re.sub(r"\s+", " ", sections)
            for option in options - {"-h", "--help"}:
                if option.startswith("--"):
                    self.assertRegex(flat, rf"(?<![\w-]){option}(?![\w-])", words)

    def test_hidden_commands_stay_hidden(self):
        for text in (help_of(()), self.plain(self.page()[1])):
            self.assertNotRegex(text, r"\bcomplete\b")

    def test_wrong_shell(self):
        outcome = self.weir("completion", "tcsh", expect=EXIT_USAGE)
        self.assertEqual(outcome.stdout, "")
        self.assertIn("tcsh", outcome.stderr)


class Names(Shell):
    """What the completions ask weir for, while somebody types."""

    def names(self, what, *more):
        outcome = self.weir("complete", what, *more)
        self.assertEqual(outcome.stderr, "")
        return outcome.stdout.split("\n")[:-1]

    def test_without_a_configuration(self):
        self.assertEqual(set(self.names("stages")), SHIPPED_STAGES)
        self.assertEqual(set(self.names("profiles")), SHIPPED_PROFILES)
        self.assertEqual((self.names("sources"), self.names("runs")), ([], []))

    def test_with_a_wrong_one(self):
        wrong = self.workspace.file("wrong.yaml", "netbox: [\n")
        self.assertEqual((self.names("sources", "-c", wrong), self.names("runs", "-c", wrong)), ([], []))
        self.assertEqual(set(self.names("stages", "-c", wrong)), SHIPPED_STAGES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
