#!/usr/bin/env python3
"""What the documents say is run: every command in a fence of theirs, every YAML they show, every command they name in passing.

Commands run in a folder where a reader would stand: weir.yaml, my-stage.so and the tokens are there, weir is on the path, the
servers are simulators. What cannot be run here (packages, systemd, containers) is named below with its reason, and is
parsed by the shell at least. A command that neither runs nor is named fails the test.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "harness"))
import proxmox_model as change
from sync_case import SOURCE, SyncCase
from weir_test import WEIR, Workspace, to_yaml

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.S | re.M)
INLINE = re.compile(r"`(weir [a-z][^`]*)`")
# A fence without a language is a list of commands if it begins with one of these.
COMMANDS = ("weir ", "build/release/weir ", "make ", "install ", "cmake ", "17 * * * *", ".ci/run", "kill ", "curl ")
# Why a command is not run here. Its syntax is checked.
ELSEWHERE = [
    (r"^(sudo )?(apt|apt-get|dpkg|dpkg-query) ", "packages are installed in tests/package"),
    (r"cpack |^ls build/release/packages", "packages are built in tests/package"),
    (r"^(sudo )?(systemctl|journalctl|systemd-creds|systemd-analyze) ", "no systemd runs here; the units are checked in tests/package"),
    (r"^(sudo )?(podman|docker|buildah) ", "no container engine here"),
    (r"^\.ci/run$", "this test is a part of it"),
    (r"^cmake --preset ", "presets are what make runs"),
    (r"^(sudo )?promtool ", "tests/cli/test_metrics.py runs it on the same files"),
    (r"^(sudo )?(prometheus|grafana)", "tests/cli/test_metrics.py runs one"),
    (r"^chgrp prometheus ", "the group is node_exporter's"),
    (r"^editor ", "for people"),
    (r"^rm -r /etc/weir ", "it removes what the others need"),
    (r"^(pkill|kill) ", "tests/cli/test_output.py and test_serve.py send the signals"),
]


def blocks(document):
    """[(line, language, text without its indentation)]"""
    text = document.read_text()
    found = []
    for block in FENCE.finditer(text):
        indent = block[1]
        body = "".join(line.removeprefix(indent) for line in block[3].splitlines(keepends=True))
        found.append((text.count("\n", 0, block.start()) + 1, block[2], body))
    return found


def commands(language, body):
    """The commands of a fence, with what a shell would take as one line joined."""
    if language not in ("sh", "bash", "") or (language == "" and not body.lstrip().startswith(COMMANDS)):
        return []
    lines = body.replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


class docs(SyncCase):
    service, port = None, "9788"  # a weir serve that a document has started

    def stand(self):
        """A reader's folder: servers, weir.yaml, tokens, a plugin, and one run in the history."""
        self.workspace = Workspace()
        self.addCleanup(self.workspace.close)
        self.start(nodes=1, guests=6, backups=12)
        self.folder = self.workspace.path
        (self.folder / "pve.token").write_text("0")
        self.named = {"weir.yaml": self.config}
        bin_dir = self.folder / "bin"
        bin_dir.mkdir()
        (bin_dir / "weir").symlink_to(WEIR)
        for name in ("configs", "sdk", "scripts", "tests", "Makefile"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "build" / "release").mkdir(parents=True)
        (self.folder / "build" / "release" / "weir").symlink_to(WEIR)
        etc = self.folder / "etc" / "weir"
        etc.mkdir(parents=True)
        shutil.copy(self.config, etc / "config.yaml")
        # What becomes of the packages' example when people have put their own servers in.
        self.workspace.config(self.server.url, change.NETBOX_TOKEN, {SOURCE: change.settings(self.pve)}, name="edited.yaml")
        text = re.sub(r'token_file: "[^"]*netbox.token"', "token_credential: secret_netbox-token", (self.folder / "edited.yaml").read_text())
        (self.folder / "edited.yaml").write_text(re.sub(r'token_file: .*', "token_credential: secret_pve-a-token", text))
        shutil.copy(os.environ["WEIR_DOCS_STAGE"], self.folder / "my-stage.so")
        self.environment = {
            "PATH": f"{bin_dir}:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": str(self.folder), "LANG": "C.UTF-8", "TMPDIR": str(self.folder),
            "WEIR_CONFIG": str(self.config), "WEIR_STAGE_PATH": str(self.folder / "my-stage.so"),
            "NETBOX_TOKEN": "0", "PVE_TOKEN": "0",
        }
        self.weir("sync", "--config", self.config)
        self.last_run = self.history()["runs"][0]["run"]

    def place(self, command):
        """The command, with the paths and names of an example as they are here."""
        for there, here in (("/usr/share/doc/weir/examples/config.yaml", "configs/systemd/config.yaml"), ("/etc/weir/", f"{self.folder}/etc/weir/"), ("/var/lib/weir", f"{self.folder}/state"),
                            ("/var/lib/prometheus/node-exporter", str(self.folder)), ("/tmp/", f"{self.folder}/")):
            command = command.replace(there, here)
        command = command.replace("127.0.0.1:9788", f"127.0.0.1:{self.port}")
        return re.sub(r"\b7f3a(0c1d)?\b", self.last_run, command)

    def as_run(self, command, where):
        """What a shell here is given for a command of a document, and how it counts; "" where it is not run."""
        cron = re.match(r"^[\d*/,-]+ [\d*/,-]+ \S+ \S+ \S+\s+(?:weir\s+)?(weir .*)$", command)
        bare = re.sub(r"\s+#.*$", "", cron[1] if cron else command)
        for pattern, _ in ELSEWHERE:
            if re.search(pattern, bare):
                checked = subprocess.run(["bash", "-n", "-c", bare], capture_output=True, text=True, timeout=60)
                self.assertEqual(checked.returncode, 0, f"{where}: {bare}: {checked.stderr}")
                return "", "elsewhere"
        if bare.startswith("make"):
            for target in (word for word in bare.split()[1:] if "=" not in word):
                self.assertRegex((ROOT / "Makefile").read_text(), rf"(?m)^{re.escape(target)}:", f"{where}: no target {target}")
            return "", "target"
        if bare.startswith("weir serve"):
            self.start_service(bare)
            return "", "run"
        absent = [p for p in re.findall(r"(?:^|[|&;] *)(curl|jq|logger|man)\b", bare) if not shutil.which(p)]
        if absent:  # they are for the reader's convenience; weir needs none of them
            return "", f"without {absent[0]}"
        made = re.match(r"^install -m 600 /dev/null (\S+)$", bare)
        if made:  # then people paste the token into it
            bare += f" && printf %s {change.NETBOX_TOKEN if 'netbox' in made[1] else change.TOKEN} > {made[1]}"
        if bare.startswith("editor "):  # people put their own servers in
            bare = f"cp {self.folder}/edited.yaml {bare.split()[1]}"
        return self.place(bare), "run"

    def execute(self, commands, where, counted):
        """A fence as one script: what it sets holds to its end."""
        lines = []
        for command in commands:
            line, how = self.as_run(command, where)
            counted[how] = counted.get(how, 0) + 1
            lines += [line] if line else []
        if not lines:
            return
        script = "set -euo pipefail\n" + "\n".join(lines)
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, f"{where}\n--- as run:\n{script}\n---\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")

    def start_service(self, command):
        """At a free port, which the commands that follow take for the one of the examples."""
        arguments = self.place(command).split()[1:]
        self.service = self.start_weir(*arguments, "--listen", "127.0.0.1:0", env=self.environment)
        self.service.wait_until(lambda: "listening on http" in self.service.stdout + self.service.stderr)
        self.port = re.search(r"listening on http://127\.0\.0\.1:(\d+)", self.service.stdout + self.service.stderr)[1]

    def end_service(self):
        if self.service:
            self.service.signal(signal.SIGTERM)
            self.assertEqual(self.service.wait().exit_code, 0)
        self.service, self.port = None, "9788"

    def test_commands(self):
        counted = {}
        for document in DOCUMENTS:
            found = [(line, commands(language, body)) for line, language, body in blocks(document)]
            if not any(wanted for _, wanted in found):
                continue
            with self.subTest(document.name):
                self.stand()
                self.addCleanup(self.end_service)
                for line, wanted in found:
                    self.execute(wanted, f"{document.name}:{line}", counted)
                self.end_service()
        print(f"commands: {counted}", file=sys.stderr)
        self.assertGreater(counted.get("run", 0), 10)

    def test_yaml(self):
        """What is shown as a configuration, or a part of one, is valid; a profile, too."""
        shown = {"whole": 0, "part": 0, "profile": 0, "of others": 0}
        for document in DOCUMENTS:
            for line, language, body in blocks(document):
                if language not in ("yaml", "yml"):
                    continue
                where = f"{document.name}:{line}"
                keys = set(re.findall(r"^([a-z_]+):", body, re.M))
                with self.subTest(where):
                    shown[self.check_yaml(where, keys, body)] += 1
        print(f"YAML: {shown}", file=sys.stderr)
        self.assertGreater(shown["whole"], 0)
        self.assertGreater(shown["part"], 2)
        self.assertGreater(shown["profile"], 1)

    def check_yaml(self, where, keys, body):
        if keys & {"scrape_configs", "groups", "rule_files", "route", "services"}:
            return "of others"
        env = {"CREDENTIALS_DIRECTORY": str(self.workspace.path), "NETBOX_TOKEN": "0", "PVE_TOKEN": "0", "CMDB_TOKEN": "0", "WEIR_TOKEN": "0", "PVE_PASSWORD": "0"}
        for name in ("netbox.token", "pve.token", "secret_netbox-token"):
            self.workspace.file(name, "0\n")
        body = body.replace("/etc/ssl/", f"{self.workspace.path}/").replace("/var/lib/weir", f"{self.workspace.path}/state")
        body = re.sub(r"/(etc/weir|run)/(\S*token\S*)", rf"{self.workspace.path}/netbox.token", body)
        body = body.replace('"AB:CD:…"', '"' + ":".join(["AB"] * 32) + '"')
        for name in set(re.findall(r"ca_file: (\S+)", body)):
            Path(name).write_text("")
        base = {"netbox": {"url": "http://127.0.0.1:1", "token_env": "NETBOX_TOKEN"},
                "sources": {"pve-a": {"type": "proxmox", "urls": ["http://127.0.0.1:1"], "token_id": "a@pve!b", "token_env": "PVE_TOKEN"},
                            "cmdb": {"type": "rest", "urls": ["http://127.0.0.1:1"]}},
                "state_dir": str(self.workspace.path / "state")}
        if re.search(r"^  token_(file|command|credential):", body, re.M) and "netbox" in keys:
            del base["netbox"]["token_env"]
        if keys & {"extends", "batch", "max_in_flight", "requests_per_second", "retry", "timeouts"}:
            base["profile"] = str(self.workspace.file("shown.yaml", body))
            file, how = self.workspace.file("base.yaml", to_yaml(base)), "profile"
        elif {"netbox", "sources"} <= keys:
            file, how = self.workspace.file("base.yaml", body), "whole"
        else:
            self.workspace.file("part.yaml", body)
            file, how = self.workspace.file("base.yaml", to_yaml({**base, "include": ["part.yaml"]})), "part"
        found = self.weir("validate", "--no-network", "--config", file, env=env, expect=None)
        complaints = [line for line in found.stderr.splitlines() if line.startswith("error:")]
        # Stages of somebody's own are not here; that they are missing is all that may be wrong.
        wrong = [line for line in complaints if not re.search(r"unknown stage '(my-stage|inventory[a-z-]*)'", line)]
        self.assertEqual(wrong, [], f"{where}\n{body}\n{found}")
        if not complaints:
            self.assertEqual(found.exit_code, 0, f"{where}\n{body}\n{found}")
        return how

    def test_named_in_passing(self):
        """`weir …` inside of a text: the command is there, and has these options."""
        helps, count = {}, 0
        for document in DOCUMENTS:
            text = FENCE.sub("", document.read_text())
            for command in INLINE.findall(text):
                words = command.split()[1:]
                at = []
                while words and re.fullmatch(r"[a-z][a-z-]*", words[0]) and self.is_command([*at, words[0]], helps):
                    at.append(words.pop(0))
                self.assertTrue(at, f"{document.name}: `{command}`: no such command")
                for option in re.findall(r"(?<!\S)(--[a-z-]+|-[a-z])\b", " ".join(words)):
                    self.assertRegex(self.help_of(at, helps), rf"(?m)(^|[ ,]){re.escape(option)}\b", f"{document.name}: `{command}`")
                count += 1
        self.assertGreater(count, 20)

    def help_of(self, at, helps):
        if tuple(at) not in helps:
            helps[tuple(at)] = self.weir(*at, "--help", expect=None).stdout
        return helps[tuple(at)]

    def is_command(self, at, helps):
        return re.search(rf"(?m)^  {re.escape(at[-1])}\b", self.help_of(at[:-1], helps)) is not None

    def test_links(self):
        """What a document links to in this tree is there, the heading, too."""
        count = 0
        for document in DOCUMENTS:
            for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", FENCE.sub("", document.read_text())):
                if target and "://" not in target:
                    self.assertTrue((document.parent / target).exists(), f"{document.name} links to {target}")
                    count += 1
        self.assertGreater(count, 5)


if __name__ == "__main__":
    unittest.main(verbosity=2)
